"""The cache on disk: found by content, whole or not at all, shared."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anyrefill import tasks
from anyrefill.backbone.fill import FluxFill
from anyrefill.errors import UserError
from anyrefill.pairs import Pair, PairFolder, write_pairs
from anyrefill.train.buckets import Bucket
from anyrefill.train.encode import Encoder, encode
from anyrefill.train.parallel import World
from anyrefill.train.store import Store, file_digest, key_of, part_digest
from panels import random_panel


def one(value: float = 1.0) -> Mapping[str, Tensor]:
    return {"clean": torch.full((2, 3), value)}


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    store, made = Store(tmp_path), list[float]()

    def make(value: float) -> Mapping[str, Tensor]:
        made.append(value)
        return one(value)

    assert list(store.fill({"aa": lambda: make(1), "bb": lambda: make(2)})) == ["aa", "bb"]
    assert list(store.fill({"aa": lambda: make(3), "cc": lambda: make(4)})) == ["aa", "cc"]
    assert made == [1, 2, 4]
    assert torch.equal(store["aa"]["clean"], torch.ones(2, 3))


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x10\x00\x00\x00\x00\x00\x00\x00nonsense-nonsense"])
def test_a_damaged_file_is_made_again(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    list(store.fill({"aa": one}))
    path = next(tmp_path.rglob("*.safetensors"))
    whole = path.read_bytes()
    for damaged in (content, whole[:-4], whole[:20]):
        path.write_bytes(damaged)
        assert "aa" not in store
        list(store.fill({"aa": one}))
        assert path.read_bytes() == whole


def test_a_file_that_went_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*aa\.safetensors: the cache was changed"):
        Store(tmp_path)["aa"]


def test_a_key_depends_on_every_fact() -> None:
    keys = {key_of(a=1, b="x"), key_of(a=2, b="x"), key_of(a=1, b="y"), key_of(a=1, c="x")}
    assert len(keys) == 4
    assert key_of(b="x", a=1) in keys


def test_a_part_is_known_by_its_weights(tmp_path: Path) -> None:
    weights = bytearray(3_000_000)
    (tmp_path / "model.safetensors").write_bytes(weights)
    before = part_digest(tmp_path)
    assert before == part_digest(tmp_path)
    for place in (0, 10, len(weights) - 1):
        changed = weights.copy()
        changed[place] = 1
        (tmp_path / "model.safetensors").write_bytes(changed)
        assert part_digest(tmp_path) != before
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert part_digest(tmp_path) == before


def test_canvases_are_named_by_pixels_mask_and_weights(tiny: Path, tmp_path: Path) -> None:
    backbone, task = FluxFill.load(tiny), tasks.get("deblur")
    pairs = [Pair(reference=random_panel(64, 64, seed), target=random_panel(64, 64, 9)) for seed in (1, 2)]
    write_pairs(pairs, tmp_path / "pairs")
    folder, store = PairFolder(tmp_path / "pairs", (64, 64)), Store(tmp_path / "cache")
    run = encode([Bucket(pairs=folder, lines=(0, 1))], Encoder(task, backbone), store, World())
    counts = list[tuple[int, int]]()
    while True:
        try:
            record = next(run)
        except StopIteration as end:
            (cache,) = end.value
            break
        counts.append((record.done, record.total))
    assert counts == [(1, 4), (2, 4), (3, 4), (4, 4)], "two canvases, the prompt without a caption, no prompt at all"
    assert len(set(cache.pictures)) == 2
    other_rule = replace(task, mask=lambda pair: torch.ones_like(pair.target[:1]).triu())
    files = [file_digest(path) for path in (folder.rows[0].reference, folder.rows[0].target, None)]

    def picture_key(encoder: Encoder) -> str:
        return encoder.picture_key(folder, files, encoder.mask_name(folder, 0))

    assert picture_key(Encoder(task, backbone)) == cache.pictures[0]
    assert picture_key(Encoder(other_rule, backbone)) != cache.pictures[0]
    batch = cache.batch([0, 1], [False, True], torch.ones(2), torch.Generator())
    assert batch.fill.shape == (2, 32, 320)
    assert set(batch.fill[..., -256:].unique().tolist()) == {0.0, 1.0}
