"""Aspect buckets: where a pair goes, whose turn it is, and a run over pairs of differing shape."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from anyrefill.backbone.adapters.files import read_passport
from anyrefill.errors import UserError
from anyrefill.pairs import Pair, PairFolder, write_pairs
from anyrefill.train import Step, TrainConfig, train, training
from anyrefill.train.buckets import buckets_of, sizes_for, turn_of
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


def test_an_epoch_draws_every_pair_and_depends_on_nothing_but_the_step() -> None:
    counts, each = [5, 3, 2], 2
    turns = [turn_of(counts, each, seed=1, step=step) for step in range(12)]
    assert Counter(turn.bucket for turn in turns[:6]) == {0: 3, 1: 2, 2: 1}
    assert [turn.bucket for turn in turns[:6]] != [turn.bucket for turn in turns[6:]]
    for bucket, count in enumerate(counts):
        mine = [turn.number for turn in turns if turn.bucket == bucket]
        assert mine == list(range(len(mine))), "no turn is left out"
        drawn = [row for number in mine for row in _rows(count, 1, number * each, each)]
        assert set(drawn) == set(range(count))
    assert turn_of(counts, each, seed=1, step=9) == turns[9]
    assert steps_of(TrainConfig(task="", pairs=Path(), out=Path(), steps=1, batch=2, min_epochs=2.0), counts) == 12


def test_one_bucket_is_drawn_as_ever() -> None:
    assert [turn_of([5], 2, seed=3, step=step).number for step in range(9)] == list(range(9))


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
