"""Renders -> pairs: age, gender, relight, both edits at once, reference inpainting; and photographs with exact depth.

    for pair in age_pairs("train"): ...                        # render_pairs needs no renderer, only its folder

Every function yields one pair of each identity or room before a second one of any, in an order that depends on the
seed alone, so that the first N pairs are as varied as N pairs can be. The split is by identity and room
(`recipes/world/render.py`).
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations, zip_longest
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from PIL import Image

from anyrefill.pairs import Pair, Photo, mirrored
from anyrefill.types import Mask, Panel
from recipes.world.canvases import strokes
from recipes.world.fetch import RENDERS
from recipes.world.people import draw_person, hair_words
from recipes.world.render import STATES

Item = TypeVar("Item")
_MISSING = object()


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One rendered portrait.

    Attributes:
        path: the picture.
        mask: the picture of its subject's mask.
        depth: the picture of its nearness, 16 bits.
        age: name of the age, e.g. "old".
        gender: "woman" or "man".
        words: the person in words, e.g. "an old woman".
        light: the light in words, e.g. "warm light from the left".
        base: whether this is the light that all states of the person share.
        seed: of the person.
    """

    path: Path
    mask: Path
    depth: Path
    age: str
    gender: str
    words: str
    light: str
    base: bool
    seed: int


def rendered(split: str, root: Path = RENDERS) -> bool:
    """Return whether there are people and rooms of a split."""
    return all((root / kind / split / "manifest.jsonl").is_file() for kind in ("people", "rooms"))


def manifest(kind: str, split: str, root: Path) -> list[dict[str, Any]]:
    """Return the lines of a manifest, each with its folder.

    Raises:
        FileNotFoundError: nothing of that kind and split is rendered.
    """
    path = root / kind / split / "manifest.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: render first, see recipes/world/render.py")
    return [json.loads(line) for line in path.read_text().splitlines()]


def people(split: str, root: Path = RENDERS) -> list[list[Shot]]:
    """Return each person's portraits."""
    return [_shots(root / "people" / split / facts["folder"], facts) for facts in manifest("people", split, root)]


def _shots(folder: Path, facts: dict[str, Any]) -> list[Shot]:
    """Return one person's portraits."""
    return [
        Shot(
            path=folder / shot["file"], mask=folder / shot["mask"], depth=folder / shot["depth"],
            age=shot["state"].split("-")[0], gender=shot["state"].split("-")[1], words=shot["words"],
            light=shot["light"], base=shot["file"].endswith(".0.png"), seed=facts["seed"],
        )
        for shot in facts["pictures"]
    ]  # fmt: skip


def panel(path: Path) -> Panel:
    """Read a picture as (3, H, W) in [-1, 1]."""
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 127.5 - 1


def mask(path: Path) -> Mask:
    """Read a mask as (1, H, W) of 0 and 1."""
    with Image.open(path) as image:
        return torch.from_numpy((np.array(image) > 127).astype(np.float32))[None]


def depth(path: Path) -> torch.Tensor:
    """Read 16-bit nearness as `Photo.depth`: (1, H, W) in [-1, 1], +1 at the nearest pixel."""
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image).astype(np.float32))[None] / 32_767.5 - 1


def photos(split: str, root: Path = RENDERS) -> Iterator[Photo]:
    """Yield rooms and portraits in turn, with exact depth; portraits with their foreground, too."""
    for portrait, room in zip_longest(_portraits(split, root), _rooms(split, root)):
        yield from (photo for photo in (room, portrait) if photo is not None)


def _portraits(split: str, root: Path) -> Iterator[Photo]:
    """Yield the portraits, one of each person before a second one."""
    for shot in in_turn(people(split, root)):
        caption = f"{shot.words}, {shot.light}"
        yield Photo(pixels=panel(shot.path), foreground=mask(shot.mask), depth=depth(shot.depth), caption=caption)


def _rooms(split: str, root: Path) -> Iterator[Photo]:
    """Yield both views of each room."""
    for facts in manifest("rooms", split, root):
        folder = root / "rooms" / split / facts["folder"]
        for view in "01":
            yield Photo(
                pixels=panel(folder / f"{view}.png"), depth=depth(folder / f"{view}.depth.png"), caption=facts["words"]
            )


def in_turn(groups: Iterable[Iterable[Item]]) -> Iterator[Item]:
    """Yield the first of each group, then the second of each, and so on."""
    for row in zip_longest(*groups, fillvalue=_MISSING):
        yield from (cast("Item", item) for item in row if item is not _MISSING)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Two portraits of one person, and the words for the second."""

    before: Shot
    after: Shot
    words: str

    @property
    def told(self) -> dict[str, Any]:
        """What `Pair.extra` says of it."""
        return {
            "person": self.before.seed,
            "from": f"{self.before.words}, {self.before.light}",
            "to": f"{self.after.words}, {self.after.light}",
        }

    def pair(self) -> Pair:
        """Return both portraits; the mask is where the person is in either."""
        return Pair(
            reference=panel(self.before.path), target=panel(self.after.path),
            mask=torch.maximum(mask(self.before.mask), mask(self.after.mask)), caption=self.words, extra=self.told,
        )  # fmt: skip


def edits(
    split: str, allowed: Callable[[Shot, Shot], bool], words: Callable[[Shot], str], seed: int, root: Path
) -> Iterator[Edit]:
    """Yield two portraits of one person that are allowed, one such edit of each person before a second one of any."""
    groups = []
    for shots in people(split, root):
        found = [pair for pair in permutations(shots, 2) if allowed(*pair)]
        order = np.random.default_rng([seed, shots[0].seed]).permutation(len(found))
        groups.append([found[index] for index in order])
    return (Edit(before=before, after=after, words=words(after)) for before, after in in_turn(groups))


def _paired(edits: Callable[[], Iterator[Edit]], split: str) -> Iterator[Pair]:
    """Yield the pairs of edits; those to train on a second time, mirrored, when all were yielded once."""
    yield from (edit.pair() for edit in edits())
    if split == "train":
        yield from (mirrored(edit.pair()) for edit in edits())


def age_edits(split: str, seed: int = 0, root: Path = RENDERS) -> Iterator[Edit]:
    """Yield one person at two ages; the words name the age to paint: "an old woman"."""

    def allowed(before: Shot, after: Shot) -> bool:
        return _lit(before, after) and before.gender == after.gender and before.age != after.age

    return edits(split, allowed, _person, seed, root)


def age_pairs(split: str, seed: int = 0, root: Path = RENDERS) -> Iterator[Pair]:
    """Yield `age_edits` as pairs, those to train on mirrored, too."""
    return _paired(lambda: age_edits(split, seed, root), split)


def gender_edits(split: str, seed: int = 0, root: Path = RENDERS, *, described: float | None = None) -> Iterator[Edit]:
    """Yield one person as woman and man of one age; the words name what to paint: "an old man".

    Args:
        split: of the people.
        seed: of the order, and of whose hair is described.
        root: where they are rendered.
        described: share of captions that tell of the hair, too, which nobody can see in the reference: "an old man with
            cropped hair and a beard"; by default half of those to train on and none of those to test.
    """
    share, random = described, np.random.default_rng([29, seed])
    if share is None:
        share = 0.5 if split == "train" else 0.0

    def words(shot: Shot) -> str:
        return f"{_person(shot)} {_hair(shot)}" if random.random() < share else _person(shot)

    def allowed(before: Shot, after: Shot) -> bool:
        return _lit(before, after) and before.gender != after.gender and before.age == after.age

    return edits(split, allowed, words, seed, root)


def gender_pairs(split: str, seed: int = 0, root: Path = RENDERS, *, described: float | None = None) -> Iterator[Pair]:
    """Yield `gender_edits` as pairs, those to train on mirrored, too."""
    return _paired(lambda: gender_edits(split, seed, root, described=described), split)


def both_pairs(split: str, seed: int = 0, root: Path = RENDERS) -> Iterator[Pair]:
    """Yield one person at another age and of the other gender: the test of two adapters at once."""
    found = edits(split, lambda a, b: _lit(a, b) and a.gender != b.gender and a.age != b.age, _person, seed, root)
    return (edit.pair() for edit in found)


def age_and_light_pairs(split: str, seed: int = 0, root: Path = RENDERS) -> Iterator[Pair]:
    """Yield one person at another age in another light, both told by the caption; the backdrop is lit, too."""
    return _lit_anew(split, lambda a, b: a.gender == b.gender and a.age != b.age, seed, root)


def gender_and_light_pairs(split: str, seed: int = 0, root: Path = RENDERS) -> Iterator[Pair]:
    """Yield one person of the other gender in another light, both told by the caption; the backdrop is lit, too."""
    return _lit_anew(split, lambda a, b: a.gender != b.gender and a.age == b.age, seed, root)


def _lit_anew(split: str, allowed: Callable[[Shot, Shot], bool], seed: int, root: Path) -> Iterator[Pair]:
    """Yield pairs in different lights that are allowed, with the light in the caption and without a mask."""
    every = edits(split, lambda a, b: a.light != b.light and allowed(a, b), _person_and_light, seed, root)
    return (replace(edit.pair(), mask=None) for edit in every)


def relight_pairs(split: str, seed: int = 0, root: Path = RENDERS) -> Iterator[Pair]:
    """Yield one state of a person in two lights, to train on mirrored, too; the caption names the light to paint.

    The backdrop is lit, too, so there is no mask.
    """

    def found() -> Iterator[Edit]:
        return edits(split, lambda a, b: a.words == b.words and a.light != b.light, lambda shot: shot.light, seed, root)

    return (replace(pair, mask=None) for pair in _paired(found, split))


def inpainting_pairs(split: str, seed: int = 0, root: Path = RENDERS) -> Iterator[Pair]:
    """Yield a room from two places, either view the target, with a random hole of boxes or strokes."""
    for order in ("01", "10"):
        for facts in manifest("rooms", split, root):
            folder = root / "rooms" / split / facts["folder"]
            reference, target = (panel(folder / f"{view}.png") for view in order)
            random = np.random.default_rng([seed, facts["seed"], int(order)])
            hole = strokes(target.shape[1], target.shape[2], random)
            yield Pair(
                reference=reference, target=target, mask=torch.from_numpy(hole.astype(np.float32))[None],
                caption=facts["words"], extra={"room": facts["seed"]},
            )  # fmt: skip


def _lit(one: Shot, other: Shot) -> bool:
    """Return whether both are in the light that all states share."""
    return one.base and other.base


def _person(shot: Shot) -> str:
    """Return what the caption of an edit says."""
    return shot.words


def _person_and_light(shot: Shot) -> str:
    """Return what the caption of an edit says that changes the light, too: words for either task."""
    return f"{shot.words}; {shot.light}"


def _hair(shot: Shot) -> str:
    """Return what a caption says of the hair."""
    return hair_words(draw_person(shot.seed), STATES[f"{shot.age}-{shot.gender}"])
