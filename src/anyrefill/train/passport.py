"""The passport of a trained adapter."""

from importlib.metadata import version

from anyrefill.backbone.adapters.lora import resolve_targets
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.fill import FluxFill
from anyrefill.tasks import Task
from anyrefill.train.config import TrainConfig
from anyrefill.train.data import Cache

__all__ = ["passport_of"]


def passport_of(config: TrainConfig, task: Task, backbone: FluxFill, cache: Cache) -> Passport:
    """Write down what the adapter is and how it came about."""
    return Passport(
        task=task.name,
        base=config.backbone,
        fingerprint=backbone.fingerprint(),
        rank=config.rank,
        alpha=config.rank if config.alpha is None else config.alpha,
        targets=resolve_targets(config.targets),
        guidance_train=config.guidance,
        guidance_paint=backbone.settings.guidance,
        height=cache.height,
        width=cache.width,
        mask_rule=backbone.mask_rule,
        attention=config.attention,
        density=_density(config),
        prompt=task.prompt,
        max_sequence_length=backbone.settings.max_sequence_length,
        steps=config.steps,
        pairs=len(cache),
        manifest=cache.manifest,
        seed=config.seed,
        versions=tuple(f"{name} {version(name)}" for name in ("anyrefill", "torch", "diffusers", "peft")),
    )


def _density(config: TrainConfig) -> str:
    """Name the density of the noise levels."""
    if config.density == "logit-normal":
        return f"logit-normal({config.logit_mean:g}, {config.logit_std:g})"
    return config.density
