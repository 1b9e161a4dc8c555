"""Aspect buckets: where a pair goes, whose turn it is, and a run over pairs of differing shape."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from anyrefill.backbone.adapters.files import read_passport
from anyrefill.errors import UserError
from anyrefill.pairs import Pair, PairFolder, write_pairs
from anyrefill.train import Step, TrainConfig, train, training
from anyrefill.train.buckets import buckets_of, place_of, sizes_for, turn_of
from anyrefill.train.checkpoint import TURNS, Checkpoint, State
from anyrefill.train.data import _rows, steps_of
from panels import random_panel

SHAPES = ((64, 64), (96, 48), (64, 64), (48, 96), (96, 48))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pairs = [
        Pair(reference=random_panel(*shape, seed), target=-random_panel(*shape, seed), caption=f"p {seed}")
        for seed, shape in enumerate(SHAPES)
    ]
    folder = tmp_path_factory.mktemp("buckets") / "pairs"
    write_pairs(pairs, folder)
    return folder


@pytest.mark.parametrize("panel", [64, 128, 512])
def test_sizes_have_about_one_area_and_fit_the_tokens(panel: int) -> None:
    sizes = sizes_for(panel)
    assert (panel, panel) in sizes
    assert len(set(sizes)) == len(sizes)
    assert all(side % 16 == 0 for size in sizes for side in size)
    assert {(width, height) for height, width in sizes} == set(sizes)
    for height, width in sizes:
        assert abs(math.log(height * width / panel**2)) < (0.5 if panel < 128 else 0.25)


def test_pairs_go_where_they_are_stretched_least(folder: Path) -> None:
    buckets = buckets_of(PairFolder(folder, (64, 64)), 64)
    assert [(bucket.pairs.size, bucket.lines) for bucket in buckets] == [
        ((64, 64), (0, 2)), ((96, 48), (1, 4)), ((48, 96), (3,)),
    ]  # fmt: skip
    assert torch.equal(buckets[1].pairs[1].reference, random_panel(96, 48, 4)), "no pixel is resized"


def test_a_picture_lies_as_its_exif_says(folder: Path, tmp_path: Path) -> None:
    pairs = PairFolder(folder)
    path = tmp_path / "turned.jpg"
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.open(pairs.rows[1].reference).save(path, exif=turned)
    pairs.rows = (replace(pairs.rows[1], reference=path),)
    assert buckets_of(pairs, 64)[0].pairs.size == (48, 96)


def test_a_picture_that_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    pairs, path = PairFolder(folder), tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG")
    pairs.rows = (replace(pairs.rows[0], reference=path),)
    with pytest.raises(UserError, match=r"broken\.png"):
        buckets_of(pairs, 64)


@pytest.mark.parametrize("counts", [[100, 1], [5, 3, 2], [4, 4, 1, 1], [7]])
def test_every_pair_is_drawn_equally_often(counts: list[int]) -> None:
    """A turn draws `each` pairs of its bucket, however few it has, so that a rare shape's turns have to be rare."""
    each, total = 8, sum(counts)
    turns = [turn_of(counts, step) for step in range(3 * total)]
    drawn = Counter[tuple[int, int]]()
    for turn in turns:
        drawn.update((turn.bucket, row) for row in _rows(counts[turn.bucket], 1, turn.number * each, each))
    assert drawn == {(bucket, row): 3 * each for bucket, count in enumerate(counts) for row in range(count)}


def test_turns_are_spread_evenly_and_none_is_left_out() -> None:
    counts = [10, 5, 1]
    turns = [turn_of(counts, step) for step in range(48)]
    for bucket, count in enumerate(counts):
        steps = [step for step, turn in enumerate(turns) if turn.bucket == bucket]
        assert [turns[step].number for step in steps] == list(range(3 * count))
        assert [place_of(counts, bucket, number) for number in range(3 * count)] == steps
        assert max(late - early for early, late in pairwise(steps)) < 16 / count + 2
    assert [turn.bucket for turn in turns].index(2) in (7, 8), "a short run is not without the rare shape"


@pytest.mark.parametrize("counts", [[5, 3, 2], [100, 1], [5]])
@pytest.mark.parametrize("epochs", [0.0, 0.5, 1.0, 2.0])
def test_epochs_end_when_every_pair_was_drawn_that_often(counts: list[int], epochs: float) -> None:
    config = TrainConfig(task="", pairs=Path(), out=Path(), steps=1, batch=2, min_epochs=epochs)
    had = [Counter(turn_of(counts, step).bucket for step in range(steps_of(config, counts) - less)) for less in (0, 1)]
    enough = [all(2 * turns[bucket] >= epochs * count for bucket, count in enumerate(counts)) for turns in had]
    assert enough == [True, epochs == 0], "neither too few steps nor too many"


def test_one_bucket_is_drawn_as_ever() -> None:
    assert [turn_of([5], step).number for step in range(9)] == list(range(9))


def test_a_run_whose_shapes_took_turns_otherwise_is_not_gone_on_with(tmp_path: Path) -> None:
    """Earlier versions, whose states do not tell how, let a rare shape have a turn as soon as others had theirs."""
    config, state = (
        TrainConfig(task="", pairs=Path(), out=tmp_path),
        State(step=1, parameters=[], average=[], optimizer={}),
    )
    shaped = replace(config, buckets=True)
    for begun in (config, shaped):
        checkpoint = Checkpoint(begun, "pairs", "base")
        checkpoint.run.pop(TURNS, None)
        checkpoint.save(state)
        if begun is config:
            assert Checkpoint(config, "pairs", "base").load()[0] == state
    with pytest.raises(UserError, match="is of a run with another order of shapes; give another --out"):
        Checkpoint(shaped, "pairs", "base").load()
    Checkpoint(shaped, "pairs", "base").save(state)
    assert Checkpoint(shaped, "pairs", "base").load()[0] == state


@pytest.mark.parametrize("changes", [{}, {"attention": "clean_ref", "draws": 2}])
def test_a_run_over_several_shapes_resumes_bit_for_bit(
    folder: Path, tiny: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    config = TrainConfig(
        task="deblur", pairs=folder, out=tmp_path / "whole", backbone=str(tiny), cache=tmp_path / "cache",
        steps=4, batch=2, rank=2, save_every=2, dtype="float32", buckets=True, validate=str(folder), samples=1,
    )  # fmt: skip
    config = replace(config, **changes)
    *_, last = train(config)
    assert last.validation is not None
    broken = replace(config, out=tmp_path / "broken")
    run = training(broken)
    next(record for record in run if isinstance(record, Step) and record.step == 3)
    run.close()
    assert [step.step for step in train(broken)] == [4]
    whole, again = (load_file(tmp_path / run / "adapter.safetensors") for run in ("whole", "broken"))
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    passport = read_passport(tmp_path / "broken" / "adapter.safetensors")
    assert (passport.pairs, passport.height, passport.width) == (5, 64, 128)
