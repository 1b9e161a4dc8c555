"""Folders of pairs: every task has a source, splits do not mix, and what gives no pair is left out."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recipes import heldout
from recipes.world import placed, relit, render, render_pairs, sources, stages

from anyrefill import images, tasks
from anyrefill.pairs import Pair, PairFolder, Photo


def a_photo(seed: int, *, blank: bool = False) -> Photo:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(3, 16, 16, generator=generator).repeat_interleave(4, 1).repeat_interleave(4, 2) * 2 - 1
    foreground = torch.zeros(1, 64, 64)
    foreground[:, 16:48, 16:48] = 0 if blank else 1
    pixels = torch.zeros_like(pixels) if blank else pixels
    return Photo(pixels=pixels, foreground=foreground, depth=foreground * 2 - 1, caption=f"photo {seed}")


def some_photos(split: str) -> Iterator[Photo]:
    """Yield photographs of which every second is empty."""
    return (a_photo(seed + 100 * (split == "test"), blank=seed % 2 == 1) for seed in range(8))


def test_every_task_has_a_source_of_pairs() -> None:
    assert set(heldout.TASKS) == set(tasks.names())
    assert not set(heldout.TASKS) & set(heldout.TESTS)


@pytest.mark.parametrize("name", ["canny-to-image", "image-to-canny"])
def test_a_picture_without_edges_is_no_pair_of_edges(name: str) -> None:
    make = tasks.get(name).make
    assert make is not None
    assert make(a_photo(0, blank=True), torch.Generator()) is None
    few = torch.zeros(3, 64, 64)
    few[:, 30:33, 30:33] = 1
    assert make(Photo(pixels=few), torch.Generator()) is None, "one speck"
    pair = make(a_photo(0), torch.Generator())
    assert pair is not None
    edges = pair.reference if name == "canny-to-image" else pair.target
    assert set(edges.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("name", ["canny-to-image", "image-to-segment", "image-to-depth"])
def test_what_gives_no_pair_is_left_out(name: str) -> None:
    pairs = list(heldout.made(name, some_photos)("train", 0))
    assert [pair.caption for pair in pairs] == ["photo 0", "photo 2", "photo 4", "photo 6"]
    assert next(pair.caption for pair in heldout.made(name, some_photos)("test", 0)) == "photo 100"


def test_a_bank_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(heldout, "bank", lambda split, subjects: tmp_path / split)
    with pytest.raises(SystemExit, match="There is no bank of scenes .*test: see the commands"):
        next(heldout.photos("test"))


def test_a_folder_is_written_once(tmp_path: Path) -> None:
    source = heldout.made("super-resolution", some_photos)
    heldout.write(source("train", 0), "some", 3, tmp_path / "pairs")
    heldout.write(source("train", 0), "some", 8, tmp_path / "pairs")
    assert len(PairFolder(tmp_path / "pairs")) == 3
    factors = [pair.extra["factor"] for pair in source("train", 0)]
    assert factors == [pair.extra["factor"] for pair in source("train", 0)]
    assert set(factors) <= {4, 8, 16}


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Stand in for renders, of which there are three, and stages, of which there is no end."""
    are_rendered = [True]

    def pair(index: int) -> Pair:
        photo = a_photo(index)
        return Pair(reference=photo.pixels, target=photo.pixels, caption=photo.caption)

    monkeypatch.setattr(render_pairs, "rendered", lambda split: are_rendered[0])
    monkeypatch.setattr(render_pairs, "photos", lambda split: (a_photo(index) for index in range(3)))
    monkeypatch.setattr(stages, "photos", lambda split: (a_photo(index) for index in range(100, 200)))
    monkeypatch.setattr(render_pairs, "inpainting_pairs", lambda split, seed: map(pair, range(3)))
    monkeypatch.setattr(stages, "inpainting_pairs", lambda split, seed: map(pair, range(100, 200)))
    return are_rendered


@pytest.mark.parametrize("name", ["image-to-depth", "depth-to-image", "ref-inpainting"])
def test_renders_and_stages_take_turns(mixed: list[bool], name: str) -> None:
    captions = [pair.caption for pair in islice(heldout.SOURCES[name]("train", 0), 8)]
    assert captions == [f"photo {index}" for index in (0, 100, 1, 101, 2, 102, 103, 104)]
    mixed[0] = False
    captions = [pair.caption for pair in islice(heldout.SOURCES[name]("train", 0), 2)]
    assert captions == ["photo 100", "photo 101"]


def test_silhouettes_to_train_on_stand_on_any_background_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(name: str) -> Callable[..., Iterator[Photo]]:
        return lambda split, seed=0: (replace(a_photo(0), caption=f"{name} {split} {index}") for index in range(9))

    for name in ("photos", "subjects", "marked_photos"):
        monkeypatch.setattr(heldout, name, named(name))
    taught = [pair.caption for pair in islice(heldout.silhouettes("train", 0), 10)]
    turns = "subjects 0, photos 0, subjects 1, photos 1, marked_photos 0, subjects 2, photos 2, subjects 3, photos 3"
    assert taught == [turn.replace(" ", " train ", 1) for turn in [*turns.split(", "), "marked_photos 1"]]
    assert [pair.caption for pair in heldout.silhouettes("test", 0)] == [f"subjects test {index}" for index in range(9)]


def a_pair(caption: str) -> Pair:
    return Pair(reference=torch.zeros(3, 8, 8), target=torch.zeros(3, 8, 8), caption=caption)


def test_photographs_are_for_training_and_for_tests_of_their_own() -> None:
    sources = (
        lambda split, seed: (a_pair(f"render {split} {index}") for index in range(4)),
        lambda split, seed: (a_pair(f"photo {split} {index}") for index in range(100)),
    )
    taught = [pair.caption for pair in heldout.with_photographs(*sources)("train", 0)]
    assert taught == [f"{kind} train {index}" for index in range(4) for kind in ("render", "photo")]
    both = heldout.with_photographs(*sources, each=2)
    numbers = ("render 0", "render 1", "photo 0", "render 2", "render 3", "photo 1")
    assert [pair.caption for pair in both("train", 0)] == [name.replace(" ", " train ") for name in numbers]
    assert [pair.caption for pair in both("test", 0)] == [f"render test {index}" for index in range(4)]


def test_people_are_placed_in_scenes_and_nobody_only_in_training(
    renders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heldout, "photos", lambda split: (a_photo(index) for index in range(200)))
    edits = partial(render_pairs.age_edits, root=renders)
    taught = list(heldout.anywhere(lambda _split, seed: edits("train", seed), "train", 0))
    still = [pair for pair in taught if torch.equal(pair.reference, pair.target)]
    assert len(taught) == 2 * len(list(edits("train")))
    assert len(still) >= len(taught) // placed.EMPTY
    tested = list(heldout.anywhere(lambda _split, seed: edits("train", seed), "test", 0))
    assert all(pair.mask is not None for pair in tested)


def test_scenes_with_and_without_a_shape_are_relit_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldout, "photos", some_photos)
    monkeypatch.setattr(heldout, "subjects", some_photos)

    def given(photos: Iterator[Photo], seed: int) -> Iterator[Photo]:
        assert seed == 0
        return photos

    monkeypatch.setattr(relit, "relit_pairs", given)
    found = list(heldout.photographs_relit("train", 0))  # type: ignore[arg-type]
    assert [photo.foreground is not None for photo in found] == [True, False] * 8


def test_seeds_of_a_split_are_its_own() -> None:
    pytest.importorskip("scipy", reason="scipy is the renderer's")
    assert render.seeds_of("test", 0, 3) == [0, 8, 16]
    assert render.seeds_of("train", 7, 3) == [7, 9, 10]
    assert render.seeds_of(None, 7, 3) == [7, 8, 9]
    assert {render.split_of(seed) for seed in render.seeds_of("train", 0, 50)} == {"train"}


def test_renders_are_there_or_not(tmp_path: Path) -> None:
    assert not render_pairs.rendered("train", tmp_path)
    for kind in ("people", "rooms"):
        (tmp_path / kind / "train").mkdir(parents=True)
        (tmp_path / kind / "train" / "manifest.jsonl").touch()
    assert render_pairs.rendered("train", tmp_path)
    assert not render_pairs.rendered("test", tmp_path)


def test_the_bare_backbones_pairs_come_of_any_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldout, "photos", some_photos)
    toned = list(heldout.copying_pairs("test", 0))
    assert len({pair.caption.split(", ")[1] for pair in toned}) == 8
    assert np.isclose(float(toned[0].reference.mean()), float(a_photo(100).pixels.mean()), atol=1e-6)


def test_plain_photographs_are_cut_whole_then_in_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sizes = {"wide": (512, 256), "tall": (300, 400), "small": (255, 500), "motorcycle_right": (400, 400)}
    for index, (name, size) in enumerate(sizes.items()):
        Image.effect_noise(size, 10 + index).convert("RGB").save(tmp_path / f"{name}.png")
    found = [sources.photo(tmp_path / f"{name}.png") for name in sizes]
    monkeypatch.setattr(sources, "photos", lambda held_out: found if held_out else [])
    pairs = list(heldout.photograph_pairs("test", 0))
    assert [pair.caption for pair in pairs[:3]] == ["wide", "tall", "wide"]
    assert len(pairs) == heldout.CROPS
    assert pairs[0].target.shape == (3, 128, 128)
    with Image.open(tmp_path / "wide.png") as wide:
        middle = images.to_panel(wide.convert("RGB").crop((128, 0, 384, 256)), (128, 128))
    assert torch.equal(pairs[0].target, middle)
    assert len({pair.target.numpy().tobytes() for pair in pairs}) == heldout.CROPS, "no crop comes twice"
    again = list(heldout.photograph_pairs("test", 0))
    assert all(torch.equal(one.target, two.target) for one, two in zip(pairs, again, strict=True))


@pytest.mark.parametrize("size", [(256, 256), (300, 700), (1000, 400)])
def test_a_square_lies_in_its_photograph_and_is_not_enlarged(size: tuple[int, int]) -> None:
    shot = Image.new("RGB", size, "white")
    for seed in range(40):
        part = heldout.square(shot, np.random.default_rng(seed))
        assert part.width == part.height >= max(128, min(size) // 2)
        assert part.getextrema() == ((255, 255),) * 3, "nothing beyond the edge"
