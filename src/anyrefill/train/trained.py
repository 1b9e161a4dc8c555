"""What a run trains: a LoRA in the transformer, or tokens in front of what CLIP reads."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, final, runtime_checkable

import torch
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from anyrefill.backbone.adapters.files import save_adapter
from anyrefill.backbone.adapters.find import find_adapter
from anyrefill.backbone.adapters.header import read_passport, read_tensors
from anyrefill.backbone.adapters.layouts import module_key
from anyrefill.backbone.adapters.lora import add_lora, resolve_targets
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.adapters.prompt import TENSOR, inject_prompt, room_for, save_prompt
from anyrefill.backbone.fill import FluxFill
from anyrefill.errors import UserError
from anyrefill.tasks import Task
from anyrefill.train.config import Kind, TrainConfig
from anyrefill.types import Pooled

__all__ = ["LoraInTraining", "PromptInTraining", "Trained", "begin", "check_beginning", "take_on"]


@runtime_checkable
class Trained(Protocol):
    """The trained part of a backbone.

    Attributes:
        kind: what it is, as its passport says.
        rank: of the LoRA; of a prompt, how many tokens.
        alpha: the LoRA adds alpha / rank * B A; a prompt repeats its rank.
        targets: ends of the names of the layers that it changes.
        tensors: all that trains, by the names that its file gives them.
        dtype: what it computes in.
        steps_before: of training in the weights that it began with.
    """

    kind: Kind
    rank: int
    alpha: float
    targets: tuple[str, ...]
    tensors: dict[str, nn.Parameter]
    dtype: torch.dtype
    steps_before: int

    def pooled(self, prompts: Sequence[str]) -> Pooled | None:
        """Return the pooled embedding of prompts; None where what was encoded before training holds."""
        ...

    def save(self, path: Path, passport: Passport) -> None:
        """Write the file that paints."""
        ...


@final
class LoraInTraining:
    """A LoRA in the transformer; see `Trained`."""

    kind: Kind = "lora"
    steps_before: int = 0

    def __init__(self, config: TrainConfig, backbone: FluxFill) -> None:
        """Add an untrained one."""
        self.backbone, self.rank, self.dtype = backbone, config.rank, backbone.dtype
        self.alpha: float = config.rank if config.alpha is None else config.alpha
        self.targets = resolve_targets(config.targets)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="TorchaoLoraLinear")  # of merging, which training does not
            parameters = add_lora(
                backbone, rank=config.rank, alpha=config.alpha, targets=config.targets, seed=config.seed, name="default"
            )
        by_place = {parameter.data_ptr(): parameter for parameter in parameters}
        named = get_peft_model_state_dict(backbone.transformer, adapter_name="default")
        names = {id(by_place[tensor.data_ptr()]): module_key(name, "diffusers") for name, tensor in named.items()}
        self.tensors = {names[id(parameter)]: parameter for parameter in parameters}

    def pooled(self, prompts: Sequence[str]) -> None:
        """Leave prompts as they were encoded: the text encoders are frozen."""

    def save(self, path: Path, passport: Passport) -> None:
        """Write the LoRA."""
        save_adapter(path, self.backbone, passport)


@final
class PromptInTraining:
    """Tokens in front of what CLIP reads; see `Trained`."""

    kind: Kind = "prompt"
    steps_before: int = 0
    targets: tuple[str, ...] = ("token_embedding",)
    dtype: torch.dtype = torch.float32

    def __init__(self, config: TrainConfig, task: Task, backbone: FluxFill) -> None:
        """Begin with the mean embedding of what the task's prompt says."""
        backbone.bring("text_encoder")
        sentence = task.prompt.replace("{caption}", "").strip() or task.summary
        self.rank: int = config.tokens or room_for(backbone)
        self.alpha: float = self.rank
        self.prompt = inject_prompt(backbone, sentence, tokens=self.rank)
        (vectors,) = self.prompt.parameters
        self.tensors = {TENSOR: vectors}
        backbone.free("text_encoder")

    def pooled(self, prompts: Sequence[str]) -> Pooled:
        """Read prompts behind the tokens; equal ones once."""
        distinct = list(dict.fromkeys(prompts))
        return self.prompt.pooled(distinct)[[distinct.index(prompt) for prompt in prompts]]

    def save(self, path: Path, passport: Passport) -> None:
        """Write the tokens."""
        save_prompt(path, self.prompt, passport)


def begin(config: TrainConfig, task: Task, backbone: FluxFill) -> tuple[Trained, str]:
    """Add what is to be trained to a backbone, and return a sentence about where it begins, or nothing.

    Raises:
        UserError: the settings do not suit the base, or the adapter to go on from is another kind of adapter.
    """
    trained = PromptInTraining(config, task, backbone) if config.kind == "prompt" else LoraInTraining(config, backbone)
    if config.start_from is None:
        return trained, ""
    path = find_adapter(config.start_from, embedded=config.backbone == "micro")
    return trained, take_on(path, trained, backbone)


def check_beginning(config: TrainConfig) -> None:
    """Refuse layers that have no such name and a beginning that is no adapter, before minutes of encoding.

    Raises:
        UserError: one of them.
    """
    if config.kind == "lora":
        resolve_targets(config.targets)
    if config.start_from is not None:
        read_passport(find_adapter(config.start_from, embedded=config.backbone == "micro"))


@torch.no_grad()
def take_on(path: Path, trained: Trained, backbone: FluxFill) -> str:
    """Begin with the weights of another adapter, and return what is to be said about it.

    The base may be another one of the same shape: its names, not its weights, have to fit.

    Raises:
        UserError: the adapter is another kind, has another rank, alpha or targets, or other keys or shapes.
    """
    passport = read_passport(path)
    for word in ("kind", "rank", "alpha", "targets"):
        theirs, ours = getattr(passport, word), getattr(trained, word)
        if theirs != ours:
            raise UserError(
                f"{path} has {word} {_said(theirs)} where this run has {_said(ours)}: they must be the same."
            )
    tensors, _ = read_tensors(path)
    if different := sorted(tensors.keys() ^ trained.tensors.keys()):
        raise UserError(
            f"{path} cannot be gone on from: {different[0]} is in it or in this run's adapter, not in both."
        )
    for name, parameter in trained.tensors.items():
        _copy(path, name, tensors[name], parameter)
    trained.steps_before = passport.steps + passport.steps_before
    begins = f"It begins with the weights of {path} ({passport.task}, {passport.steps} steps)"
    if passport.fingerprint == backbone.fingerprint():
        return f"{begins}."
    return (
        f"{begins}, which was trained on another base: {passport.base} ({passport.fingerprint[:8]}), "
        f"not {backbone.name} ({backbone.fingerprint()[:8]}); it paints rightly only after training."
    )


def _copy(path: Path, name: str, source: Tensor, parameter: nn.Parameter) -> None:
    """Copy one tensor, and refuse one of another shape."""
    if source.shape != parameter.shape:
        raise UserError(
            f"{path} does not fit this base: its {name} is {tuple(source.shape)}, not {tuple(parameter.shape)}."
        )
    parameter.copy_(source)


def _said(value: object) -> str:
    """Return a setting as one would type it."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)  # pyright: ignore[reportUnknownVariableType]
