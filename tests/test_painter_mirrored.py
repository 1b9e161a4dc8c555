"""The mean of a painting and of its mirror image's."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

import anyrefill
from anyrefill import Painter, Pair, images
from anyrefill.evaluate import evaluate
from anyrefill.pairs import mirrored
from panels import random_panel
from tiny_checkpoint import save_tiny_adapter

CLOSE = {"atol": 1e-5, "rtol": 0}


def some_pairs(count: int = 3) -> list[Pair]:
    return [
        Pair(reference=random_panel(64, 64, seed), target=random_panel(64, 64, seed + 9), caption="light from the left")
        for seed in range(count)
    ]


@pytest.fixture
def painter(as_micro: Path, tmp_path: Path) -> Painter:
    own = save_tiny_adapter(as_micro, tmp_path / "own.safetensors", "deblur", seed=7)
    return replace(anyrefill.load("deblur", adapter=own), temperature=0.0, mirrored=True)


def by_hand(painter: Painter, pairs: list[Pair]) -> list[torch.Tensor]:
    plain = replace(painter, mirrored=False)
    images = [mirrored(pair) for pair in pairs]
    assert images[0].caption == "light from the right"
    both = zip(plain.batch(pairs), plain.batch(images), strict=True)
    return [(one + other.flip(-1)) / 2 for one, other in both]


def test_many_are_averaged_with_their_mirror_images(painter: Painter) -> None:
    pairs = some_pairs()
    stages = list(painter.painting(pairs, batch_size=2))
    assert (len(stages), stages[-1].total) == (6, 6), "two batches of three steps, mirror images along"
    painted = [panel for stage in stages for panel in stage.panels]
    for found, expected in zip(painted, by_hand(painter, pairs), strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)
    assert not torch.allclose(painted[0], painter.batch(pairs, mirrored=False)[0], **CLOSE)


def test_one_picture_is_averaged_too(painter: Painter) -> None:
    pair = some_pairs(1)[0]
    painted = painter(images.to_pil(pair.reference), caption=pair.caption)
    expected = images.to_pil(by_hand(painter, [pair])[0])
    np.testing.assert_allclose(np.asarray(painted, float), np.asarray(expected, float), atol=1)


@pytest.mark.parametrize("side", [32, 64])
def test_one_tile_that_covers_all_is_averaged_too(painter: Painter, side: int) -> None:
    photo = images.to_pil(random_panel(80, 96))
    for picture, box in ((photo, (8, 8, 8 + side, 8 + side)), (photo.crop((0, 0, side, side)), None)):
        tiled, whole = (painter(picture, box=box, way=way) for way in ("tiles", "stretch"))
        assert tiled.tobytes() == whole.tobytes()
        assert tiled.tobytes() != painter(picture, box=box, way="tiles", mirrored=False).tobytes()


def test_guesses_and_tiles_are_not(painter: Painter) -> None:
    pairs = some_pairs(1)
    plain = replace(painter, mirrored=False)
    assert torch.equal(painter.batch(pairs, temperature=1.0)[0], plain.batch(pairs, temperature=1.0)[0])
    large = images.to_pil(random_panel(64, 96))
    assert painter(large, way="tiles").tobytes() == plain(large, way="tiles").tobytes()


@pytest.mark.parametrize(
    ("asked", "way", "sentence"),
    [
        ({"temperature": 1.0}, "stretch", "Mirror images are averaged only where the painting begins without noise"),
        ({}, "tiles", "Mirror images are not averaged in tiles."),
    ],
)
def test_where_they_are_not_a_sentence_says_so(
    painter: Painter, asked: dict[str, float], way: Literal["stretch", "tiles"], sentence: str
) -> None:
    request = painter.prepare(images.to_pil(random_panel(64, 96)), way=way)
    *_, last = painter.fulfilling(request, **asked)  # type: ignore[arg-type]
    assert [note for note in last.notes if note.startswith(sentence)]
    *_, plain = painter.fulfilling(request, mirrored=False, **asked)  # type: ignore[arg-type]
    assert not [note for note in plain.notes if "irror" in note]


def test_what_is_kept_stays_bit_for_bit(painter: Painter) -> None:
    inpainting = replace(painter, task=anyrefill.tasks.get("ref-inpainting"))
    mask = torch.zeros(1, 64, 64)
    mask[:, 16:40, 8:32] = 1
    pair = replace(some_pairs(1)[0], mask=mask)
    painted, plain = (who.batch([pair])[0] for who in (inpainting, replace(inpainting, mirrored=False)))
    kept = ~mask.bool().expand(3, -1, -1)
    assert torch.equal(painted[kept], pair.target[kept])
    assert not torch.equal(painted, plain)


def test_an_adapter_asks_for_it_and_a_report_says_so(as_micro: Path, tmp_path: Path) -> None:
    asking, other = (
        save_tiny_adapter(as_micro, tmp_path / f"{name}.safetensors", "deblur", **said)
        for name, said in (("asking", {"mirrored_paint": True, "temperature_paint": 0.0}), ("other", {}))
    )
    painter = anyrefill.load("deblur", adapter=asking)
    assert painter.averages
    report = evaluate(painter, some_pairs(2))
    assert "mirror image averaged in" in report.to_markdown()
    assert report.score("painted", "psnr").values != report.score("without the mirror image", "psnr").values
    plain = anyrefill.load("deblur", adapter=other)
    assert not plain.averages
    assert "mirror" not in evaluate(plain, some_pairs(2)).to_markdown()
    turns = anyrefill.load("deblur+colorization", adapter=f"{asking}+colorization").turns
    assert [turn.averages for turn in turns] == [True, False]
