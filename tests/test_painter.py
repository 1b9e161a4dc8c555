"""The public face: a backbone, a task and its adapter, called like a function."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import torch
from PIL import Image

import anyrefill
from anyrefill import Painter, Pair, Task, UserError, images, tasks
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.tiny import TinyFill
from panels import random_panel
from tiny_checkpoint import save_tiny_adapter, save_tiny_checkpoint


def copying(task: str = "deblur", side: int = 32) -> Painter:
    """Return a painter that copies the reference."""
    return Painter(backbone=TinyFill(), task=tasks.get(task), size=(side, side), steps=2)


def a_picture(width: int = 32, height: int = 32, seed: int = 0) -> Image.Image:
    noise = random_panel(height, width, seed)
    return images.to_pil(noise)


def a_hole(side: int = 32) -> Image.Image:
    hole = Image.new("1", (side, side))
    hole.paste(1, (8, 8, 24, 20))
    return hole


def test_a_call_paints_the_right_panel() -> None:
    reference = a_picture()
    assert copying()(reference).tobytes() == reference.tobytes()


def test_what_the_mask_keeps_is_the_targets_own() -> None:
    reference, target = a_picture(seed=1), a_picture(seed=2)
    painted = copying("ref-inpainting")(reference, target, mask=a_hole())
    expected = target.copy()
    expected.paste(reference, mask=a_hole())
    assert painted.tobytes() == expected.tobytes()


def test_pictures_are_fitted_to_the_panel_and_it_is_said_so() -> None:
    request = copying("ref-inpainting").prepare(a_picture(), a_picture(60, 40), mask=a_hole().resize((60, 40)))
    assert request.pair.target.shape == (3, 32, 32)
    assert request.notes == (
        "picture was resized from 60 x 40 px to 32 x 32 px to fit the panel; its proportions changed.",
        "The painting is resized back to 60 x 40 px; tiles would paint it as large as it is.",
    )


def test_tiles_are_no_advice_for_a_picture_below_the_panels_size() -> None:
    request = copying().prepare(a_picture(24, 20))
    assert request.notes[-1] == "The painting is resized back to 24 x 20 px."


def test_what_was_not_used_is_said() -> None:
    painter = copying()
    assert painter.prepare(a_picture()).notes == ()
    assert painter.prepare(a_picture(), mask=a_hole()).notes == (
        "The task deblur paints the whole panel: the mask was not used.",
    )
    assert "the target was not used" in painter.prepare(a_picture(), a_picture()).notes[0]


def test_a_task_that_keeps_a_part_needs_a_target_and_a_mask() -> None:
    with pytest.raises(UserError, match="ref-inpainting keeps a part of the target: give the target too"):
        copying("ref-inpainting").prepare(a_picture(), mask=a_hole())
    with pytest.raises(UserError, match="needs a mask"):
        copying("ref-inpainting").prepare(a_picture(), a_picture())


def test_a_mask_may_ask_for_everything() -> None:
    reference, target = a_picture(seed=1), a_picture(seed=2)
    request = copying("ref-inpainting").prepare(reference, target, mask=Image.new("L", reference.size, 255))
    assert request.notes == ()
    assert request.pair.mask is not None
    assert request.pair.mask.all()


def test_a_border_that_only_the_whole_picture_shows_is_kept() -> None:
    mask = Image.new("L", (320, 320), 255)
    mask.paste(0, (0, 0, 3, 320))
    target = a_picture(320, 320, seed=2)
    painted = copying("ref-inpainting")(a_picture(320, 320), target, mask=mask)
    assert painted.crop((0, 0, 3, 320)).tobytes() == target.crop((0, 0, 3, 320)).tobytes()
    assert painted.crop((3, 0, 320, 320)).tobytes() != target.crop((3, 0, 320, 320)).tobytes()


def test_a_caption_is_asked_for_before_painting() -> None:
    painter = Painter(backbone=TinyFill(), task=Task(name="free", summary="any", caption_required=True), size=(32, 32))
    with pytest.raises(UserError, match="The task free needs a caption"):
        painter.prepare(a_picture())


def test_a_painter_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        copying().steps = 3  # type: ignore[misc]


def test_a_batch_is_the_single_pictures(tiny: Path) -> None:
    paint = anyrefill.load("colorization", backbone=tiny, adapter=tiny / "adapters" / "colorization.safetensors")
    pairs = [Pair(reference=random_panel(64, 64, seed), target=torch.zeros(3, 64, 64)) for seed in range(3)]
    panels = paint.batch(pairs, steps=2, seed=7, batch_size=2)
    for index, (pair, panel) in enumerate(zip(pairs, panels, strict=True)):
        single = paint(images.to_pil(pair.reference), steps=2, seed=7 + index)
        torch.testing.assert_close(images.to_panel(single), panel, atol=2 / 127.5, rtol=0)
    assert not torch.equal(panels[0], panels[1])


def test_a_folder_of_pairs_is_a_batch(tmp_path: Path) -> None:
    pairs = [Pair(reference=random_panel(32, 32, seed), target=torch.zeros(3, 32, 32)) for seed in range(3)]
    anyrefill.write_pairs(pairs, tmp_path / "pairs")
    folder = anyrefill.PairFolder(tmp_path / "pairs")
    assert len(copying().batch(folder, batch_size=2)) == 3


def test_painting_tells_of_every_call() -> None:
    pairs = [Pair(reference=random_panel(32, 32, seed), target=torch.zeros(3, 32, 32)) for seed in range(5)]
    stages = list(copying().painting(pairs, steps=3, batch_size=2))
    assert [stage.done for stage in stages] == list(range(1, 10))
    assert {stage.total for stage in stages} == {9} == {copying().calls(5, steps=3, batch_size=2)}
    assert [len(stage.panels) for stage in stages] == [0, 0, 2, 0, 0, 2, 0, 0, 1]


@pytest.mark.parametrize("steps", [0, -1])
def test_a_picture_takes_a_step(steps: int) -> None:
    with pytest.raises(UserError, match=f"at least 1 step, not {steps}"):
        copying()(a_picture(), steps=steps)


def test_micro_brings_the_tasks_adapter(as_micro: Path) -> None:
    paint = anyrefill.load("colorization")
    bare = anyrefill.load("colorization", adapter="none")
    assert (paint.size, paint.guidance, paint.steps) == ((64, 64), 2.5, 3), "the adapter's passport says so"
    assert (bare.size, bare.guidance, bare.steps, bare.passport) == ((64, 64), 1.0, 20, None), (
        "the base's settings say so"
    )
    reference = a_picture(64, 64)
    assert paint(reference, steps=2).tobytes() != bare(reference, steps=2).tobytes()
    assert paint(reference, steps=2, seed=3).tobytes() == paint(reference, steps=2, seed=3).tobytes()
    assert paint(reference, steps=2, seed=3).tobytes() != paint(reference, steps=2, seed=4).tobytes()


def test_an_adapter_by_name_file_or_run(as_micro: Path, tmp_path: Path) -> None:
    by_name = anyrefill.load("deblur", adapter="colorization")
    assert by_name.notes == ("The adapter was trained for colorization, not for deblur.",)
    assert by_name.prepare(a_picture(64, 64)).notes == by_name.notes
    save_tiny_adapter(as_micro, tmp_path / "adapter.safetensors", "deblur")
    for adapter in (tmp_path, tmp_path / "adapter.safetensors"):
        passport = anyrefill.load("deblur", adapter=adapter).passport
        assert passport is not None
        assert passport.task == "deblur"


def test_unknown_adapters_are_refused(as_micro: Path, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapter for deblur, only for colorization, image-to-segment"):
        anyrefill.load("deblur")
    with pytest.raises(UserError, match="There is no adapter mine: give a file"):
        anyrefill.load("deblur", adapter="mine")
    with pytest.raises(UserError, match=r"has no adapter\.safetensors yet"):
        anyrefill.load("deblur", adapter=tmp_path)
    (tmp_path / "text.safetensors").write_text("no adapter")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        anyrefill.load("deblur", adapter=tmp_path / "text.safetensors")
    other = save_tiny_checkpoint(tmp_path / "other", seed=9)
    with pytest.raises(UserError, match="was trained on another base"):
        anyrefill.load("colorization", backbone=other, adapter=tiny / "adapters" / "colorization.safetensors")


def test_unknown_tasks_and_backbones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no task 'sing'; there are age, blueprint, canny-to-image"):
        anyrefill.load("sing")
    with pytest.raises(UserError, match="no base model"):
        anyrefill.load("deblur", backbone="nothing here")


def test_a_missing_embedded_backbone_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from anyrefill.backbone import embedded

    monkeypatch.setattr(embedded, "EMBEDDED", tmp_path)
    with pytest.raises(UserError, match="The embedded backbone is not in this installation"):
        anyrefill.load("deblur", adapter="none")


def test_another_backbone_has_no_adapter_unless_told(tiny: Path) -> None:
    painter = anyrefill.load("deblur", backbone=tiny)
    assert painter.passport is None
    assert isinstance(painter.backbone, FluxFill)


def test_a_soft_mask_is_mixed_in_once() -> None:
    pair = Pair(reference=random_panel(32, 32, 1), target=random_panel(32, 32, 2), mask=torch.full((1, 32, 32), 0.5))
    (painted,) = copying("ref-inpainting").batch([pair])
    torch.testing.assert_close(painted, (pair.reference + pair.target) / 2, atol=1e-3, rtol=0)
