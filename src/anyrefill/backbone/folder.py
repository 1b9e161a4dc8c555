"""Folders in diffusers' FLUX.1-Fill layout: find one, on disk or on the hub, and refuse what is not one."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast, get_type_hints

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from anyrefill import flow
from anyrefill.errors import UserError

__all__ = ["Folder", "Settings"]

Config: TypeAlias = dict[str, Any]
"""A config.json; the one dict that is read here and turned into arguments."""

PARTS = ("transformer", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
CONFIGS = {
    "transformer": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "text_encoder_2": "config.json",
    "tokenizer": "tokenizer_config.json",
    "tokenizer_2": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
}
VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")
"""A tokenizer needs one of these; without any, transformers would go on with an empty vocabulary."""

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a base wants to be used: its ``anyrefill.json``, or FLUX.1-Fill's own values where it has none.

    Attributes:
        max_sequence_length: T5 tokens a prompt is padded or cut to.
        guidance: distilled guidance strength to paint with.
        panel: side of the panels it was trained on, in pixels.
        squares_only: whether it never saw panels that are not square.
    """

    max_sequence_length: int = 512
    guidance: int | float = 30.0
    panel: int = 512
    squares_only: bool = False

    @classmethod
    def read(cls, path: Path) -> "Settings":
        """Read the file; one that is not there has nothing to say, and keys unknown here are for others.

        Raises:
            UserError: it is no JSON, or a value is of another kind than its key's.
        """
        if not path.exists():
            return cls()
        kinds = get_type_hints(cls)
        told = {key: value for key, value in _read_json(path).items() if key in kinds}
        for key, value in told.items():
            if isinstance(value, bool) != (kinds[key] is bool) or not isinstance(value, kinds[key]):
                raise UserError(f"{path} is damaged: its {key} cannot be {value!r}")
        return cls(**told)


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A checked folder of a fill model.

    Attributes:
        name: what the user called it, a path or a hub id.
        path: where it is.
        settings: of its ``anyrefill.json``.
    """

    name: str
    path: Path
    settings: Settings

    @classmethod
    def find(cls, base: str | Path) -> "Folder":
        """Return the folder of that path, or download the one of that hub id, and check it.

        Raises:
            UserError: there is no such folder, a part of it is missing, or it holds another kind of model.
        """
        path = Path(base).expanduser()
        if not path.is_dir():
            path = _download(str(base))
        folder = cls(name=str(base), path=path, settings=Settings.read(path / "anyrefill.json"))
        folder.check()
        return folder

    def config(self, part: str) -> Config:
        """Return the configuration of one part."""
        return _read_json(self.path / part / CONFIGS[part])

    def check(self) -> None:
        """Refuse a folder that is incomplete or no fill model; reads configurations, no weights."""
        for part in PARTS:
            if not (self.path / part / CONFIGS[part]).is_file():
                raise UserError(
                    f"{self.name} is not a FLUX.1-Fill folder in diffusers' layout: it has no {part}/{CONFIGS[part]}"
                )
        for part in ("tokenizer", "tokenizer_2"):
            if not any((self.path / part / file).is_file() for file in VOCABULARIES):
                raise UserError(f"{self.name} is incomplete: its {part} has no {' or '.join(VOCABULARIES)}")
        self._check_transformer()
        self._check_schedule()

    def _check_transformer(self) -> None:
        """Refuse a transformer that does not read noisy latents, masked latents and mask."""
        transformer, vae = self.config("transformer"), self.config("vae")
        if missing := [key for key in ("latent_channels", "block_out_channels") if key not in vae]:
            raise UserError(f"{self.name} is damaged: its vae/{CONFIGS['vae']} has no {missing[0]}")
        latents = 4 * vae["latent_channels"]
        expected, found = 2 * latents + 256, transformer.get("in_channels")
        if transformer.get("_class_name") != "FluxTransformer2DModel" or found != expected:
            raise UserError(
                f"{self.name} is not a Fill model: its {transformer.get('_class_name')} reads {found} channels per "
                f"token where a Fill model reads {expected} (plain FLUX.1 reads 64)"
            )
        if transformer.get("out_channels") != latents or len(vae["block_out_channels"]) != 4:
            raise UserError(f"{self.name} does not fit together: transformer and autoencoder differ in their latents")

    def _check_schedule(self) -> None:
        """Refuse a scheduler whose sigmas are not those of ``flow.schedule``."""
        folder = self.path / "scheduler"
        try:
            scheduler = cast(FlowMatchEulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler.from_pretrained(folder))
        except (OSError, ValueError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"cannot read the scheduler of {self.name}: {reason}") from error
        for tokens in (256, 4096):
            sigmas = torch.tensor(flow.schedule(4, tokens), dtype=torch.float32)
            if not torch.allclose(_scheduled(scheduler, 4, tokens), sigmas, atol=1e-6, rtol=0):
                raise UserError(
                    f"{self.name} has another noise schedule than FLUX.1-Fill: see its scheduler/scheduler_config.json"
                )


def _scheduled(scheduler: FlowMatchEulerDiscreteScheduler, steps: int, tokens: int) -> torch.Tensor:
    """Return a scheduler's sigmas for a canvas of that many tokens.

    Source: diffusers, pipeline_flux_fill.calculate_shift and FluxFillPipeline.__call__.
    """
    config = scheduler.config
    shortest, longest = config["base_image_seq_len"], config["max_image_seq_len"]
    slope = (config["max_shift"] - config["base_shift"]) / (longest - shortest)
    mu = config["base_shift"] + slope * (tokens - shortest)
    uniform = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1].tolist()
    scheduler.set_timesteps(sigmas=uniform, mu=mu)
    return torch.as_tensor(scheduler.sigmas)


def _read_json(path: Path) -> Config:
    """Read a JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object")
    return content


def _download(hub_id: str) -> Path:
    """Fetch the parts of a hub repository, and nothing else of it."""
    if not HUB_ID.fullmatch(hub_id):
        raise UserError(f"no base model {hub_id!r}: it is neither a folder nor a hub id such as owner/name")
    try:
        files = [f"{part}/*" for part in PARTS]
        return Path(snapshot_download(hub_id, allow_patterns=["anyrefill.json", *files]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot fetch {hub_id!r}, which is no folder here either, from the hub: {reason}") from error
