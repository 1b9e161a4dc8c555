"""A box of a picture painted as if it were all, and everything around it left as it is."""

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import anyrefill
from anyrefill import UserError, images
from anyrefill.backbone.embedded import EMBEDDED
from anyrefill.metrics import faces
from anyrefill.painter.box import Around, Box, BoxLike, box_in
from panels import random_panel
from tiny_checkpoint import save_tiny_adapter

PHOTO = EMBEDDED.parent / "photos" / "astronaut.jpg"
BOX = (16, 0, 96, 64)


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in turn"])
def test_a_box_is_painted_as_its_crop_and_the_rest_stays(as_micro: Path, tmp_path: Path, *, together: bool) -> None:
    if together:
        own = save_tiny_adapter(as_micro, tmp_path / "own.safetensors", "deblur", seed=7)
        painter = anyrefill.load("deblur+colorization", adapter=f"{own}+colorization")
    else:
        painter = anyrefill.load("colorization")
    whole = images.to_pil(random_panel(80, 112))
    painted = np.asarray(painter(whole, box=BOX, caption="a town", seed=3), np.int16)
    alone = np.asarray(painter(whole.crop(BOX), caption="a town", seed=3), np.int16)
    before = np.asarray(whole, np.int16)
    outside = np.ones(before.shape[:2], bool)
    outside[0:64, 16:96] = False
    assert (painted[outside] == before[outside]).all()
    inner = np.s_[0:60, 21:91]  # a sixteenth of the sides is soft: 4 rows at the bottom, 5 columns left and right
    assert (painted[inner] == alone[:60, 5:75]).all(), "no soft edge at the top, where the picture ends"
    edge = np.s_[0:60, 16:17]
    assert 0 < abs(painted[edge] - before[edge]).mean() < 0.3 * abs(alone[:60, :1] - before[edge]).mean()


def test_variants_come_out_whole(as_micro: Path) -> None:
    del as_micro
    painter = anyrefill.load("colorization")
    request = painter.prepare(images.to_pil(random_panel(80, 112)), box=BOX)
    assert request.notes[0] == "The box 16,0,96,64 of the picture is painted."
    *steps, last = painter.fulfilling(request, variants=2)
    assert all(not stage.panels for stage in steps)
    assert {panel.shape for panel in last.panels} == {(3, 80, 112)}
    assert not torch.equal(*last.panels)


def test_an_edge_rises_over_a_sixteenth_of_the_box() -> None:
    around = Around(picture=torch.zeros(3, 100, 100), box=Box(left=10, top=10, right=74, bottom=100))
    shown = around(torch.ones(3, 90, 64))[0]
    assert shown[50, 9:15].tolist() == [0, 0.125, 0.375, 0.625, 0.875, 1]
    assert shown[50, 69:75].tolist() == [1, 0.875, 0.625, 0.375, 0.125, 0]
    assert shown[99, 40] == 1, "the picture's own edge is hard"
    assert not around.picture.any(), "the picture itself is left alone"


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ("head", "A box is given by its edges, left, top, right and bottom, or as face, not as head."),
        ((10, 10, 50), "A box has four edges, left, top, right and bottom, not 3."),
        ((-1, 0, 50, 50), "The box -1,0,50,50 is not inside of the picture, which is 112 x 80 px."),
        ((0, 0, 113, 50), "The box 0,0,113,50 is not inside of the picture, which is 112 x 80 px."),
        ((50, 10, 10, 60), r"The box 50,10,10,60 \(left, top, right, bottom\) needs 16 px or more on each side."),
        ((50, 10, 60, 60), r"The box 50,10,60,60 \(left, top, right, bottom\) needs 16 px or more on each side."),
    ],
)
def test_a_box_that_is_none_is_refused(box: BoxLike, words: str) -> None:
    with pytest.raises(UserError, match=words):
        box_in(random_panel(80, 112), box)


def test_what_no_box_can_do_is_refused(as_micro: Path) -> None:
    del as_micro
    whole = images.to_pil(random_panel(80, 112))
    painter = anyrefill.load("colorization")
    for more in ({"target": whole}, {"mask": whole}, {"more": [whole]}):
        with pytest.raises(UserError, match="A box is painted of one reference: leave target, mask and further"):
            painter(whole, box=BOX, **more)
    with pytest.raises(UserError, match="A box is painted in its picture, whose size is kept"):
        painter(whole, box=BOX, size="panel")
    inpainting = replace(painter, task=anyrefill.tasks.get("ref-inpainting"))
    with pytest.raises(UserError, match="ref-inpainting keeps a part of it"):
        inpainting(whole, box=BOX)


needs_dlib = pytest.mark.skipif(find_spec("dlib") is None, reason="dlib is an extra")


@needs_dlib
def test_a_face_is_boxed_as_the_portraits_are() -> None:
    photo = images.to_panel(PHOTO)
    box = box_in(photo, "face")
    assert abs(np.subtract(box.edges, (65, 13, 161, 109))).max() <= 8, "eyes at (97, 51) and (124, 51), by eye"
    cut = photo[:, 13:120, 60:]
    assert box_in(cut, "face").left == pytest.approx(box.left - 60, abs=8)


@needs_dlib
def test_a_picture_without_a_face_is_refused() -> None:
    with pytest.raises(UserError, match="No face was found in the picture: give the box by its edges"):
        box_in(torch.zeros(3, 64, 64), "face")


def test_a_face_is_looked_for_in_the_picture_that_is_painted_into(
    as_micro: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del as_micro
    seen: list[torch.Tensor] = []

    def found(picture: torch.Tensor) -> tuple[int, int, int, int]:
        seen.append(picture)
        return 40, 30, 60, 50

    monkeypatch.setattr(faces, "largest_face", found)
    request = anyrefill.load("colorization").prepare(images.to_pil(random_panel(80, 112)), box="face")
    assert request.around is not None
    assert [one is request.around.picture for one in seen] == [True], "it is read once"


def test_a_face_without_dlib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UserError, match="needs dlib"):
        box_in(images.to_panel(PHOTO), "face")
