"""The bare backbone's scores: the mock keeps pictures exactly and copies its reference."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anyrefill import Painter, Pair, UserError, write_pairs
from anyrefill.backbone.tiny import TinyFill
from anyrefill.evaluate import Report, base, heldout
from anyrefill.evaluate.base import autoencoding, inpainting
from panels import random_panel


def pairs(count: int = 3) -> list[Pair]:
    """Return smooth pictures with a hole of a quarter."""
    mask = torch.zeros(1, 32, 32)
    mask[:, 8:24, 8:24] = 1
    ramp = torch.linspace(-0.5, 0.5, 32).expand(3, 32, 32)
    return [
        Pair(reference=random_panel(32, 32, seed), target=ramp * (seed + 1) / count, mask=mask) for seed in range(count)
    ]


def scores(report: Report | None, metric: str) -> dict[str, float]:
    assert report is not None
    return {row.name: score.mean for row in report.rows for score in row.scores if score.metric == metric}


def test_a_lossless_autoencoder_scores_so() -> None:
    *_, last = autoencoding(TinyFill(), pairs(), batch_size=2)
    assert (last.done, last.total) == (3, 3)
    assert scores(last.report, "psnr")["decoded"] > 100


def test_telea_beats_the_mean_colour_on_a_ramp() -> None:
    *_, last = inpainting(TinyFill(), pairs(), steps=2, guidance=1.0, batch_size=2)
    psnr = scores(last.report, "psnr")
    assert psnr["Telea"] > psnr["mean colour"] + 4
    assert last.report is not None
    assert (last.report.steps, last.report.count) == (2, 3)


def test_the_hole_is_scored_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[Tensor] = []

    def error_in(painted: Tensor, target: Tensor, mask: Tensor) -> float:
        masks.append(mask)
        return (painted - target)[mask.bool().expand_as(painted)].abs().mean().item()

    monkeypatch.setattr(base, "lpips_in", error_in)
    *_, last = inpainting(TinyFill(), pairs(), steps=2, guidance=1.0, batch_size=2)
    found = scores(last.report, "lpips_hole")
    assert list(found) == ["painted", "mean colour", "Telea"]
    assert found["Telea"] < found["mean colour"]
    assert all(torch.equal(mask, base.hole(pair)) for mask, pair in zip(masks, 3 * pairs(), strict=True))
    score = last.report.score("painted", "lpips_hole") if last.report else None
    assert score is not None
    assert score.aim == "lower"


def test_the_autoencoder_is_measured_on_photographs_where_there_are_any(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    painter = Painter(backbone=TinyFill(), task=base.COPYING, size=(32, 32), steps=2, guidance=1.0)

    def measured() -> Report:
        run = next(base.runs(painter, limit=None, steps=None, guidance=None, seed=0, batch_size=8))
        *_, last = run
        assert last.report is not None
        return last.report

    write_pairs(pairs(3), heldout(base.COPYING.name))
    write_pairs(pairs(1), heldout(base.INPAINTING))
    without = measured()
    assert (without.count, without.to_markdown().count(base.NO_PHOTOGRAPHS)) == (3, 1)
    write_pairs(pairs(2), heldout(base.AUTOENCODER))
    found = measured()
    assert (found.task, found.count) == ("backbone-autoencoder", 2)
    assert base.NO_PHOTOGRAPHS not in found.to_markdown()


def test_what_is_kept_is_kept_in_every_row() -> None:
    for pair in pairs():
        for filling in (base._telea(pair), base._mean_colour(pair)):
            kept = base.hole(pair)[0] == 0
            assert torch.equal(base._pasted(pair, filling)[:, kept], pair.target[:, kept])


def test_inpainting_needs_masks() -> None:
    with pytest.raises(UserError, match="evaluated on pairs with a mask"):
        list(inpainting(TinyFill(), [replace(pairs()[0], mask=None)], steps=1, guidance=1.0))


def test_missing_pairs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    painter = Painter(backbone=TinyFill(), task=base.COPYING, size=(32, 32), steps=2, guidance=1.0)
    with pytest.raises(UserError, match=r": `python -m recipes\.heldout` makes ours "):
        list(base.runs(painter, limit=None, steps=None, guidance=None, seed=0, batch_size=8))


@pytest.mark.parametrize("masks", [None, False])
def test_holes_that_are_missing_are_told_before_anything_is_painted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, masks: bool | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    painter = Painter(backbone=TinyFill(), task=base.COPYING, size=(32, 32), steps=2, guidance=1.0)
    write_pairs(pairs(3), heldout(base.COPYING.name))
    if masks is not None:
        write_pairs([replace(pair, mask=None) for pair in pairs(2)], heldout(base.INPAINTING))
    with pytest.raises(UserError, match="no held-out pairs of backbone-inpainting|evaluated on pairs with a mask"):
        next(base.runs(painter, limit=None, steps=None, guidance=None, seed=0, batch_size=8))
