"""Write a card for every shipped task, and their index, into docs/tasks.

    python -m recipes.cards                          # seconds: nothing is measured here, see recipes.results

A card tells how the adapter was trained (its passport, and the log of the run where that is still on this machine),
what it scores (docs/results/TASK.json), at how many pairs (docs/results/efficiency.json), what it looks like
(docs/tasks/TASK.jpg) and where it fails.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyrefill import tasks
from anyrefill.backbone.adapters.header import read_passport
from anyrefill.backbone.adapters.lora import TARGETS
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.embedded import adapter_of, shipped
from anyrefill.evaluate.goals import GOALS, goal_table, outcome
from anyrefill.evaluate.report import Report, Score, read_reports, table
from anyrefill.files import write_text
from anyrefill.painter import STEPS
from anyrefill.tasks import Task
from recipes.plots import Point, plot
from recipes.stored import DOCS, stored
from recipes.world.fetch import WORLD

RUNS = WORLD.parent / "runs"

PEOPLE = "It learnt from rendered people, and the scores above are of 18 other rendered people"
FAILURES = {
    "age": (
        "Faces come out soft, with an 8-pixel grid in the skin, and hair that changes leaves torn edges and brown "
        f"haloes. {PEOPLE}. Real people on a photograph are left nearly as they are: their hair changes its "
        "colour a little, and no wrinkle comes."
    ),
    "blueprint": "The paper is right and bold outlines are there, broken and smeared; fine lines are missing.",
    "canny-to-image": (
        "Edges come back as texture more than as objects: what lies between them is guessed. The bare backbone's edges "
        "are nearer, since it copies the white lines themselves: its kernel distance tells."
    ),
    "colorization": (
        "Colours wander: large surfaces take a plausible tone rather than the right one, and single patches a wrong "
        "one, such as green in a night sky."
    ),
    "deblur": "Fine texture is smoothed away with the noise; letters do not come back.",
    "depth-to-image": (
        "The layout stands, but things are soft blobs: neither depth nor words tell what they are. Portraits get skin "
        "and hair of odd colours. The bare backbone's depth is nearer, since it copies the map: its kernel distance "
        "tells."
    ),
    "gender": (
        "Hair turns to a halo through which the old outline shows, and faces are soft; no beard comes unless the "
        f"caption asks for it. {PEOPLE}. Real people on a photograph are left nearly as they are: their hair is "
        "smeared a little at its outline, and nobody changes."
    ),
    "image-to-canny": (
        "In busy texture the lines close to a grid of small cells; faint edges are missing. Lines count within 1 px, "
        "so that a plain grid of lines 3 px apart has F1 0.57 on the same pairs "
        "(`python -m benchmarks.grid`): read the score against that."
    ),
    "image-to-depth": (
        "Floor and walls are right, what stands on them, people too, soft heaps of 16-pixel tiles; thin parts go. It "
        "learnt from rendered and drawn scenes alone: a head that fills the picture stands out, a person farther away "
        "may sink into the wall."
    ),
    "image-to-segment": (
        "A subject as busy as what is behind it is found in part or not at all, and an arch or a boat behind it may be "
        "marked instead; thin parts go."
    ),
    "ref-inpainting": (
        "Colours come from the right places, shapes smeared: nearer than the bare backbone, and softer. Where two "
        "views hardly differ, copying the reference looks better than this (LPIPS in the table), though its pixels are "
        "farther."
    ),
    "relight": (
        "The light's colour arrives, in what is behind, too; its side as a slope across the picture more than as "
        "shading of the face; fine shadows of the first light stay, and none is cast. It knows warm, cold, white and "
        "green light from the left, the right, above and the front: other words are taken and mean nothing to it. "
        f"{PEOPLE}; of photographs it learnt a light that was computed for round shapes before a wall."
    ),
    "segment-to-image": (
        "The outline is kept, but colours are loud and flat, or nearly black: shape without the material of the thing."
    ),
    "super-resolution": "Blocks of 16 px become a soft picture of the same colours; what was lost is not invented.",
}
"""What was seen to go wrong again and again; the three worst pairs stand on every sheet anyway."""

PHOTOGRAPHED = ("age", "gender", "relight", "image-to-depth")
"""Tasks that recipes.photographs shows on a photograph, as they learnt from renders."""

FURTHER = {
    "age": {"age-in-photographs": "People placed in photographs", "age+gender": "With gender in one picture"},
    "gender": {
        "gender-in-photographs": "People placed in photographs",
        "gender-described": "Captions that tell of hair and beard, too",
        "age+gender": "With age in one picture",
    },
    "relight": {"relight-photographs": "Photographs whose new light is computed"},
    "image-to-segment": {
        "image-to-segment-any-background": "On any background",
        "image-to-segment-photographs": "In photographs on which nothing was pasted, beside what U2-Net-p marks",
    },
}
"""Other sheets of held-out pairs, by task."""

COPY, OTHER, BARE = "copy of the reference", "from another reference", "without the adapter"


def write_all(docs: Path = DOCS, runs: Path = RUNS) -> None:
    """Write every card and the index."""
    note_times(docs / "results" / "training.json", runs)
    for name in shipped():
        points = efficiency(docs / "results" / "efficiency.json", name)
        if points:
            write_text(docs / "tasks" / f"{name}-pairs.svg", plot(points, label=points[0].label))
        write_text(docs / "tasks" / f"{name}.md", card(name, docs, points))
    write_text(docs / "tasks" / "index.md", index(docs))


def card(name: str, docs: Path, points: Sequence["Point"] = ()) -> str:
    """Return the card of one task."""
    task = tasks.get(name)
    return (
        "\n\n".join([f"# {name}", f"{task.summary}.", *_use(task), *_training(name, docs), *_found(name, docs, points)])
        + "\n"
    )


def index(docs: Path) -> str:
    """Return the table of all tasks with what each scores first of all."""
    rows = [["task", "what", "score", "painted", COPY, BARE, "goals met"]]
    for name in shipped():
        report = report_of(name, docs)
        rows.append(
            [
                f"[{name}]({name}.md)",
                tasks.get(name).summary,
                *(_scores(report) if report else ["", "not measured"] + [""] * 3),
            ]
        )
    head = (
        "# Tasks\n\nWhat ships with the embedded backbone. Means over held-out pairs with 95 % intervals; each card "
        "has all scores, how the adapter was trained, pictures, and where it fails. Written by "
        "`python -m recipes.cards`; [how adapters act together](mixing.md), whether they obey "
        "[words for colours](colour-words.md) and [words never met together](unseen-words.md)."
    )
    return f"{head}\n\n{table(rows)}\n"


def report_of(name: str, docs: Path) -> Report | None:
    """Return what was measured of a task, if anything was."""
    path = docs / "results" / f"{name}.json"
    return read_reports(path)[0] if path.is_file() else None


def note_times(path: Path, runs: Path) -> None:
    """Keep how long each adapter was trained, as the logs of runs on this machine tell, in a file that is committed."""
    times = stored(path, {})
    for log in sorted(runs.glob("*/log.jsonl")):
        if (log.parent / "adapter.safetensors").is_file() and log.parent.name in shipped():
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            times[log.parent.name] = {
                "steps": lines[-1]["step"],
                "seconds": round(sum(line["seconds"] for line in lines)),
            }
    write_text(path, json.dumps(times, indent=1, sort_keys=True) + "\n")


def efficiency(path: Path, name: str) -> list["Point"]:
    """Return a task's score by how many pairs it was trained on: on the base that ships, else on an earlier one."""
    entries = [entry for entry in stored(path, []) if entry["task"] == name]
    base = base_of(adapter_of(name))
    here = [entry for entry in entries if entry.get("base") == base]
    entries, where = (here, "") if here else (entries, ", on an earlier base")
    return [
        Point(
            x=entry["pairs"],
            y=entry["mean"],
            low=entry["low"],
            high=entry["high"],
            label=f"{entry['metric']}, {entry['steps']} steps each{where}",
        )
        for entry in sorted(entries, key=lambda entry: entry["pairs"])
    ]


def base_of(adapter: Path) -> str:
    """Return a short name of the base that an adapter was trained on: the beginning of its fingerprint."""
    return read_passport(adapter).fingerprint[:12]


def _use(task: Task) -> Iterator[str]:
    """Yield how one asks for it."""
    words = ' --caption "..."' if task.caption_required else ""
    kept = " TARGET.jpg --mask HOLE.png" if task.mask is not tasks.whole_panel else ""
    yield f"```sh\nanyrefill paint {task.name} REFERENCE.jpg{kept}{words} --out painted.png\n```"
    yield f"Prompt: `{task.prompt}`" + (" (a caption is needed)." if task.caption_required else ".")


def _training(name: str, docs: Path) -> Iterator[str]:
    """Yield how the adapter came about."""
    passport, path = read_passport(adapter_of(name)), docs / "results" / "training.json"
    known = stored(path, {}).get(name)
    time = (
        f"{known['seconds'] / 60:.0f} minutes of one shared core"
        if known and known["steps"] == passport.steps
        else "not kept"
    )
    yield table(
        [
            ["training", ""],
            ["pairs, last run", str(passport.pairs)],
            ["steps of 16", _steps(passport)],
            ["painted in", f"{_painted(passport)} ([why](few-steps.md))"],
            ["time, last run", time],
            ["rank", str(passport.rank)],
            ["layers", _layers(passport.targets)],
            ["attention", passport.attention],
            ["file", f"{adapter_of(name).stat().st_size / 1e6:.1f} MB"],
        ]
    )


def _painted(passport: Passport) -> str:
    """Return how the adapter asks to be painted with."""
    noise = "" if passport.temperature_paint else ", without noise"
    heed = passport.reference_guidance_paint
    guided = "" if heed == 1 else f", reference guidance {heed:g}"
    averaged = ", averaged with the mirror image's painting" if passport.mirrored_paint else ""
    return f"{passport.steps_paint or STEPS} Euler steps{noise}{guided}{averaged}"


def _steps(passport: Passport) -> str:
    """Return how many steps were taken, and how many before, by the adapter that this one began as."""
    before = f", after {passport.steps_before} of earlier runs" if passport.steps_before else ""
    return f"{passport.steps}{before}"


def _layers(targets: tuple[str, ...]) -> str:
    """Return the name of a list of layers, or the list."""
    names = [name for name, layers in TARGETS.items() if set(layers) == set(targets)]
    return names[0] if names else ", ".join(targets)


def _found(name: str, docs: Path, points: Sequence["Point"]) -> Iterator[str]:
    """Yield what was measured and seen."""
    report = report_of(name, docs)
    if report is None:
        yield "Not measured yet."
        return
    yield "## Scores on held-out pairs"
    yield report.to_markdown()
    if any(goal.task == name for goal in GOALS):
        yield f"## Goals\n\n{goal_table([report])}"
    if (docs / "tasks" / f"{name}.jpg").is_file():
        metric = report.rows[0].scores[0].metric
        yield (
            f"## Pictures\n\nLeft the first four held-out pairs, right the three worst by {metric}; whose pictures "
            "these are: [Credits](../credits.md)."
        )
        yield f"![what {name} was given, painted, and should have painted]({name}.jpg)"
        for sheet, words in FURTHER.get(name, {}).items():
            yield f"{words} ([scores](../results.md#{sheet.replace('+', '')})):"
            yield f"![what {sheet} was given, painted, and should have painted]({sheet}.jpg)"
    if name in PHOTOGRAPHED:
        yield from _on_a_photograph(name, docs)
    if points:
        yield (
            "## Fewer pairs\n\nAdapters from nothing, of as many steps each (`python -m recipes.efficiency`), 95 % "
            "intervals."
        )
        yield f"![score by pairs]({name}-pairs.svg)"
    if name in FAILURES:
        yield f"## Known failures\n\n{FAILURES[name]}"


def _on_a_photograph(name: str, docs: Path) -> Iterator[str]:
    """Yield what the task makes of photographs, where it learnt from renders."""
    yield (
        "## On a photograph\n\nThe same woman (NASA, public domain), whole and cut to head and shoulders; nothing "
        "is known that these could be scored by (`python -m recipes.photographs`)."
    )
    yield "![a photograph edited, relit and its depth](photographs.jpg)"
    if name in (boxed := stored(docs / "results" / "boxes.json", {})):
        yield from _boxed(boxed[name])


def _boxed(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a box around the person pays."""
    yield (
        f"Rendered people placed in photographs, painted whole and in a [box](../guides/paint.md#a-part-of-a-picture) "
        f"around the person, {found['side']:.2f} of the picture's side on average ({found['pairs']} pairs, "
        "`python -m recipes.boxes`):"
    )
    rows = [
        [one["way"], f"{one['rmse']:.3f}", f"{one['rmse'] / found['copied']:.0%}", f"{one['background']:.3f}"]
        for one in found["ways"]
    ]
    yield table([["painted", "rmse ↓", "of copying", "lpips_background ↓"], *rows])


def _scores(report: Report) -> list[str]:
    """Return a line of the index: score, its mean for painter and baselines, goals met."""
    goals = [goal for goal in GOALS if goal.task == report.task and goal.row == "painted"]
    metric = goals[0].metric if goals else report.rows[0].scores[0].metric
    met = [outcome(goal, report).met for goal in GOALS if goal.task == report.task]
    return [
        metric,
        *(_cell(report, row, metric) for row in ("painted", COPY, BARE)),
        f"{met.count(True)} of {len(met)}" if met else "",
    ]


def _cell(report: Report, row: str, metric: str) -> str:
    """Return one score, or nothing where there is none."""
    try:
        score: Score = report.score(row, metric)
    except KeyError:
        return ""
    return str(score)


if __name__ == "__main__":
    write_all()
