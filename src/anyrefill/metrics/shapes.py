"""How near two shapes are: regions and edges."""

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anyrefill.metrics.pixels import luma
from anyrefill.types import Mask, Panel

__all__ = ["canny", "edge_f1", "edge_scores", "iou", "line_f1", "line_scores"]


def iou(painted: Float[Tensor, "C H W"], target: Float[Tensor, "C H W"]) -> float:
    """Return intersection over union of the pixels above 0, i.e. brighter than mid-grey; 1 if both are empty."""
    a, b = painted > 0, target > 0
    union = (a | b).sum().item()
    return (a & b).sum().item() / union if union else 1.0


def canny(panel: Panel, low: float = 100, high: float = 200) -> Mask:
    """Return OpenCV's Canny edges of the panel's 8-bit grey: 1 on an edge.

    Args:
        panel: the picture.
        low: gradient above which an edge goes on.
        high: gradient above which an edge begins.
    """
    grey = ((luma(panel.detach().cpu().double()) + 1) * 127.5).round().clamp(0, 255).byte()[0].numpy()
    edges = np.asarray(cv2.Canny(grey, low, high))
    return torch.from_numpy((edges > 0).astype(np.float32))[None].to(panel.device)


def edge_f1(painted: Panel, target: Panel) -> float:
    """Return the F1 of `edge_scores`."""
    return edge_scores(painted, target)[2]


def edge_scores(painted: Panel, target: Panel, tolerance: int = 1) -> tuple[float, float, float]:
    """Return (precision, recall, F1) of the Canny edges found again in the painted panel.

    An edge pixel is right if the other picture has one within the tolerance. Where a picture has no edge, its score
    is 1 if the other has none either, else 0.

    Args:
        painted: the painted panel.
        target: the panel with the right edges.
        tolerance: pixels, in the largest of |dx| and |dy|.
    """
    return _scores(canny(painted), canny(target), tolerance)


def line_f1(painted: Float[Tensor, "C H W"], target: Float[Tensor, "C H W"]) -> float:
    """Return the F1 of `line_scores`."""
    return line_scores(painted, target)[2]


def line_scores(
    painted: Float[Tensor, "C H W"], target: Float[Tensor, "C H W"], tolerance: int = 1
) -> tuple[float, float, float]:
    """Return (precision, recall, F1) of two drawings whose lines are the pixels brighter than mid-grey.

    As `edge_scores`, but the panels are the edges themselves, not pictures that have them.

    Args:
        painted: the painted lines; channels are averaged.
        target: the right lines.
        tolerance: pixels, in the largest of |dx| and |dy|.
    """
    found, wanted = ((panel.mean(dim=0, keepdim=True) > 0).float() for panel in (painted, target))
    return _scores(found, wanted, tolerance)


def _scores(found: Mask, wanted: Mask, tolerance: int) -> tuple[float, float, float]:
    """Return (precision, recall, F1) of the pixels found against those wanted."""
    precision = _share(found, _dilate(wanted, tolerance), wanted)
    recall = _share(wanted, _dilate(found, tolerance), found)
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


def _share(edges: Mask, near: Mask, other: Mask) -> float:
    """Return which share of the edges lies in ``near``; without edges, whether the other picture has none either."""
    count = edges.sum().item()
    return (edges * near).sum().item() / count if count else float(not other.any())


def _dilate(mask: Mask, radius: int) -> Mask:
    """Return 1 wherever the mask is 1 within a square of that radius."""
    return torch.nn.functional.max_pool2d(mask, 2 * radius + 1, stride=1, padding=radius)
