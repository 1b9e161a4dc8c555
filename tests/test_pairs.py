import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyrefill import Pair, PairFolder, UserError, images, write_pairs
from anyrefill.files import whole
from anyrefill.pairs import mirrored
from panels import random_panel

SIZES = st.sampled_from([(16, 16), (32, 16), (16, 48)])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda values: st.lists(values, max_size=2), max_leaves=3
)


PLANS = st.fixed_dictionaries(
    {
        "size": SIZES,
        "seed": st.integers(0, 2**30),
        "masked": st.booleans(),
        "further": st.shared(st.integers(0, 2), key="further references"),
        "caption": st.text(max_size=20),
        "extra": st.dictionaries(st.sampled_from(["source", "licence", "seed"]), JSON, max_size=2),
    }
)
"""Of pairs; these are made in the test, as beartype draws from `random`, which a strategy must not."""


def planned(plan: dict[str, Any]) -> Pair:
    (height, width), seed = plan["size"], plan["seed"]
    panels = [random_panel(height, width, seed + place) for place in range(2 + plan["further"])]
    mask = (torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed)) > 0.5).float()
    return Pair(
        reference=panels[0],
        target=panels[1],
        mask=mask if plan["masked"] else None,
        more=tuple(panels[2:]),
        caption=plan["caption"],
        extra=plan["extra"],
    )


def assert_same(read: Pair, written: Pair) -> None:
    assert torch.equal(read.reference, written.reference)
    assert torch.equal(read.target, written.target)
    assert len(read.references) == len(written.references)
    assert all(map(torch.equal, read.references, written.references))
    assert (read.mask is None) == (written.mask is None)
    if read.mask is not None and written.mask is not None:
        assert torch.equal(read.mask, written.mask)
    assert read.caption == written.caption
    assert read.extra == written.extra


@pytest.mark.parametrize("words", ["light from the left", "Left of a RIGHT wing, left", "nowhere, alright"])
def test_a_mirror_exchanges_left_and_right(words: str) -> None:
    pair = Pair(reference=random_panel(16, 16, 0), target=random_panel(16, 16, 1), caption=words)
    other = mirrored(pair)
    swapped = {
        "light from the left": "light from the right",
        "Left of a RIGHT wing, left": "Right of a LEFT wing, right",
    }
    assert other.caption == swapped.get(words, words)
    assert mirrored(other).caption == words


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans=st.lists(PLANS, min_size=1, max_size=3))
def test_what_is_written_is_read(plans: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    written = [planned(plan) for plan in plans]
    folder = tmp_path_factory.mktemp("pairs") / "out"
    assert write_pairs(written, folder) == len(written)
    read = PairFolder(folder)
    assert len(read) == len(written)
    for one, other in zip(read, written, strict=True):
        assert_same(one, other)


def a_folder(folder: Path, *rows: object) -> Path:
    """Write pictures r, s (references), t, u (targets), m (a mask) and the rows as lines."""
    for seed, name in enumerate("rstu"):
        images.save(images.to_pil(random_panel(seed=seed)), folder / f"{name}.png")
    images.save(images.to_pil(random_panel(seed=9)).convert("L"), folder / "m.png")
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def a_row(reference: str = "r.png", target: str = "t.png", **more: object) -> dict[str, object]:
    return {"reference_file_name": reference, "target_file_name": target, **more}


def test_the_layout_is_hugging_faces(tmp_path: Path) -> None:
    mask = torch.zeros(1, 32, 48)
    mask[:, 3:9] = 1
    pair = Pair(reference=random_panel(), target=random_panel(), mask=mask, caption="Zug ß", extra={"source": "DIV2K"})
    write_pairs([pair], tmp_path / "p")
    assert json.loads((tmp_path / "p" / "metadata.jsonl").read_text()) == {
        "reference_file_name": "reference/000000.png",
        "target_file_name": "target/000000.png",
        "mask_file_name": "mask/000000.png",
        "caption": "Zug ß",
        "source": "DIV2K",
    }
    assert images.load(tmp_path / "p" / "mask" / "000000.png").getpixel((0, 3)) == (255, 255, 255)
    assert [path.name for path in tmp_path.iterdir()] == ["p"], "no temporary folder is left"


def test_optional_keys_may_be_missing_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    (pair,) = PairFolder(a_folder(tmp_path, "", a_row(licence="CC0"), "  "))
    assert (pair.mask, pair.caption, pair.extra) == (None, "", {"licence": "CC0"})


def test_panels_are_fitted_to_the_reference(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, a_row(mask_file_name="m.png"))
    images.save(images.to_pil(random_panel(64, 64)), folder / "r.png")
    (pair,) = PairFolder(folder)
    assert pair.target.shape == (3, 64, 64)
    assert pair.mask is not None
    assert pair.mask.shape == (1, 64, 64)
    (sized,) = PairFolder(folder, size=(32, 16))
    assert sized.reference.shape == sized.target.shape == (3, 32, 16)


def test_a_folder_of_pairs_is_a_sequence(tmp_path: Path) -> None:
    rows = zip("rsr", "tuu", "abc", strict=True)
    read = PairFolder(a_folder(tmp_path, *(a_row(f"{r}.png", f"{t}.png", caption=word) for r, t, word in rows)))
    assert isinstance(read, Sequence)
    assert [pair.caption for pair in read[1:]] == ["b", "c"]
    assert [pair.caption for pair in reversed(read)] == ["c", "b", "a"]
    assert read[-1].caption == "c"
    assert read[5:] == ()


def test_pictures_are_read_when_asked_for(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, a_row(), a_row("s.png", "u.png"))
    (folder / "u.png").write_bytes(b"")
    read = PairFolder(folder)
    assert read[0].reference.shape == (3, 32, 48)
    with pytest.raises(UserError, match=r"u\.png is empty"):
        read[1]
    with pytest.raises(IndexError):
        read[2]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["{oops"], r"metadata\.jsonl, line 1: this is not JSON \(.* at column 2\)"),
        (["[1]"], r"line 1: expected an object with reference_file_name and target_file_name"),
        ([a_row(), {"target_file_name": "t.png"}], r"line 2: reference_file_name is missing"),
        ([{"reference_file_name": "r.png"}], r"line 1: target_file_name is missing"),
        ([a_row(target="x.png")], r"line 1: there is no file .*x\.png"),
        ([a_row(mask_file_name="x.png")], r"line 1: there is no file .*x\.png"),
        ([a_row(mask_file_name=3)], r"line 1: mask_file_name is missing"),
        ([a_row(target="../t.png")], r"line 1: target_file_name must stay inside the folder"),
        ([a_row(reference="/etc/hosts")], r"line 1: reference_file_name must stay inside the folder"),
        ([a_row(caption=3)], r"line 1: the caption must be text"),
        ([a_row(caption="half a \ud83d")], r"line 1: the caption must be text"),
        (["[" * 99_999], r"line 1: a number in this JSON is too long to be read, or its brackets too deep"),
        (["9" * 9_999], r"line 1: a number in this JSON is too long to be read, or its brackets too deep"),
        ([a_row(more_file_names="s.png")], r"line 1: more_file_names must be a list of file names"),
        ([a_row(more_file_names=["x.png"])], r"line 1: there is no file .*x\.png"),
        ([a_row(more_file_names=["../s.png"])], r"line 1: more_file_names must stay inside the folder"),
        (
            [a_row(more_file_names=["s.png"]), a_row(target="u.png")],
            r"line 2: 1 references, where the first .* has 2",
        ),
        ([a_row(), "", a_row()], r"line 3: the same pair is listed on line 1 already"),
        ([], r"metadata\.jsonl lists no pair"),
    ],
)
def test_a_bad_line_is_named(rows: list[object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        PairFolder(a_folder(tmp_path, *rows))


def test_a_folder_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no folder"):
        PairFolder(tmp_path / "none")
    with pytest.raises(UserError, match=r"has no metadata\.jsonl"):
        PairFolder(tmp_path)
    (tmp_path / "metadata.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="Cannot read"):
        PairFolder(tmp_path)


def test_a_full_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="is not empty"):
        write_pairs([Pair(reference=random_panel(), target=random_panel())], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    assert write_pairs([Pair(reference=random_panel(), target=random_panel())], tmp_path / "p") == 1


def test_no_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no pair to write"):
        write_pairs([], tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Pair]:
        yield Pair(reference=random_panel(), target=random_panel())
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_pairs(broken(), tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot write pairs to .*file/p: Not a directory"):
        write_pairs([Pair(reference=random_panel(), target=random_panel())], tmp_path / "file" / "p")


def test_pairs_are_written_to_the_folder_that_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = Pair(reference=random_panel(16, 16), target=random_panel(16, 16, 1))
    assert write_pairs([one], ".") == 1
    assert len(PairFolder(tmp_path)) == 1


def test_pairs_are_written_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    one = Pair(reference=random_panel(16, 16), target=random_panel(16, 16, 1))
    write_pairs([one], tmp_path / "link")
    assert len(PairFolder(tmp_path / "there")) == 1
    assert (tmp_path / "link").is_symlink()


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "both.txt"
    with whole(path) as first, whole(path) as second:  # as two containers would, whose processes have one number
        first.write_text("one")
        second.write_text("two")
    assert path.read_text() == "one"
    assert [found.name for found in tmp_path.iterdir()] == ["both.txt"]
