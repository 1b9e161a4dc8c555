"""Stages have the distances that geometry says; scenes of subjects mark all that stands out."""

import numpy as np
import pytest
import torch
from PIL import Image
from recipes.world import stages
from recipes.world.scenes import SIDE, Composer, tinted
from recipes.world.sources import HELD_OUT_PHOTOS, STAGES

EYE, TARGET = np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0, 3.0])
FLOOR, WALL = (np.full((16, 16, 3), value, np.uint8) for value in (50, 120))


def a_stage(*figures: stages.Figure) -> stages.Stage:
    eyes = (EYE, EYE + np.array([0.6, 0, 0]))
    return stages.Stage(
        floor=FLOOR, wall=WALL, back=4.0, figures=figures, eyes=eyes, target=TARGET, caption="a box before a wall"
    )


def a_box(x: float, z: float, height: float) -> stages.Figure:
    return stages.Figure(pixels=np.ones((20, 10, 4), np.float32), x=x, z=z, height=height)


def a_composer(*, subjects: bool) -> Composer:
    """Return a composer of a black photograph, a white disc and no file."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    disc = np.where((x**2 + y**2 < 1)[..., None], np.uint8(255), np.uint8(0)).repeat(4, 2)
    composer = object.__new__(Composer)
    composer.subjects, composer.tints = subjects, 0.0
    composer.photos = [(Image.new("RGB", (320, 240)), "the night")]
    composer.cutouts, composer.emojis = [(Image.fromarray(disc), "a moon")], []
    composer.others, composer.places = [], ()
    return composer


def test_wall_and_floor_are_where_geometry_says() -> None:
    _, distance = stages.look(a_stage(), EYE)
    ways = stages.rays(EYE, TARGET, 256)[::2, ::2]
    np.testing.assert_allclose(distance[:60], 4 / ways[:60, :, 2], rtol=1e-5)
    np.testing.assert_allclose(distance[-20:], -1 / ways[-20:, :, 1], rtol=1e-5)
    assert ways[0, 64, 1] > 0 > ways[-1, 64, 1], "the top row looks up"
    assert ways[64, 0, 0] < 0 < ways[64, -1, 0], "the left column looks to the left"


def test_figures_hide_what_is_behind_them() -> None:
    pixels, distance = stages.look(a_stage(a_box(0, 3, 1.6), a_box(0.6, 2, 0.4)), EYE)
    empty, bare = stages.look(a_stage(), EYE)
    nearer = distance < bare - 1e-3
    depth = distance * stages.rays(EYE, TARGET, 256)[::2, ::2, 2]
    assert {round(float(z), 3) for z in depth[nearer]} == {2.0, 3.0}
    assert nearer.mean() < 0.5
    assert (pixels[nearer] > 200).mean() > 0.95
    assert np.array_equal(pixels[:30, :30], empty[:30, :30])
    assert not (stages.look(a_stage(a_box(0, 4.5, 1.6)), EYE)[1] < bare).any(), "behind the wall"


def test_a_figures_foot_is_on_the_floor_and_in_shade() -> None:
    pixels, _ = stages.look(a_stage(a_box(0, 3, 0.5)), EYE)
    column = pixels[:, 64, 0]
    foot = int(np.flatnonzero(column > 240)[-1])
    down = stages.rays(EYE, TARGET, 256)[2 * foot + 1, 128]
    assert 3 * -down[1] / down[2] == pytest.approx(1, abs=0.05)
    assert column[foot + 2] < 40 < column[-1], "darker than the floor of 50 farther on"


def test_both_views_see_one_stage() -> None:
    stage = a_stage(a_box(0.2, 2.5, 1.2))
    one, other = stage.eyes
    side = 128
    points = one + stages.rays(one, TARGET, 2 * side)[::2, ::2] * stages.look(stage, one)[1][..., None]
    seen = stages.look(stage, other)[1]
    ways = stages.rays(other, TARGET, 2 * side)[::2, ::2].reshape(-1, 3)
    towards = (points - other).reshape(-1, 3)
    far = np.linalg.norm(towards, axis=1)
    chosen = np.random.default_rng(0).permutation(len(far))[:400]
    closeness = (towards[chosen] / far[chosen, None]) @ ways.T
    inside = closeness.max(1) > np.cos(np.radians(0.4))
    error = np.abs(seen.ravel()[closeness.argmax(1)] - far[chosen])[inside]
    assert inside.mean() > 0.5
    assert (error < 0.03 * far[chosen][inside]).mean() > 0.85, "but for what one eye sees past the figure's edge"


def test_a_generator_draws_the_stage() -> None:
    composer = a_composer(subjects=True)
    one, again, other = (stages.draw_stage(composer, np.random.default_rng(seed)) for seed in (3, 3, 4))
    for eye in (0, 1):
        assert all(
            np.array_equal(*both) for both in zip(*(stages.look(s, s.eyes[eye]) for s in (one, again)), strict=True)
        )
    assert one.back != other.back
    assert [figure.z for figure in one.figures] == sorted((figure.z for figure in one.figures), reverse=True)
    assert one.caption.startswith("a moon")
    assert one.caption.endswith((" before the night", " before a wall", " before a floor"))


def test_photographs_of_stages_reach_from_black_to_white(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_composer", lambda split: a_composer(subjects=True))
    photo = next(stages.photos("train"))
    assert photo.depth is not None
    assert (photo.depth.min(), photo.depth.max()) == (-1, 1)
    assert photo.pixels.shape == (3, 128, 128)
    pair = next(stages.inpainting_pairs("train"))
    assert pair.mask is not None
    assert set(pair.mask.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(pair.reference, pair.target)


@pytest.mark.parametrize("seed", range(6))
def test_scenes_of_subjects_mark_all_that_stands_out(seed: int) -> None:
    composer = a_composer(subjects=True)
    composer.background = lambda random: (Image.new("RGB", (SIDE, SIDE)), "the night")  # type: ignore[method-assign]
    scene = composer.scene(np.random.default_rng(seed))
    assert scene.mask.any()
    bright, marked = scene.pixels[..., 0] > 128, scene.mask > 128
    assert (bright != marked).mean() < 0.01


def test_scenes_of_subjects_have_one_or_two_objects() -> None:
    captions = [a_composer(subjects=True).scene(np.random.default_rng(seed)).caption for seed in range(60)]
    assert {caption.count("a moon") for caption in captions} == {1, 2}
    assert {caption.split(" in front of ")[1] for caption in captions} == {"the night", "a wall", "a floor"}
    captions = [a_composer(subjects=False).scene(np.random.default_rng(seed)).caption for seed in range(60)]
    assert {caption.count("a moon") for caption in captions} == {0, 1, 2, 3}


def test_a_tinted_object_keeps_its_outline_and_changes_its_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    one, again, other = (np.asarray(tinted(Image.fromarray(pixels), np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.array_equal(one[..., 3], pixels[..., 3])
    assert np.abs(one[..., :3].astype(int) - pixels[..., :3]).mean() > 2


def test_objects_are_tinted_where_a_composer_is_told_so() -> None:
    plain, tinting = a_composer(subjects=True), a_composer(subjects=True)
    tinting.tints = 1.0
    for composer in (plain, tinting):
        composer.background = lambda random: (Image.new("RGB", (SIDE, SIDE)), "the night")  # type: ignore[method-assign]
    scenes = [
        [composer.scene(np.random.default_rng(seed)).pixels for seed in range(20)] for composer in (plain, tinting)
    ]
    grey, coloured = (max(int(np.ptp(pixels, axis=2).max()) for pixels in some) for some in scenes)
    assert grey == 0
    assert coloured > 20


def test_each_split_has_backgrounds_without_a_subject() -> None:
    assert {"colosseum", "machuPicchu", "Path", "EveningGlow"} <= STAGES & HELD_OUT_PHOTOS
    assert len(STAGES - HELD_OUT_PHOTOS) > 40
    assert not STAGES & {"penguin", "cat", "astronaut", "motorcycle_left"}
