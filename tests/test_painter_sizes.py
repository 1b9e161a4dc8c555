"""Paintings of any size, with several references, repaired: kept pixels stay what they were, bit for bit."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.witness import Painted, published
from PIL import Image

import anyrefill
from anyrefill import Canvas, Painter, UserError, cli, images, tasks
from anyrefill.backbone import Condition
from anyrefill.backbone.tiny import TinyFill
from anyrefill.painter import Frame, Way
from anyrefill.painter import painter as painter_module
from anyrefill.painter import witness as witness_module
from anyrefill.painter.witness import Witness, reference_errors
from anyrefill.sample import sampling
from anyrefill.tasks import colorization
from anyrefill.types import Latents, Sheets, Sigma, Tokens
from panels import random_panel

WAYS: tuple[Way, ...] = ("stretch", "bucket", "tiles")


class Tinted(TinyFill):
    """Gives every picture back darker, as an autoencoder may."""

    def decode(self, latents: Latents) -> Sheets:
        return super().decode(latents) * 0.9 - 0.1


def painter(task: str = "deblur") -> Painter:
    return Painter(backbone=TinyFill(), task=tasks.get(task), size=(32, 32), steps=2)


def a_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return images.to_pil(random_panel(height, width, seed))


def a_hole(width: int, height: int) -> Image.Image:
    hole = Image.new("1", (width, height))
    hole.paste(1, (width // 4, height // 4, width // 2, height // 2))
    return hole


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [(70, 50), (90, 33), (20, 24), (64, 32)])
def test_a_painting_is_as_large_as_the_picture(size: tuple[int, int], way: Way) -> None:
    assert painter()(a_picture(*size), way=way).size == size


def test_tiles_lose_nothing_but_the_panel_does() -> None:
    reference = a_picture(70, 50)
    assert painter()(reference, way="tiles").tobytes() == reference.tobytes(), "the mock copies exactly"
    assert painter()(reference, size="panel").size == (32, 32)
    assert painter()(reference).tobytes() != reference.tobytes()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("repair", [False, True])
def test_kept_pixels_are_the_targets_own_at_full_size(way: Way, repair: bool) -> None:
    reference, target, hole = a_picture(90, 70, 1), a_picture(90, 70, 2), a_hole(90, 70)
    one = replace(painter("ref-inpainting"), backbone=Tinted())
    painted = one(reference, target, mask=hole, way=way, repair_colour=repair)
    changed = (np.asarray(painted) != np.asarray(target)).any(-1)
    inside = np.asarray(hole)
    assert not changed[~inside].any()
    assert changed[inside].mean() > 0.9


def test_a_reference_of_another_size_is_brought_to_the_targets() -> None:
    painted = painter("ref-inpainting")(a_picture(33, 99), a_picture(60, 40), mask=a_hole(60, 40), way="tiles")
    assert painted.size == (60, 40)


def test_an_unused_target_does_not_decide_the_size() -> None:
    request = painter().prepare(a_picture(60, 40), a_picture(32, 32))
    assert request.frame.native == (40, 60)
    assert request.notes[-1] == "The task deblur paints the whole panel: the target was not used."


def test_sizes_are_chosen() -> None:
    assert Frame.of((256, 384), (128, 128)).painted == (128, 128)
    assert Frame.of((256, 384), (128, 128), way="bucket").painted == (112, 160)
    assert Frame.of((250, 390), (128, 128), way="tiles").painted == (256, 400)
    assert Frame.of((60, 300), (128, 128), way="tiles").fitted == (128, 640), "a tile has to fit in"
    assert Frame.of((128, 128), (128, 128), way="tiles").tile is None, "nothing to cut"
    assert Frame.of((60, 60), (128, 128), way="tiles").tile is None, "one tile would be all"
    with pytest.raises(UserError, match="for tiles the size must be kept"):
        Frame.of((256, 384), (128, 128), "panel", "tiles")


def test_panels_that_are_new_to_the_base_are_told() -> None:
    sentence = "The base never saw panels that are not square, such as 48 x 16 px."
    square = replace(painter(), squares_only=True)
    photo = a_picture(200, 100)
    assert square.prepare(photo, way="bucket").notes[0] == sentence
    assert sentence not in square.prepare(photo, way="stretch").notes
    assert sentence not in square.prepare(photo, way="tiles").notes
    assert sentence not in painter().prepare(photo, way="bucket").notes


def test_a_colour_shift_is_repaired_and_told() -> None:
    ramp = torch.linspace(-0.8, 0.8, 32)
    scene = images.to_pil(torch.stack([ramp.expand(32, 32), ramp[:, None].expand(32, 32), -ramp.expand(32, 32)]))
    one = replace(painter("ref-inpainting"), backbone=Tinted())
    request = one.prepare(scene, scene, mask=a_hole(32, 32))
    shifts: list[float] = []
    for repair in (False, True):
        *_, last = one.fulfilling(request, repair_colour=repair)
        shifts.append(float((last.panels[0] - images.to_panel(scene))[:, 8:16, 8:16].abs().mean()))
    assert shifts[0] > 0.05
    assert shifts[1] < 1e-3
    assert last.notes[0].startswith("The colours were repaired")
    *_, last = painter("ref-inpainting").fulfilling(request, repair_colour=True)
    assert last.notes == (
        "The colours were not repaired: no repair lowers the error of known pixels that it was not fitted to.",
    )
    *_, last = painter().fulfilling(painter().prepare(scene), repair_colour=True)
    assert last.notes == ("The colours were not repaired: no pixel around the painted ones is kept.",)


def test_further_references_are_seen(tiny: Path) -> None:
    paint = anyrefill.load("colorization", backbone=tiny, adapter=tiny / "adapters" / "colorization.safetensors")
    one, other = a_picture(64, 64, 1), a_picture(64, 64, 2)
    outs = [paint(one, more=more, steps=1).tobytes() for more in ([], [other], [other.rotate(90)], [other, other])]
    assert len(set(outs)) == 4
    assert paint(one, more=[other], steps=1, way="tiles", size="keep").size == (64, 64)
    notes = paint.prepare(one, more=[other]).notes
    assert "What paints was trained with 1 reference, not with 2: expect worse pictures." in notes


def test_a_photograph_comes_out_as_large_as_it_was(
    as_micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    a_picture(96, 72).save("photo.png")
    for number, options in enumerate((["--way", "tiles"], ["--more", "photo.png"], ["--size", "panel"])):
        cli.main(["paint", "colorization", "photo.png", *options, "--steps", "1", "--out", f"{number}.png"])
    assert [images.load(f"{number}.png").size for number in range(3)] == [(96, 72), (96, 72), (64, 64)]
    cli.main(["paint", "colorization", "photo.png", "--repair-colour", "--steps", "1", "--out", "repaired.png"])
    assert "note: The colours were " in capsys.readouterr().err


def witness(low: float) -> Witness:
    return Witness(correlation=low + 0.2, low=low, high=low + 0.4, canvases=8, seeds=8)


@pytest.mark.parametrize(("seed", "count"), [(4, 3), (4, 10), (0, 17)])
def test_the_best_of_several_is_the_one_that_knows_its_reference(tiny: Path, seed: int, count: int) -> None:
    adapter = tiny / "adapters" / "colorization.safetensors"
    paint = replace(anyrefill.load("colorization", backbone=tiny, adapter=adapter), witness=witness(0.1))
    reference = a_picture(64, 64)
    request = paint.prepare(reference)
    *before, last = paint.fulfilling(request, steps=1, seed=seed, best_of=count)
    assert not any(stage.panels or stage.notes for stage in before), "the best is known at last"
    (note,) = last.notes
    chosen = int(re.findall(r"seed (\d+)", note)[0])
    canvas = Canvas.stitch(request.pair.reference, request.pair.target, torch.ones(1, 64, 64))
    errors: list[float] = []
    for one in range(seed, seed + count):
        *_, step = sampling(paint.backbone, [canvas], [""], seeds=[one], steps=1, guidance=paint.guidance)
        errors += reference_errors(paint.backbone, canvas, step.latents)
    assert chosen == seed + errors.index(min(errors))
    alone = paint(reference, steps=1, seed=chosen)
    torch.testing.assert_close(last.panels[0], images.to_panel(alone), atol=2 / 127.5, rtol=0)


def test_a_choice_by_chance_is_refused() -> None:
    one, reference = painter(), a_picture(32, 32)
    with pytest.raises(UserError, match="Nobody measured whether the repainted reference"):
        one(reference, best_of=2)
    with pytest.raises(UserError, match=r"correlation 0.10 \[-0.10, 0.30\], 8 canvases, 8 seeds\), so the best of"):
        replace(one, witness=witness(-0.1))(reference, best_of=2)
    with pytest.raises(UserError, match="With clean_ref attention the reference is not repainted"):
        replace(one, witness=witness(0.1), attention="clean_ref")(reference, best_of=2)
    with pytest.raises(UserError, match="Several are painted of whole pictures only, not of tiles"):
        replace(one, witness=witness(0.1))(a_picture(64, 64), best_of=2, way="tiles")
    with pytest.raises(UserError, match="At least 1 picture is painted, not 0"):
        one(reference, best_of=0)


def test_the_best_by_lpips_is_the_one_whose_reference_looks_most_alike(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """LPIPS stands in by a distance of pixels here; where its weights are missing nothing is painted at all."""
    adapter = tiny / "adapters" / "colorization.safetensors"
    by_lpips = replace(witness(0.1), score="lpips")
    paint = replace(anyrefill.load("colorization", backbone=tiny, adapter=adapter), witness=by_lpips)
    request = paint.prepare(a_picture(64, 64))
    monkeypatch.setenv("ANYREFILL_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match="LPIPS needs alexnet"):
        paint.fulfilling(request, steps=1, best_of=3)
    monkeypatch.setattr(painter_module, "find_weights", lambda _net: None)
    monkeypatch.setattr(witness_module, "lpips_alex", lambda one, other: float((one - other).abs().mean()))
    *_, last = paint.fulfilling(request, steps=1, seed=4, best_of=3)
    canvas = Canvas.stitch(request.pair.reference, request.pair.target, torch.ones(1, 64, 64))
    run = sampling(paint.backbone, [canvas], [""], seeds=[4, 5, 6], steps=1, guidance=paint.guidance)
    *_, step = run
    errors = reference_errors(paint.backbone, canvas, step.latents, "lpips")
    assert f"seed {4 + errors.index(min(errors))} " in last.notes[0]
    assert len(set(errors)) == 3


def test_variants_are_what_their_seeds_paint(tiny: Path) -> None:
    paint = anyrefill.load("colorization", backbone=tiny, adapter=tiny / "adapters" / "colorization.safetensors")
    reference = a_picture(48, 80)
    *_, last = paint.fulfilling(paint.prepare(reference), steps=2, seed=7, variants=3, temperature=1.0)
    assert len(last.panels) == 3
    for seed, panel in enumerate(last.panels, start=7):
        alone = images.to_panel(paint(reference, steps=2, seed=seed, temperature=1.0))
        torch.testing.assert_close(panel, alone, atol=2 / 127.5, rtol=0)
    assert not torch.equal(last.panels[0], last.panels[1])
    with pytest.raises(UserError, match="At temperature 0 all paintings are the same"):
        paint.fulfilling(paint.prepare(reference), variants=2, temperature=0.0)
    with pytest.raises(UserError, match="Either the best of several paintings is kept, or all variants"):
        paint.fulfilling(paint.prepare(reference), variants=2, best_of=2)


def test_no_more_than_eight_go_through_the_model_together(tiny: Path) -> None:
    together: list[int] = []

    class Counting(TinyFill):
        def velocity(self, latents: Tokens, sigma: Sigma, condition: Condition, guidance: float) -> Tokens:
            together.append(len(latents))
            return super().velocity(latents, sigma, condition, guidance)

    counting = replace(painter(), backbone=Counting())
    stages = list(counting.fulfilling(counting.prepare(a_picture(32, 32)), variants=19))
    assert together == [8, 8, 8, 8, 3, 3], "two steps each"
    assert [(stage.done, stage.total, len(stage.panels)) for stage in stages] == [
        (1, 6, 0), (2, 6, 8), (3, 6, 0), (4, 6, 8), (5, 6, 0), (6, 6, 3),
    ]  # fmt: skip
    paint = anyrefill.load("colorization", backbone=tiny, adapter=tiny / "adapters" / "colorization.safetensors")
    request = paint.prepare(a_picture(64, 64))
    panels = [panel for stage in paint.fulfilling(request, steps=1, seed=7, variants=10) for panel in stage.panels]
    for seed in (7, 14, 15, 16):
        *_, alone = paint.fulfilling(request, steps=1, seed=seed)
        torch.testing.assert_close(panels[seed - 7], alone.panels[0], atol=1e-5, rtol=0)


def test_a_record_holds_for_the_file_it_was_made_of(tmp_path: Path) -> None:
    adapter = tmp_path / "mine.safetensors"
    adapter.write_text("weights")
    assert Witness.read(adapter) is None
    path = witness(0.1).write(adapter)
    assert Witness.read(adapter) == witness(0.1)
    adapter.write_text("trained on")
    assert Witness.read(adapter) is None
    path.write_text("{}")
    with pytest.raises(UserError, match="mine.witness.json is damaged"):
        Witness.read(adapter)


@pytest.mark.parametrize("score", ["latents", "lpips"])
def test_the_record_is_of_the_score_that_ranks(score: str) -> None:
    """Of 16 canvases of 5 seeds, one score knows the order of LPIPS and the other none."""
    random, rows = np.random.default_rng(0), list[Painted]()
    for canvas in range(16):
        for seed, lpips in enumerate(random.random(5)):
            chance = float(random.random())
            latents, left = (lpips, chance) if score == "latents" else (chance, lpips)
            rows.append(Painted(task="t", canvas=canvas, seed=seed, latents=latents, left=left, lpips=lpips, rmse=0.0))
    record = published(rows)
    assert (record.score, record.correlation, record.ranks) == (score, pytest.approx(1.0), True)


def test_the_finish_is_done_at_full_size_unless_raw_is_asked_for() -> None:
    photo = images.to_pil(colorization.grayscale(random_panel(40, 60, 1)))
    finished, raw = painter("colorization"), replace(painter("colorization"), raw=True)
    assert np.abs(np.asarray(finished(photo), int) - np.asarray(photo, int)).max() <= 1, "every pixel's own brightness"
    assert np.abs(np.asarray(raw(photo), int) - np.asarray(photo, int)).max() > 20, "resized there and back"
