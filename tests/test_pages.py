"""The pages that recipes write hold the numbers that were measured, and say what was not."""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from recipes import cards, clean_prefix, colour_words, credits, few_steps, mixing, results, unseen
from recipes.credits import BUNDLED
from recipes.micro import adapters
from recipes.plots import Point, plot
from recipes.world.render_pairs import rendered
from recipes.world.sources import HELD_OUT_PHOTOS, photos

from anyrefill import Pair, PairFolder, write_pairs
from anyrefill.backbone.embedded import shipped
from anyrefill.cli.evaluate import wanted
from anyrefill.evaluate import heldout
from anyrefill.evaluate.report import Report, Row, Score
from anyrefill.files import write_text
from anyrefill.images import to_panel
from panels import random_panel

DOCS = Path(__file__).parents[1] / "docs"


def report(task: str = "colorization") -> Report:
    def scores(level: float) -> tuple[Score, ...]:
        return tuple(
            Score.of(name, aim, [level, level + 1, level + 2])
            for name, aim in (("luma_psnr", "higher"), ("colourfulness_ratio", "one"), ("lpips_alex", "lower"))
        )

    names = ("painted", "from another reference", "without the adapter", "copy of the reference")
    rows = tuple(Row(name=name, scores=scores(30.0 - 2 * index)) for index, name in enumerate(names))
    return Report(task=task, count=3, steps=20, guidance=1.0, seed=0, seconds=0.5, rows=rows, dtype="bfloat16")


@pytest.fixture
def docs(as_micro: Path, tmp_path: Path) -> Path:
    """Return a folder with the scores of one of two shipped tasks."""
    assert as_micro.is_dir()
    write_text(tmp_path / "results" / "colorization.json", f"[{report().to_json()}]\n")
    run = tmp_path / "runs" / "colorization"
    run.mkdir(parents=True)
    (run / "adapter.safetensors").touch()
    (run / "log.jsonl").write_text("".join(f'{{"step": {step}, "seconds": 90.0}}\n' for step in (1, 2)))
    return tmp_path


def test_every_card_tells_what_goes_wrong() -> None:
    assert set(shipped()) == set(cards.FAILURES)


def test_a_card_tells_training_scores_and_pairs(docs: Path) -> None:
    entries = [
        {
            "task": "colorization",
            "pairs": pairs,
            "steps": 9,
            "metric": "luma_psnr",
            "mean": m,
            "low": m - 1,
            "high": m + 1,
        }
        for pairs, m in ((100, 28.0), (10, 22.0))
    ]
    write_text(docs / "results" / "efficiency.json", json.dumps(entries))
    cards.write_all(docs, docs / "runs")
    card = (docs / "tasks" / "colorization.md").read_text()
    assert re.search(r"\| rank +\| 2 ", card)
    assert report().to_markdown() in card
    assert "at least 26" in card
    assert "(colorization-pairs.svg)" in card
    drawn = (docs / "tasks" / "colorization-pairs.svg").read_text()
    assert drawn.count("<circle") == 2
    assert "on an earlier base" in drawn
    assert "colorization.jpg" not in card, "there is no sheet"
    assert json.loads((docs / "results" / "training.json").read_text()) == {
        "colorization": {"steps": 2, "seconds": 180}
    }
    assert "Not measured yet." in (docs / "tasks" / "image-to-segment.md").read_text()


def test_scores_by_pairs_are_those_of_the_base_that_ships(docs: Path) -> None:
    base = cards.base_of(cards.adapter_of("colorization"))
    scores = {"task": "colorization", "steps": 9, "metric": "luma_psnr", "mean": 28.0, "low": 27.0, "high": 29.0}
    entries = [scores | {"pairs": 10, "base": "another"}, scores | {"pairs": 50, "base": base}]
    path = docs / "results" / "efficiency.json"
    write_text(path, json.dumps(entries))
    (point,) = cards.efficiency(path, "colorization")
    assert (point.x, point.label) == (50, "luma_psnr, 9 steps each")


def test_the_index_has_every_shipped_task(docs: Path) -> None:
    cards.write_all(docs, docs / "runs")
    lines = (docs / "tasks" / "index.md").read_text().splitlines()
    measured, unmeasured = lines[-2:]
    assert measured.startswith("| [colorization](colorization.md)")
    assert "31.0 [30.0, 32.0]" in measured
    assert "25.0 [24.0, 26.0]" in measured
    assert unmeasured.startswith("| [image-to-segment](image-to-segment.md)")
    assert "not measured" in unmeasured


def test_the_results_page_says_what_is_missing(docs: Path) -> None:
    parts = [docs / "results" / f"{name}.json" for name in ("colorization", "age")]
    page = results.page(parts)
    assert "Not measured yet: age." in page
    assert "## colorization" in page
    assert "31.0 [30.0, 32.0]" in page
    assert "Not measured" not in results.page(parts[:1])


def test_the_committed_results_hold_the_committed_numbers() -> None:
    parts = [results.part(name) for name in results.wanted()]
    assert all(part.is_file() for part in parts)
    assert (DOCS / "results.md").read_text(encoding="utf-8") == results.page(parts)


@pytest.mark.parametrize("name", shipped())
def test_the_committed_cards_hold_the_committed_numbers(name: str) -> None:
    points = cards.efficiency(DOCS / "results" / "efficiency.json", name)
    assert (DOCS / "tasks" / f"{name}.md").read_text(encoding="utf-8") == cards.card(name, DOCS, points)
    if points:
        drawn = (DOCS / "tasks" / f"{name}-pairs.svg").read_text(encoding="utf-8")
        assert drawn == plot(points, label=points[0].label)


def test_the_committed_index_holds_the_committed_numbers() -> None:
    assert (DOCS / "tasks" / "index.md").read_text(encoding="utf-8") == cards.index(DOCS)


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (few_steps, "few-steps"),
        (clean_prefix, "clean-prefix"),
        (unseen, "unseen-words"),
        (colour_words, "colour-words"),
    ],
)
def test_the_committed_pages_of_recipes_hold_the_committed_numbers(recipe: ModuleType, name: str) -> None:
    assert (DOCS / "tasks" / f"{name}.md").read_text(encoding="utf-8") == recipe.page(recipe.known())


def test_the_committed_page_of_mixing_holds_the_committed_numbers() -> None:
    page = mixing.page(mixing.known(), mixing.known(mixing.WEIGHED))
    assert (DOCS / "tasks" / "mixing.md").read_text(encoding="utf-8") == page


def test_the_sheet_shows_the_worst_and_is_small(tmp_path: Path) -> None:
    words = ["a lark", "motorcycle right", *["an old woman"] * 7]
    pairs = [
        Pair(reference=random_panel(128, 128, s), target=random_panel(128, 128, s), caption=caption)
        for s, caption in enumerate(words)
    ]
    values = [float(index) for index in range(9)]
    rows = (Row(name="painted", scores=(Score.of("lpips_alex", "lower", values),)),)
    found = Report(task="age", count=9, steps=1, guidance=1.0, seed=0, seconds=0.0, rows=rows)
    painted = [torch.full((3, 128, 128), index / 4 - 1) for index in range(9)]
    path = tmp_path / "sheets" / "t.jpg"
    results.save_sheet(found, pairs, painted.__getitem__, path)
    with Image.open(path) as sheet:
        assert sheet.size == (4 + 6 * 132, 24 + 4 * 132)
        levels = [sheet.convert("L").getpixel((4 + x * 132 + 64, 24 + y * 132 + 64)) for x in (1, 4) for y in range(4)][
            :7
        ]
    wanted = [index / 8 * 255 for index in (0, 2, 3, 4, 8, 7, 6)]
    assert levels == pytest.approx(wanted, abs=6)


def test_a_plot_has_every_point_in_its_place() -> None:
    points = [Point(x=x, y=y, low=y - 1, high=y + 1) for x, y in ((10, 1.0), (100, 3.0), (1000, 4.0))]
    picture = plot(points, label="iou & more")
    assert picture.count("<circle") == 3
    assert "iou &amp; more" in picture
    assert 'cx="240.0"' in picture, "10, 100 and 1000 are equally far apart"
    assert all(f">{x}</text>" in picture for x in (10, 100, 1000))
    assert plot(points[:1], label="one").count("<circle") == 1
    with pytest.raises(ValueError, match="at least one point"):
        plot([], label="none")


def test_a_subset_is_the_first_pairs_and_copies_no_picture(tmp_path: Path) -> None:
    everything = [Pair(reference=random_panel(32, 32, s), target=random_panel(32, 32, s + 9)) for s in range(4)]
    write_pairs(everything, tmp_path / "all")
    few = PairFolder(adapters.subset(tmp_path / "all", 2))
    assert len(few) == 2
    assert torch.equal(few[1].target, everything[1].target)
    assert (few.folder / "target").is_symlink()
    assert adapters.subset(tmp_path / "all", 2) == few.folder


def test_the_mixing_table_has_alone_and_every_other() -> None:
    def entry(task: str, other: str, mean: float, found: float | None) -> dict[str, object]:
        return {
            "task": task, "other": other, "pairs": 16, "metric": "rmse", "aim": "lower", "mean": mean, "low": mean,
            "high": mean, "identity": found, "true_identity": 0.25,
        }  # fmt: skip

    page = mixing.page(
        [
            entry("age", "alone", 0.1, 0.75), entry("age", "gender", 0.2, 0.5),
            entry("gender", "alone", 0.3, None), entry("gender", "age", 0.4, None),
        ]
    )  # fmt: skip
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    assert rows[0] == ["own score of", "alone", "with age", "with gender"]
    assert rows[1] == [
        "age, rmse ↓", "0.100 [0.100, 0.100], identity 0.75 (0.25)", "", "0.200 [0.200, 0.200], identity 0.50 (0.25)",
    ]  # fmt: skip
    assert rows[2][3] == ""
    assert "Held-out pairs of each: 16." in page


def test_edits_of_one_picture_stand_by_way_and_weight() -> None:
    shares = {("age+gender", "in turn"): 0.6, ("age+gender", 1.0): 0.9, ("age+relight", 1.0): 0.8}
    both = [
        {"mix": mix, "weight": weight, "pairs": 64, "rmse": share * 0.2, "copied": 0.2}
        for (mix, weight), share in shares.items()
    ]
    page = mixing.page([], both)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    assert rows[-3:] == [
        ["both edits", "pairs", "in turn", "at once, 1.0 each"],
        ["age+gender", "64", "60%", "90%"],
        ["age+relight", "64", "", "80%"],
    ]


def test_two_adapters_act_where_one_task_is_scored(
    as_micro: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANYREFILL_WEIGHTS", str(tmp_path))
    pairs = [Pair(reference=random_panel(64, 64, s), target=random_panel(64, 64, s + 9)) for s in range(2)]
    write_pairs(pairs, heldout("colorization"))
    alone, mixed = (mixing.measured("colorization", other, 2) for other in (mixing.ALONE, "image-to-segment"))
    assert (alone["metric"], alone["pairs"], alone["identity"]) == ("psnr", 2, None)
    assert alone["mean"] != mixed["mean"]
    assert as_micro.is_dir()


def test_committed_scores_are_of_the_weights_that_ship() -> None:
    outdated = [name for name in wanted() if results.is_outdated(name)]
    assert not outdated, f"python -m recipes.results, measure again: {outdated}"


def test_scores_of_other_weights_are_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MEASURED", tmp_path / "measured.json")
    monkeypatch.setattr(results, "part", lambda name: tmp_path / f"{name}.json")
    assert results.is_outdated("age")
    (tmp_path / "age.json").write_text("[]")
    assert results.is_outdated("age"), "nobody says whose they are"
    write_text(results.MEASURED, json.dumps({"age": results.weights("age")}))
    assert not results.is_outdated("age")
    write_text(results.MEASURED, json.dumps({"age": results.weights("age") | {"age": "other"}}))
    assert results.is_outdated("age")
    assert set(results.weights("age+gender")) == {"transformer", "vae", "age", "gender"}
    assert set(results.weights("gender-in-photographs")) == {"transformer", "vae", "gender"}
    assert set(results.weights("backbone")) == {"transformer", "vae"}


@pytest.mark.parametrize(
    ("redo", "again"),
    [(None, (False, False)), ([], (True, True)), (["age"], (True, False)), (["relight"], (False, False))],
)
def test_mixes_of_a_task_are_measured_again(redo: list[str] | None, again: tuple[bool, bool]) -> None:
    assert (mixing.redone({"age", "gender"}, redo), mixing.redone({"deblur", mixing.ALONE}, redo)) == again


ROOM: dict[str, object] = {
    "seed": 16,
    "credits": ["Box by Scopia, CC-BY-3.0"],
    "walls": ["rcc/erase/gcompris/src/activities/erase/resource/gorilla.webp"],
}


def test_every_bundled_pair_names_the_authors_of_what_it_shows() -> None:
    lines = [json.loads(line) for path in BUNDLED.glob("*/metadata.jsonl") for line in path.read_text().splitlines()]
    assert len(lines) >= 28
    for line in lines:
        assert re.match(r"anyrefill, recipes/world, (room|person) \d+: .+ by .+, C", line["source"])
        assert line["licence"].startswith("Apache-2.0")
        kind = "behind, blurred: " if " person " in line["source"] else "on the wall: "
        assert re.search(rf"{kind}.+ by .+, \S", line["source"]), "these rooms have pictures on their walls"
    assert (BUNDLED / "CREDITS.md").read_text(encoding="utf-8") == credits.bundled()


def test_every_held_out_photograph_has_an_author() -> None:
    named = {part for end in credits.PHOTOGRAPHS for part in Path(end).with_suffix("").parts}
    gone = {"guitar", "elephant", "lion"}  # held out by name, and in no package any more
    assert HELD_OUT_PHOTOS - gone <= named
    assert all(photograph.held_out and credits.photograph(str(photograph.path)) for photograph in photos(held_out=True))


@pytest.mark.slow
@pytest.mark.skipif(not (rendered("test") and heldout("age").is_dir()), reason="nothing is rendered here")
def test_the_committed_credits_are_of_the_committed_sheets() -> None:
    assert credits.PAGE.read_text(encoding="utf-8") == credits.page(credits.read_renders())


def test_a_render_is_known_by_its_facts_and_its_pixels(tmp_path: Path) -> None:
    folder = tmp_path / "rooms" / "test" / "000016"
    folder.mkdir(parents=True)
    (folder / "facts.json").write_text(json.dumps(ROOM))
    seen, other = (Image.effect_noise((128, 128), 60 + level).convert("RGB") for level in (0, 1))
    seen.save(folder / "0.png")
    other.save(folder / "0.depth.png")
    known = credits.read_renders(tmp_path)
    room = known.named["room 16"]
    assert (
        str(room)
        == "room 16: Box by Scopia, CC-BY-3.0; on the wall: Mountain gorilla by Charles J. Sharp, CC-BY-SA-4.0"
    )
    pairs = [
        Pair(reference=to_panel(picture, (128, 128)), target=torch.zeros(3, 128, 128), extra=extra)
        for picture, extra in ((seen, {}), (other, {"room": 16}), (other, {}))
    ]
    assert [known.of(pair) for pair in pairs] == [room, room, None]
    with pytest.raises(KeyError, match="does not say whose x/new.jpg is"):
        credits.read_facts({"seed": 8, "backdrop": "x/new.jpg"})
