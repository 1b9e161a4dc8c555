"""Faces in the examination: planted faults are found, true pairs give no finding, and who is not asked is not told."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from anyrefill import cli, images, tasks
from anyrefill.demo import PHOTOS
from anyrefill.doctor import Report, examining
from anyrefill.doctor.people import APART
from anyrefill.pairs import METADATA
from people import needs_faces, person, two_heads

TRUE = [("age", number) for number in range(1, 5)] + [("gender", number) for number in range(1, 5)]
CHECKS = {"no-face", "several-faces", "two-people", "faces-not-seen"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return eight pairs of rendered people."""
    lines = []
    for index, one in enumerate(TRUE):
        row = {"caption": f"person {index}"}
        for side in ("reference", "target"):
            row[f"{side}_file_name"] = f"{index}-{side}.jpg"
            shutil.copy(person(*one, side), tmp_path / row[f"{side}_file_name"])
        lines.append(json.dumps(row))
    (tmp_path / METADATA).write_text("\n".join(lines))
    return tmp_path


def examine(folder: Path, task: str | None = "age") -> Report:
    *_, last = examining(folder, None if task is None else tasks.get(task))
    assert last.report is not None
    return last.report


def of_faces(report: Report) -> list[tuple[str, int | None, str]]:
    return [(one.check, one.line, one.severity) for one in report.findings if one.check in CHECKS]


@needs_faces
def test_true_pairs_give_no_finding(folder: Path) -> None:
    assert examine(folder).findings == ()


@needs_faces
def test_planted_faults_are_found_and_nothing_else(folder: Path) -> None:
    images.to_pil(images.to_panel(PHOTOS / "coffee.jpg", (128, 128))).save(folder / "0-target.jpg")
    images.to_pil(two_heads()).save(folder / "2-reference.jpg")
    shutil.copy(person("age", 4, "target"), folder / "4-target.jpg")
    report = examine(folder)
    assert of_faces(report) == [
        ("several-faces", 3, "warning"),
        ("two-people", 5, "warning"),
        ("no-face", 1, "note"),
    ]
    sentences = {one.check: one.sentence for one in report.findings}
    assert sentences["no-face"].startswith("No face is found in its target:")
    assert sentences["several-faces"].startswith("There are 2 faces in its reference:")
    assert f"apart, as those of two people are (beyond {APART})" in sentences["two-people"]


@needs_faces
def test_a_folder_without_people_is_one_finding(folder: Path) -> None:
    for index in range(5):
        shutil.copy(PHOTOS / "coffee.jpg", folder / f"{index}-reference.jpg")
    (finding,) = [one for one in examine(folder, "relight").findings if one.check in CHECKS]
    assert (finding.check, finding.line, finding.severity) == ("no-face", None, "note")
    assert "in a panel of 5 of 8 pairs" in finding.sentence


@needs_faces
@pytest.mark.parametrize("task", [None, "deblur"])
def test_other_tasks_do_not_look(folder: Path, task: str | None) -> None:
    shutil.copy(person("age", 4, "target"), folder / "4-target.jpg")
    assert of_faces(examine(folder, task)) == []


def test_tasks_that_show_a_person() -> None:
    assert [name for name in tasks.names() if tasks.get(name).shows_person] == ["age", "gender", "relight"]


def test_without_dlib_one_note_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    shutil.copy(person("age", 4, "target"), folder / "4-target.jpg")
    report = examine(folder)
    (note,) = [one for one in report.findings if one.check in CHECKS]
    assert (note.check, note.line, note.severity) == ("faces-not-seen", None, "note")
    assert note.sentence == (
        "Faces were not looked at: this needs dlib, which is not installed:"
        " get it with `python -m pip install 'anyrefill[faces]'`."
    )
    others = [one for one in report.findings if one is not note]
    assert others == list(examine(folder, None).findings), "nothing else changes"
    cli.main(["doctor", str(folder), "--task", "age"])
    assert note.sentence in capsys.readouterr().out


def test_without_weights_the_note_says_how_to_get_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dlib")
    monkeypatch.setenv("ANYREFILL_WEIGHTS", str(tmp_path / "nothing"))
    (note,) = [one for one in examine(folder).findings if one.check in CHECKS]
    assert "face-recognition-models==0.3.0" in note.sentence
