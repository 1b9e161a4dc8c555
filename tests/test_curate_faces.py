"""Faces in curation: pairs whose panels do not show one face each, both the same person's, are refused by name."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from anyrefill import UserError, cli, curate, images, tasks
from anyrefill.curate.annotators import OFFLINE, FaceAnnotator, load_faces
from anyrefill.curate.manifest import CURATION, MANIFEST
from anyrefill.demo import PHOTOS
from anyrefill.metrics.faces import FoundFace, compare
from anyrefill.types import Panel
from panels import random_panel
from people import lay_out, needs_faces, person, two_heads


def a_face(number: float = 0.0) -> FoundFace:
    return FoundFace(box=(0, 0, 9, 9), score=1.0, description=torch.full((128,), number / math.sqrt(128)))


class Told:
    """An annotator that says what it was told to, panel after panel."""

    name = "told"

    def __init__(self, *answers: list[FoundFace]) -> None:
        self._answers = list(answers)

    def __call__(self, panels: Sequence[Panel]) -> list[list[FoundFace]]:
        return [self._answers.pop(0) for _ in panels]


def curated(tmp_path: Path, reference: list[FoundFace], target: list[FoundFace], **more: float) -> curate.Outcome:
    for seed, side in enumerate(("left", "right")):
        (tmp_path / side).mkdir()
        images.to_pil(random_panel(32, 32, seed)).save(tmp_path / side / "a.png")
    listed = curate.list_folders(tmp_path / "left", tmp_path / "right")
    (outcome,) = curate.read_listed(tasks.get("age"), listed, faces=Told(reference, target), **more)
    return outcome


@pytest.mark.parametrize(
    ("reference", "target", "reason"),
    [
        ([], [a_face()], "Its reference shows no face; each panel needs one (--faces)."),
        ([a_face()], [a_face()] * 3, "Its target shows 3 faces; each panel needs one (--faces)."),
        (
            [a_face()] * 2,
            [],
            "Its reference shows 2 faces and its target shows no face; each panel needs one (--faces).",
        ),
        ([a_face()], [a_face(0.61)], "Its two faces are 0.610 apart, beyond 0.6 (--face-distance)."),
    ],
)
def test_a_pair_of_not_one_person_is_refused(
    tmp_path: Path, reference: list[FoundFace], target: list[FoundFace], reason: str
) -> None:
    outcome = curated(tmp_path, reference, target)
    assert (outcome.pair, outcome.reason, dict(outcome.parameters)) == (None, reason, {})


def test_a_pair_of_one_person_is_kept_and_measured(tmp_path: Path) -> None:
    outcome = curated(tmp_path, [a_face()], [a_face(0.61)], apart=0.62)
    assert outcome.pair is not None
    assert (outcome.done, outcome.total, outcome.reason) == (1, 1, "")
    assert outcome.parameters == {
        "faces_by": "told",
        "faces": {"reference": 1, "target": 1},
        "face_distance": 0.61,
    }


def curate_age(tmp_path: Path, out: str, *words: str) -> Path:
    """Curate a true pair, one of two people, one with an empty table and one with two heads; return the folder."""
    if not (tmp_path / "left").exists():
        images.to_pil(two_heads()).save(tmp_path / "heads.png")
        coffee = tmp_path / "coffee.png"
        images.to_pil(images.to_panel(PHOTOS / "coffee.jpg", (128, 128))).save(coffee)
        true = (person("age", 1), person("age", 1, "target"))
        pairs = {"strangers": (person("age", 2), person("age", 4, "target")), "empty": (true[0], coffee), "true": true}
        lay_out(tmp_path, {**pairs, "crowd": (tmp_path / "heads.png", true[1])})
    sides = ["--references", str(tmp_path / "left"), "--targets", str(tmp_path / "right")]
    cli.main(["curate", "age", *sides, "--out", str(tmp_path / out), *words])
    return tmp_path / out


def refused(folder: Path) -> dict[str, str]:
    rejections = json.loads((folder / CURATION).read_text())["rejections"]
    return {one["name"].partition(".")[0]: one["reason"] for one in rejections}


@needs_faces
def test_real_faces_decide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = curate_age(tmp_path, "pairs", "--faces", "dlib")
    reasons = refused(folder)
    assert set(reasons) == {"crowd", "empty", "strangers"}
    assert reasons["crowd"] == "Its reference shows 2 faces; each panel needs one (--faces)."
    assert reasons["empty"] == "Its target shows no face; each panel needs one (--faces)."
    assert reasons["strangers"].endswith("apart, beyond 0.6 (--face-distance).")
    told = capsys.readouterr().out
    assert all(reason in told for reason in reasons.values())
    (row,) = (json.loads(line) for line in (folder / MANIFEST).read_text().splitlines())
    found = row["parameters"]
    assert (found["faces_by"], found["faces"]) == ("dlib", {"reference": 1, "target": 1})
    assert 0.3 < found["face_distance"] < 0.5


@needs_faces
def test_the_limit_is_the_user_s_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    words = ("--faces", "dlib", "--face-distance", "0.9")
    first, again = (curate_age(tmp_path, out, *words) for out in ("first", "again"))
    assert set(refused(first)) == {"crowd", "empty"}
    contents = [
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")} for folder in (first, again)
    ]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 7, "two pairs and three lists"
    with pytest.raises(SystemExit, match="2"):
        curate_age(tmp_path, "none", "--faces", "dlib", "--face-distance", "0.1")


def test_without_the_option_nobody_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    assert refused(curate_age(tmp_path, "pairs")) == {}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--faces", "mtcnn"], "There is no annotator 'mtcnn' for faces; there are dlib."),
        (["--face-distance", "0.5"], "--face-distance goes with --faces."),
        (["--faces", "dlib", "--face-distance", "0"], "--face-distance must be above 0, not 0."),
        (["--faces", "dlib", "--face-distance", "nan"], "--face-distance must be above 0, not nan."),
        (["--faces", "dlib"], "This needs dlib, which is not installed"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path,
    words: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(SystemExit, match="2"):
        curate_age(tmp_path, "pairs", *words)
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "pairs").exists()


def test_photographs_are_not_asked_for_faces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["curate", "deblur", str(PHOTOS), "--faces", "dlib", "--out", str(tmp_path / "pairs")])
    assert "--faces goes with --references and --targets, or with --table." in capsys.readouterr().err


@needs_faces
def test_faces_are_found_where_they_are_at_every_size() -> None:
    dlib = load_faces("dlib")
    assert isinstance(dlib, FaceAnnotator)
    assert list(OFFLINE["faces"]) == [dlib.name]
    panel = images.to_panel(person("age", 1))
    large, huge = (images.to_panel(person("age", 1), (side, side)) for side in (640, 1280))
    small = dlib([panel, two_heads(), torch.zeros(3, 128, 128)])
    found = [small[0], *dlib([large]), *dlib([huge]), *small[1:]]
    assert [len(faces) for faces in found] == [1, 1, 1, 2, 0]
    for faces, scale in zip(found[:3], (1, 5, 10), strict=True):
        assert faces[0].box == pytest.approx([32 * scale, 44 * scale, 84 * scale, 96 * scale], abs=8 * scale)
    assert compare(found[0], found[0]).distance == 0
    assert 0 < (compare(found[0], found[1]).distance or 0) < 0.35
    left, right = sorted(face.box[0] for face in found[3])
    assert left < 64 <= right


def test_weights_that_are_missing_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dlib")
    monkeypatch.setenv("ANYREFILL_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match=r"face_landmarks\.dat is not in .*: get it with `python -m pip install"):
        load_faces("dlib")
