"""What is asked for was never met together, and yet each word of it was."""

import argparse
import json
import shutil
from itertools import product
from pathlib import Path

import pytest
from recipes import unseen
from recipes.micro import adapters
from recipes.world.render import LAMPS, STATES, TINTS, light_words

from anyrefill import Pair, PairFolder, write_pairs
from panels import random_panel

CAPTIONS = {
    "relight": [light_words(tint, place) for tint, place in product(TINTS, LAMPS)],
    "age": [state.words for state in STATES.values()],
    "gender": [f"{state.words} with short hair" for state in STATES.values()],
}


@pytest.mark.parametrize("task", unseen.WITHHELD)
def test_every_word_is_met_but_not_beside_the_others(task: str) -> None:
    kept = [caption for caption in CAPTIONS[task] if not unseen.is_withheld(task, caption)]
    hidden = [caption for caption in CAPTIONS[task] if unseen.is_withheld(task, caption)]
    assert len(hidden) == len(unseen.WITHHELD[task])
    assert {word for caption in hidden for word in caption.split()} <= {word for one in kept for word in one.split()}


IN_TURN = ["an old man", "a boy", "a young woman", "an old woman"]


def some_pairs(count: int = 8, side: int = 32) -> list[Pair]:
    return [
        Pair(reference=random_panel(side, side, s), target=random_panel(side, side, s + 9), caption=IN_TURN[s % 4])
        for s in range(count)
    ]


def test_a_subset_leaves_out_what_is_withheld(tmp_path: Path) -> None:
    write_pairs(some_pairs(), tmp_path / "all")
    few = adapters.subset(
        tmp_path / "all", 3, lambda line: not unseen.is_withheld("age", json.loads(line)["caption"]), "unmet"
    )
    assert few.name == "all-unmet-3"
    assert [row.caption for row in PairFolder(few).rows] == ["a boy", "an old woman", "a boy"]


def test_who_is_misled_is_asked_by_words_that_are_not_the_pairs() -> None:
    pairs = some_pairs()
    wrong = unseen.misled(pairs)
    assert all(one.caption != pair.caption for one, pair in zip(wrong, pairs, strict=True))
    assert all(one.target is pair.target for one, pair in zip(wrong, pairs, strict=True))
    with pytest.raises(ValueError, match="misled"):
        unseen.misled(pairs[:1])


def test_both_learners_are_asked_both_ways(as_micro: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_pairs(some_pairs(), tmp_path / "age-train")
    (tmp_path / "tasks").mkdir()
    monkeypatch.setattr(unseen, "DOCS", tmp_path)
    monkeypatch.setattr(unseen, "pairs_of", lambda _task: tmp_path / "age-train")
    monkeypatch.setitem(unseen.SOURCES, "age", lambda _split, _seed: iter(some_pairs(8, side=64)))
    learnt = []

    def trained(_name: str, pairs: Path, run: str, _steps: int) -> Path:
        learnt.append([row.caption for row in PairFolder(pairs).rows])
        shutil.copytree(as_micro / "adapters", tmp_path / run)
        return tmp_path / run / "colorization.safetensors"

    monkeypatch.setattr(unseen, "trained", trained)
    compared = unseen.compare("age", argparse.Namespace(steps=1, pairs=3, limit=3))
    assert learnt == [["a boy", "an old woman", "a boy"], IN_TURN[:3]]
    assert [(one.learner, one.words, one.count) for one in compared.asked] == [
        (learner, words, 3) for learner in (unseen.NEVER_MET, unseen.MET) for words in ("withheld", "known")
    ]
    assert (tmp_path / "tasks" / "unseen-words-age.jpg").is_file()
    page = unseen.page({"age": compared})
    assert "3 pairs, 1 steps each, on an earlier base" in page, "the checkout for tests ships no adapter of age"
    assert page.count("never met them together") == 1
    assert f"{compared.asked[0].mean / compared.asked[0].copied:.0%}" in page
