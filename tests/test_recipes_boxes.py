"""What a box around the person pays is measured by boxes that hold the person."""

from dataclasses import replace

import pytest
import torch
from recipes import boxes

from anyrefill import Painter, Pair, tasks
from anyrefill.backbone.tiny import TinyFill
from panels import random_panel


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ((40, 60, 50, 90), (50, 30, 90, 70)),  # rows 40 to 60, columns 50 to 90: as wide as it is
        ((0, 10, 0, 30), (0, 0, 30, 30)),  # at the corner it is moved inside
        ((100, 128, 100, 104), (88, 100, 116, 128)),
        ((0, 128, 60, 64), (0, 0, 128, 128)),
    ],
)
def test_a_square_holds_what_is_marked(marked: tuple[int, int, int, int], expected: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = marked
    mask = torch.zeros(1, 128, 128)
    mask[:, top:bottom, left:right] = 1
    assert boxes.square_around(mask) == expected


def lpips_background(_painted: torch.Tensor, _pair: Pair) -> float:
    return 0.25


def test_both_ways_are_scored_against_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = torch.zeros(1, 64, 64)
    mask[:, 16:48, 16:48] = 1
    given = random_panel(64, 64, 1)
    pair = Pair(reference=given, target=torch.where(mask.bool(), -given, given), mask=mask, caption="an old man")
    copying = Painter(backbone=TinyFill(), task=replace(tasks.get("deblur"), name="age"), size=(64, 64), steps=1)
    monkeypatch.setattr(boxes, "painter_of", lambda _name, dtype: copying)
    monkeypatch.setattr(boxes, "held_out_pairs", lambda _task, _size, limit: [pair] * limit)
    monkeypatch.setattr(boxes, "lpips_background", lpips_background)
    found = boxes.measured("age", 2)
    assert (found.pairs, found.side, [one.way for one in found.ways]) == (2, 0.5, ["whole", "in a box"])
    whole, boxed = found.ways
    assert whole.rmse == pytest.approx(found.copied, rel=1e-3), "who copies leaves all of the error"
    assert boxed.rmse != pytest.approx(found.copied, rel=1e-3), "a box is enlarged and made small again"
    assert boxed.background == whole.background == 0.25
