"""Several tasks in one picture: each adapter alone on what the one before it painted, or all at once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import anyrefill
from anyrefill import Painter, Pair, UserError, images
from anyrefill.backbone.placement import Placement
from anyrefill.evaluate import evaluate
from anyrefill.painter.turns import own_words
from panels import random_panel
from tiny_checkpoint import save_tiny_adapter

BOTH = "deblur+colorization"
CLOSE = {"atol": 1e-4, "rtol": 0}


@pytest.fixture
def own(as_micro: Path, tmp_path: Path) -> Path:
    return save_tiny_adapter(as_micro, tmp_path / "own.safetensors", "deblur", seed=7)


def some_pairs(count: int = 3) -> list[Pair]:
    return [
        Pair(reference=random_panel(64, 64, seed), target=random_panel(64, 64, seed + 9), caption="a town")
        for seed in range(count)
    ]


def by_hand(own: Path, pairs: list[Pair], weight: float = 1.0, **asked: int) -> list[torch.Tensor]:
    """Paint with one adapter, then with the other, each in a backbone of its own."""
    first = anyrefill.load("deblur", adapter=f"{own}:{weight}").batch(pairs, **asked)
    between = [replace(pair, reference=panel) for pair, panel in zip(pairs, first, strict=True)]
    return anyrefill.load("colorization").batch(between, **asked)


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_each_adapter_acts_alone_on_what_was_painted_before(own: Path, weight: float) -> None:
    pairs = some_pairs()
    said = "" if weight == 1 else f":{weight}"
    painter = anyrefill.load(BOTH, adapter=f"{own}{said}+colorization")
    stages = list(painter.painting(pairs, seed=5, batch_size=2))
    assert [stage.done for stage in stages] == list(range(1, 13)), "two tasks, two batches, three steps"
    assert {stage.total for stage in stages} == {12} == {painter.calls(3, batch_size=2)}
    painted = [panel for stage in stages for panel in stage.panels]
    for found, expected in zip(painted, by_hand(own, pairs, weight, seed=5), strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)


def test_one_picture_is_painted_as_by_hand(own: Path) -> None:
    painter = anyrefill.load(BOTH, adapter=f"{own}+colorization")
    reference = images.to_pil(random_panel(80, 60))
    request = painter.prepare(reference, caption="a town")
    *steps, last = painter.fulfilling(request, seed=3)
    assert ([stage.done for stage in steps], last.done, last.total) == ([1, 2, 3, 4, 5], 6, 6)
    between = anyrefill.load("deblur", adapter=own)(reference, caption="a town", seed=3)
    expected = anyrefill.load("colorization")(between, caption="a town", seed=3)
    found = images.to_pil(last.panels[0])
    assert found.size == expected.size == (60, 80)
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), atol=3)


def test_variants_go_through_all_turns_one_by_one(own: Path) -> None:
    painter = anyrefill.load(BOTH, adapter=f"{own}+colorization")
    request = painter.prepare(images.to_pil(random_panel(64, 64)))
    stages = list(painter.fulfilling(request, seed=3, variants=2))
    assert [(stage.done, stage.total) for stage in stages] == [(done, 12) for done in range(1, 13)]
    assert [len(stage.panels) for stage in stages] == [0, 0, 0, 0, 0, 1] * 2, "each as soon as its last turn is over"
    panels = [panel for stage in stages for panel in stage.panels]
    for seed, panel in zip((3, 4), panels, strict=True):
        *_, alone = painter.fulfilling(request, seed=seed)
        assert torch.equal(panel, alone.panels[0])
    with pytest.raises(UserError, match="Nobody measured whether the repainted reference tells good paintings of deb"):
        painter.fulfilling(request, best_of=2)
    settled = replace(painter, turns=tuple(replace(turn, temperature=0.0) for turn in painter.turns))
    with pytest.raises(UserError, match="At temperature 0 all paintings are the same"):
        settled.fulfilling(request, variants=2)
    with pytest.raises(UserError, match="At temperature 0 all paintings are the same"):
        painter.fulfilling(request, variants=2, temperature=0.0)


def test_at_once_is_the_weighed_sum(own: Path) -> None:
    asked = f"{own}:0.5+colorization"
    turns, merged = anyrefill.load(BOTH, adapter=asked), anyrefill.load(BOTH, adapter=asked, together="at-once")
    assert (len(turns.turns), merged.turns) == (2, ())
    pairs = some_pairs(1)
    one, other = (painter.batch(pairs)[0] for painter in (replace(turns, turns=()), merged))
    torch.testing.assert_close(one, other, **CLOSE)
    assert not torch.allclose(turns.batch(pairs)[0], other, **CLOSE)


def test_what_cannot_take_turns_acts_at_once_and_says_so(own: Path) -> None:
    asked = f"{own}+colorization"
    painter = anyrefill.load(BOTH, adapter=asked, placement=Placement(offload="idle"))
    assert painter.turns == ()
    assert any(note.startswith("All adapters act at once, not in turn: one is a prompt") for note in painter.notes)
    for quiet in (
        anyrefill.load(BOTH, adapter=asked, placement=Placement(offload="idle"), together="at-once"),
        anyrefill.load("deblur", adapter=asked),
    ):
        assert not any(note.startswith("All adapters act at once") for note in quiet.notes)
        assert quiet.turns == ()


def test_answers_that_are_read_differently_can_take_turns(own: Path) -> None:
    del own
    painter, pairs = anyrefill.load("colorization+image-to-segment"), some_pairs(1)
    colours = anyrefill.load("colorization").batch(pairs)
    segment = anyrefill.load("image-to-segment")
    torch.testing.assert_close(
        painter.batch(pairs)[0], segment.batch([replace(pairs[0], reference=colours[0])])[0], **CLOSE
    )
    assert (painter.task.decode, painter.task.metrics) == (segment.task.decode, segment.task.metrics)
    with pytest.raises(UserError, match="colorization and image-to-segment cannot be painted at once: they paint"):
        anyrefill.load("colorization+image-to-segment", together="at-once")


def test_words_for_several_are_joined_by_commas_at_once(own: Path) -> None:
    painter = anyrefill.load(BOTH, adapter=f"{own}+colorization", together="at-once")
    assert painter.task.fill_prompt("an old woman; warm light ;x").endswith("an old woman, warm light, x")
    alone = anyrefill.load("colorization")
    assert alone.task.fill_prompt("a town; at night").endswith("a town; at night"), "one task's words are its own"


def test_a_raw_painter_asks_no_turn_for_its_finish(own: Path) -> None:
    painter = anyrefill.load("colorization+deblur", adapter=f"colorization+{own}")
    pairs = some_pairs(1)
    first = replace(anyrefill.load("colorization"), raw=True).batch(pairs)
    expected = anyrefill.load("deblur", adapter=own).batch([replace(pairs[0], reference=first[0])])
    torch.testing.assert_close(replace(painter, raw=True).batch(pairs)[0], expected[0], **CLOSE)
    assert not torch.allclose(painter.batch(pairs)[0], expected[0], **CLOSE)


def test_an_evaluation_shows_both_ways_and_the_bare_backbone(own: Path) -> None:
    painter = anyrefill.load(BOTH, adapter=f"{own}+colorization")
    pairs = some_pairs(2)
    before = painter.batch(pairs)
    report = evaluate(painter, pairs)
    assert report.steps == 6, "three each"

    def psnr(row: str) -> tuple[float, ...]:
        return report.score(row, "psnr").values

    bare = replace(anyrefill.load("colorization", adapter="none"), guidance=painter.guidance)
    assert len({psnr(row) for row in ("painted", "all adapters at once", "without the adapter")}) == 3
    assert psnr("without the adapter") == pytest.approx(bare_psnr(bare, pairs, painter), abs=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(before, painter.batch(pairs), strict=True)), "as it was"


def bare_psnr(bare: Painter, pairs: list[Pair], like: Painter) -> list[float]:
    """Score the bare backbone with the prompt and the metrics of another painter."""
    found = evaluate(replace(bare, task=like.task), pairs, steps=3, baselines=False)
    return list(found.score("painted", "psnr").values)


@pytest.mark.parametrize(
    ("caption", "count", "expected"),
    [
        ("an old woman", 2, ["an old woman"] * 2),
        ("an old woman; warm light from the left", 2, ["an old woman", "warm light from the left"]),
        ("a; b; c", 2, ["a; b; c"] * 2),
        ("a; b; c", 3, ["a", "b", "c"]),
    ],
)
def test_words_between_semicolons_are_for_one_task_each(caption: str, count: int, expected: list[str]) -> None:
    assert [own_words(caption, place, count) for place in range(count)] == expected


def test_each_task_is_told_its_own_words(own: Path) -> None:
    painter = anyrefill.load("age+relight", adapter=f"colorization+{own}")
    pair = some_pairs(1)[0]
    mine = anyrefill.load("age", adapter="colorization").batch([replace(pair, caption="an old woman")])
    between = replace(pair, reference=mine[0], caption="warm light")
    expected = anyrefill.load("relight", adapter=own).batch([between])
    found = painter.batch([replace(pair, caption="an old woman; warm light")])
    torch.testing.assert_close(found[0], expected[0], **CLOSE)
    with pytest.raises(UserError, match="The task relight needs a caption that says what to paint"):
        painter.prepare(images.to_pil(random_panel(64, 64)), caption="an old woman; ")
