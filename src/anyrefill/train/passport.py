"""The passport of a trained adapter."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version

from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.fill import FluxFill
from anyrefill.tasks import Task
from anyrefill.train.config import TrainConfig
from anyrefill.train.data import Cache
from anyrefill.train.learner import Learner
from anyrefill.train.trained import Trained

__all__ = ["passport_of"]


def passport_of(
    config: TrainConfig, task: Task, backbone: FluxFill, trained: Trained, caches: Sequence[Cache], learner: Learner
) -> Passport:
    """Write down what the adapter is and how it came about; of several canvas sizes, the one with the most pairs."""
    return Passport(
        task=task.name,
        base=config.backbone,
        fingerprint=backbone.fingerprint(),
        rank=trained.rank,
        alpha=trained.alpha,
        targets=trained.targets,
        kind=trained.kind,
        guidance_train=config.guidance,
        guidance_paint=backbone.settings.guidance,
        steps_paint=config.steps_paint,
        temperature_paint=config.temperature_paint,
        reference_guidance_paint=config.reference_guidance_paint,
        mirrored_paint=config.mirrored_paint,
        height=caches[0].height,
        width=caches[0].width,
        references=caches[0].references,
        mask_rule=backbone.mask_rule,
        attention=config.attention,
        density=_density(config),
        prompt=task.prompt,
        max_sequence_length=backbone.settings.max_sequence_length,
        steps=learner.step,
        steps_before=learner.steps_before,
        pairs=sum(map(len, caches)),
        manifest=_manifest(caches),
        seed=config.seed,
        versions=tuple(f"{name} {version(name)}" for name in ("anyrefill", "torch", "diffusers", "peft")),
    )


def _manifest(caches: Sequence[Cache]) -> str:
    """Return the sha256 of all pairs; of several canvas sizes, that of each size's."""
    if len(caches) == 1:
        return caches[0].manifest
    return hashlib.sha256(" ".join(cache.manifest for cache in caches).encode()).hexdigest()


def _density(config: TrainConfig) -> str:
    """Name the density of the noise levels."""
    if config.density == "logit-normal":
        return f"logit-normal({config.logit_mean:g}, {config.logit_std:g})"
    return config.density
