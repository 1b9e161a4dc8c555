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
from anyrefill.train.checkpoint import FOLDER, states
from anyrefill.train.config import Kind, TrainConfig
from anyrefill.types import Pooled

__all__ = [
    "LoraInTraining",
    "PromptInTraining",
    "Trained",
    "check_beginning",
    "make_trained",
    "steps_before",
    "take_on",
]


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
    """

    kind: Kind
    rank: int
    alpha: float
    targets: tuple[str, ...]
    tensors: dict[str, nn.Parameter]
    dtype: torch.dtype

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


def make_trained(config: TrainConfig, task: Task, backbone: FluxFill) -> Trained:
    """Add what is to be trained to a backbone.

    Raises:
        UserError: the settings do not suit the base.
    """
    return PromptInTraining(config, task, backbone) if config.kind == "prompt" else LoraInTraining(config, backbone)


def check_beginning(config: TrainConfig) -> None:
    """Refuse layers that have no such name and a beginning that is no adapter, before minutes of encoding.

    A run that has a checkpoint does not begin any more.

    Raises:
        UserError: one of them.
    """
    if config.kind == "lora":
        resolve_targets(config.targets)
    if not states(config.out / FOLDER):
        steps_before(config)


def steps_before(config: TrainConfig) -> int:
    """Return how many steps of training are in the weights that a run begins with.

    Raises:
        UserError: there is no such adapter.
    """
    if config.start_from is None:
        return 0
    passport = read_passport(_path(config, config.start_from))
    return passport.steps + passport.steps_before


def take_on(config: TrainConfig, name: str, trained: Trained, backbone: FluxFill) -> tuple[list[Tensor], str]:
    """Return the weights of another adapter, in the order of what is trained, and what is to be said about them.

    The base may be another one of the same shape: its names, not its weights, have to fit.

    Raises:
        UserError: the adapter is another kind, has another rank, alpha or targets, or other keys or shapes.
    """
    path = _path(config, name)
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
    for key, parameter in trained.tensors.items():
        if tensors[key].shape != parameter.shape:
            raise UserError(
                f"{path} does not fit this base: its {key} is {tuple(tensors[key].shape)}, not "
                f"{tuple(parameter.shape)}."
            )
    values = [tensors[key] for key in trained.tensors]
    begins = f"It begins with the weights of {path} ({passport.task}, {passport.steps} steps)"
    if passport.fingerprint == backbone.fingerprint():
        return values, f"{begins}."
    return values, (
        f"{begins}, which was trained on another base: {passport.base} ({passport.fingerprint[:8]}), "
        f"not {backbone.name} ({backbone.fingerprint()[:8]}); it paints rightly only after training."
    )


def _path(config: TrainConfig, name: str) -> Path:
    """Return the file of an adapter."""
    return find_adapter(name, embedded=config.backbone == "micro")


def _said(value: object) -> str:
    """Return a setting as one would type it."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)  # pyright: ignore[reportUnknownVariableType]
