"""Bundle a few held-out renders with the package, for the tasks that `anyrefill demo` cannot make of photographs.

    python -m recipes.demo_pairs                         # after recipes.world.render; seconds

Writes src/anyrefill/assets/photos/pairs/TASK: pictures as JPEG of about 5 kB, masks as PNG; metadata.jsonl names the
authors of all that each pair shows, and CREDITS.md above has it all on one page.
"""

import argparse
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import torch

from anyrefill import images, tasks
from anyrefill.files import whole_folder, write_text
from anyrefill.pairs import METADATA, Pair
from recipes import credits
from recipes.world import render_pairs

EDITS: Mapping[str, Callable[[str], Iterator[Pair]]] = {
    "age": render_pairs.age_pairs,
    "gender": partial(render_pairs.gender_pairs, described=1.0),
    "age+gender": render_pairs.both_pairs,
    "relight": render_pairs.relight_pairs,
    "ref-inpainting": render_pairs.inpainting_pairs,
}
TASKS = (*EDITS, "image-to-depth", "depth-to-image")
LICENCE = "Apache-2.0; what the render shows keeps the licence named there"


def renders(task: str) -> Iterator[Pair]:
    """Yield a task's held-out pairs that were rendered: other held-out pictures are not ours to give on."""
    if task in EDITS:
        yield from EDITS[task]("test")
        return
    for photo in render_pairs.photos("test"):
        pair = tasks.get(task).make(photo, torch.Generator()) if tasks.get(task).make else None
        if pair is not None:
            yield pair


def chosen(task: str, count: int) -> list[Pair]:
    """Return the first pairs of different people or rooms."""
    found: dict[object, Pair] = {}
    for pair in renders(task):
        found.setdefault(pair.extra.get("person", pair.extra.get("room", pair.caption)), pair)
        if len(found) == count:
            break
    return list(found.values())


def write(task: str, pairs: list[Pair], folder: Path, known: credits.Renders) -> None:
    """Write a task's pairs in the place of earlier ones."""
    shutil.rmtree(folder, ignore_errors=True)
    with whole_folder(folder, "pairs") as part:
        part.mkdir(parents=True)
        lines = [
            json.dumps({**facts(pair, known), **save(number, pair, part)}, ensure_ascii=False)
            for number, pair in enumerate(pairs, start=1)
        ]
        (part / METADATA).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{task}: {len(pairs)} pairs, {sum(file.stat().st_size for file in folder.iterdir())} bytes")


def facts(pair: Pair, known: credits.Renders) -> dict[str, str]:
    """Return a pair's caption, whose pictures and models it shows, and under which licence it is given."""
    shown = known.of(pair)
    if shown is None:
        raise ValueError(f"nobody knows what the pair {pair.caption!r} shows")
    return {"caption": pair.caption, "source": f"anyrefill, recipes/world, {shown}", "licence": LICENCE}


def save(number: int, pair: Pair, folder: Path) -> dict[str, str]:
    """Write one pair's pictures and return their names."""
    names: dict[str, str] = {}
    for name, panel in (("reference", pair.reference), ("target", pair.target)):
        names[f"{name}_file_name"] = file = f"{number}-{name}.jpg"
        images.to_pil(panel).save(folder / file, quality=90, optimize=True)
    if pair.mask is not None:
        names["mask_file_name"] = file = f"{number}-mask.png"
        images.to_pil((2 * pair.mask - 1).repeat(3, 1, 1)).convert("1").save(folder / file, optimize=True)
    return names


def main() -> None:
    """Bundle what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=TASKS, action="append")
    parser.add_argument("--count", type=int, default=4)
    args = parser.parse_args()
    known = credits.read_renders()
    for task in args.task or TASKS:
        pairs = chosen(task, args.count)
        if pairs:
            write(task, pairs, credits.BUNDLED / task, known)
        else:
            print(f"{task}: nothing is rendered yet")
    write_text(credits.BUNDLED / credits.CREDITS, credits.bundled())


if __name__ == "__main__":
    main()
