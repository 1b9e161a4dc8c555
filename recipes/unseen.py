"""Ask for words that no training caption held together: arXiv 2502.11158, figure 16, for the embedded backbone.

    python -m recipes.unseen                             # what is not measured on the base that ships;
                                                         # 12 minutes a task on one core, 25 without bfloat16
    python -m recipes.unseen --task relight --steps 300

Two adapters of each task learn from nothing, alike but for their pairs, of which both have as many: one never met
certain words together in a caption, though each of them with others; the other did. Both are asked for these words on
held-out pairs, and for words that both know. Scores go to docs/results/unseen-words.json as they come, the page to
docs/tasks/unseen-words.md.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from anyrefill import images
from anyrefill.backbone.embedded import adapter_of, shipped
from anyrefill.evaluate import evaluate, evaluating, finished
from anyrefill.evaluate.report import Score, table
from anyrefill.files import write_text
from anyrefill.pairs import Pair
from anyrefill.types import Panel
from recipes.cards import COPY, base_of
from recipes.heldout import SOURCES
from recipes.micro.adapters import painter_of, pairs_of, subset, trained
from recipes.stored import DOCS, store_by_task, stored_by_task

SCORES = DOCS / "results" / "unseen-words.json"
PAGE = DOCS / "tasks" / "unseen-words.md"

WITHHELD: Mapping[str, tuple[str, ...]] = {
    "relight": (
        "warm light from the left", "cold light from the right", "white light from above", "green light from the front",
    ),
    "age": ("an old man", "a young woman"),
    "gender": ("an old man", "a young woman"),
}  # fmt: skip
"""Beginnings of captions, by task. Each word of them stands in other captions, too."""

NEVER_MET, MET = "never met", "met"
HEAD = """# Words never met together

Does an adapter obey words that no caption of its pairs held together (figure 16 of the paper)? Of each task two
adapters learn from nothing, alike but for their pairs. One never met the withheld words together in a caption, though
every word of them in others; a reference may show what they name. Both paint held-out pairs that ask for these words,
and others. RMSE to the true target with 95 % intervals, and in percent of copying the reference; "misled" is the same
canvas asked by another pair's caption, so what that costs is what the words tell. Made by `python -m recipes.unseen`.
"""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What one adapter made of one kind of captions.

    Attributes:
        learner: whether the adapter met the withheld words together.
        words: "withheld" or "known".
        count: of held-out pairs.
        mean: RMSE to the true target.
        low: lower end of its 95 % interval.
        high: upper end of it.
        copied: RMSE of the reference.
        misled: RMSE when another pair's caption asks.
    """

    learner: str
    words: str
    count: int
    mean: float
    low: float
    high: float
    copied: float
    misled: float


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Both adapters of one task.

    Attributes:
        steps: of each.
        pairs: that each learnt from.
        base: short name of theirs, see `recipes.cards.base_of`; empty of those before it was kept.
        asked: what they made of either kind of captions.
    """

    steps: int
    pairs: int
    base: str = ""
    asked: tuple[Asked, ...] = ()

    def is_of(self, task: str) -> bool:
        """Return whether they are of the base that a task's shipped adapter is of."""
        return task in shipped() and self.base == base_of(adapter_of(task))


def is_withheld(task: str, caption: str) -> bool:
    """Return whether a caption holds the words that one of the adapters never met together."""
    return caption.startswith(WITHHELD[task])


def tests(task: str, limit: int) -> dict[str, list[Pair]]:
    """Return held-out pairs that ask for the withheld words, and others, up to `limit` each."""
    every = list(SOURCES[task]("test", 0))
    return {
        "withheld": [pair for pair in every if is_withheld(task, pair.caption)][:limit],
        "known": [pair for pair in every if not is_withheld(task, pair.caption)][:limit],
    }


def misled(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs, each with the next caption of the list that is another one.

    Raises:
        ValueError: all captions are the same.
    """
    captions = [pair.caption for pair in pairs]
    if len(set(captions)) < 2:
        raise ValueError("nobody is misled by the caption that is right")
    return [
        replace(pair, caption=next(words for words in captions[index:] + captions if words != pair.caption))
        for index, pair in enumerate(pairs)
    ]


def compare(task: str, options: argparse.Namespace) -> Compared:
    """Train both adapters of a task, ask them, and save pictures of what they made of the withheld words."""
    kinds, asked, columns = tests(task, options.limit), list[Asked](), dict[str, Sequence[Panel]]()
    folder, count = pairs_of(task), options.pairs
    learners = {
        NEVER_MET: subset(folder, count, lambda line: not is_withheld(task, json.loads(line)["caption"]), "unmet"),
        MET: subset(folder, count),
    }
    learnt = {
        learner: trained(task, pairs, f"{pairs.name}-{options.steps}-steps", options.steps)
        for learner, pairs in learners.items()
    }
    for learner, adapter in learnt.items():
        painter = painter_of(task, adapter)
        painter = replace(painter, task=replace(painter.task, judges=()))
        for words, given in kinds.items():
            report, painted = finished(evaluating(painter, given, baselines=False))
            wrong = evaluate(painter, misled(given), baselines=False)
            found = report.score("painted", "rmse")
            one = Asked(
                learner=learner, words=words, count=len(given), mean=found.mean, low=found.low, high=found.high,
                copied=report.score(COPY, "rmse").mean, misled=wrong.score("painted", "rmse").mean,
            )  # fmt: skip
            print(task, one, flush=True)
            asked.append(one)
            columns |= {learner: painted} if words == "withheld" else {}
    _save_sheet(task, kinds["withheld"], columns)
    return Compared(steps=options.steps, pairs=count, base=base_of(learnt[MET]), asked=tuple(asked))


def on_sheet(pairs: Sequence[Pair]) -> list[int]:
    """Return the places of the pairs that a contact sheet shows: one of each of the first four captions."""
    captions = [pair.caption for pair in pairs]
    return sorted(captions.index(words) for words in set(captions))[:4]


def _save_sheet(task: str, pairs: Sequence[Pair], columns: Mapping[str, Sequence[Panel]]) -> None:
    """Save a contact sheet: given, painted by both adapters, true."""
    first = on_sheet(pairs)
    rows = [[pairs[i].reference, *(painted[i] for painted in columns.values()), pairs[i].target] for i in first]
    sheet = images.contact_sheet(rows, ["given", *columns, "target"])
    sheet.save(DOCS / "tasks" / f"unseen-words-{task}.jpg", quality=85, optimize=True)


def known() -> dict[str, Compared]:
    """Return what was measured, by task."""
    return stored_by_task(SCORES, Compared, asked=Asked)


def page(found: Mapping[str, Compared]) -> str:
    """Return docs/tasks/unseen-words.md."""
    parts = [HEAD]
    for name, compared in found.items():
        words = ", ".join(f'"{caption}"' for caption in WITHHELD[name])
        base = "" if compared.is_of(name) else ", on an earlier base"
        parts.append(f"## {name}\n\nWithheld: {words}. {compared.pairs} pairs, {compared.steps} steps each{base}.\n")
        parts.append(table(_lines(compared.asked)) + "\n")
        parts.append(f"![given, never met, met, target](unseen-words-{name}.jpg)\n")
    return "\n".join(parts)


def _lines(asked: Sequence[Asked]) -> list[list[str]]:
    """Return the rows of a task's table."""
    rows = [["asked for words that are", "by one who", "pairs", "RMSE ↓", "of copying", "misled"]]
    for one in sorted(asked, key=lambda one: one.words, reverse=True):
        score = Score(metric="rmse", aim="lower", mean=one.mean, low=one.low, high=one.high)
        who = f"{one.learner} them together" if one.words == "withheld" else f"{one.learner} the withheld ones"
        rows.append([one.words, who, str(one.count), str(score), f"{one.mean / one.copied:.0%}", f"{one.misled:.3f}"])
    return rows


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", nargs="*", choices=list(WITHHELD), help="measure these, even again")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--pairs", type=int, default=500, help="to learn from")
    parser.add_argument("--limit", type=int, default=64, help="held-out pairs of each kind")
    parser.add_argument("--reuse", action="store_true", help="measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    there = known()
    todo = options.task or [name for name in WITHHELD if name not in there or not there[name].is_of(name)]
    for name in () if options.reuse else todo:
        store_by_task(SCORES, name, compare(name, options))
    write_text(PAGE, page(known()))


if __name__ == "__main__":
    main()
