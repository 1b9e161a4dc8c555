"""Photographs whose subject a network marks: it must be sure, and the mask follows its photograph into every crop."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recipes.world import marked, sources

from anyrefill.types import Mask, Panel


def bright(panel: Panel) -> Mask:
    """Stand in for U2-Net-p: mark what is bright."""
    return (panel.mean(dim=0, keepdim=True) > 0).float()


def on_the_left(panel: Panel) -> Mask:
    """Stand in for a network that marks the left half, whatever is to be seen."""
    mask = torch.zeros_like(panel[:1])
    mask[..., : panel.shape[-1] // 2] = 1
    return mask


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[sources.Source]:
    """Stand in for two photographs of bright squares and a stage."""
    found: list[sources.Source] = []
    for index in range(3):
        pixels = np.zeros((300, 400, 3), np.uint8)
        pixels[60:240, 100 : 300 - 40 * index] = 255
        path = tmp_path / f"{index}.png"
        Image.fromarray(pixels).save(path)
        caption = f"square {index}"
        found.append(sources.Source(path=path, caption=caption, kind="photo", held_out=False, is_stage=index == 2))
    monkeypatch.setattr(sources, "photos", lambda held_out: [] if held_out else found)
    return found


def test_masks_lie_on_what_was_marked(photographs: list[sources.Source], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marked, "subject", bright)
    crops = list(islice(marked.marked_photos("train", 0), 12))
    assert [crop.caption for crop in crops] == ["square 0", "square 1"] * 6, "no stage"
    assert len({crop.pixels.sum().item() for crop in crops}) == 12
    for crop in crops:
        assert crop.foreground is not None
        assert (crop.foreground != bright(crop.pixels)).float().mean() < 0.02
    again = islice(marked.marked_photos("train", 0), 12)
    assert all(torch.equal(one.pixels, other.pixels) for one, other in zip(crops, again, strict=True))


def test_who_marks_something_else_in_the_mirror_is_not_sure(
    photographs: list[sources.Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marked, "subject", on_the_left)
    assert marked.marked(photographs[0]) is None
    with pytest.raises(ValueError, match="sure of no photograph of train"):
        next(marked.marked_photos("train", 0))
