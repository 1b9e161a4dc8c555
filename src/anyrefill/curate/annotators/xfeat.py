"""Matches by XFeat key-points and LighterGlue, through kornia.

Source: Potje et al. 2024, XFeat (arXiv 2404.19174); verlab/accelerated_features.
"""

from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from anyrefill.curate import weights
from anyrefill.curate.masks import Matches
from anyrefill.curate.weights import WeightFile
from anyrefill.types import Panel

__all__ = ["XFeatMatcher"]

POINTS = 1024
"""Key-points in each view at most."""

SURE = 0.1
"""Confidence below which a match is no match."""


@final
class XFeatMatcher:
    """Finds points that two views share, each with LighterGlue's confidence.

    Args:
        device: of torch.
        folder: of the weights.

    Raises:
        UserError: weights or kornia are missing.
    """

    name = "xfeat"

    def __init__(self, device: str = "cpu", folder: Path | None = None) -> None:
        feature = weights.require("kornia.feature")
        self._device = device
        self._points = feature.XFeat(top_k=POINTS)
        self._points.net.load_state_dict(_read(weights.XFEAT, folder))
        settings = {**feature.LightGlue.features["xfeat"], "weights": None, "filter_threshold": SURE}
        self._glue = feature.LightGlue(None, **settings)
        missing = self._glue.load_state_dict(_renamed(_read(weights.LIGHTERGLUE, folder)), strict=False).missing_keys
        if set(missing) - {"confidence_thresholds"}:
            raise RuntimeError(f"kornia's LightGlue has other layers than {weights.LIGHTERGLUE.name}: {missing}")
        self._points.to(device).eval()
        self._glue.to(device).eval()

    @torch.inference_mode()
    def __call__(self, reference: Panel, target: Panel) -> Matches:
        """Match two panels."""
        ends = [self._describe(panel) for panel in (reference, target)]
        if min(end["keypoints"].shape[1] for end in ends) == 0:
            return Matches(reference=torch.zeros(0, 2), target=torch.zeros(0, 2), confidence=torch.zeros(0))
        found = self._glue({"image0": ends[0], "image1": ends[1]})
        rows = found["matches"][0]
        return Matches(
            reference=ends[0]["keypoints"][0][rows[:, 0]].clone().cpu(),
            target=ends[1]["keypoints"][0][rows[:, 1]].clone().cpu(),
            confidence=found["scores"][0].clone().cpu(),
        )

    def _describe(self, panel: Panel) -> dict[str, Tensor]:
        """Return a panel's key-points as LightGlue takes them."""
        (found,) = self._points.detectAndCompute(((panel + 1) / 2)[None].to(self._device), top_k=POINTS)
        size = torch.tensor([[panel.shape[2], panel.shape[1]]], device=self._device)
        return {"keypoints": found["keypoints"][None], "descriptors": found["descriptors"][None], "image_size": size}


def _read(file: WeightFile, folder: Path | None) -> dict[str, Any]:
    """Return a state dict; torch reads tensors and plain containers only."""
    return torch.load(weights.find(file, folder), map_location="cpu", weights_only=True)


def _renamed(state: dict[str, Any]) -> dict[str, Any]:
    """Return LighterGlue's weights under kornia's names."""
    renamed: dict[str, Any] = {}
    for name, value in state.items():
        parts = name.removeprefix("matcher.").split(".")
        if parts[0] in ("self_attn", "cross_attn"):
            parts = ["transformers", parts[1], parts[0], *parts[2:]]
        renamed[".".join(parts)] = value
    return renamed
