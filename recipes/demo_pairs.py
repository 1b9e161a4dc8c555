"""Bundle a few held-out renders with the package, for the tasks that `anyrefill demo` cannot make of photographs.

    python -m recipes.demo_pairs                         # after recipes.world.render; seconds

Writes src/anyrefill/assets/photos/pairs/TASK: pictures as JPEG of about 5 kB, masks as PNG, sources in metadata.jsonl.
"""

import argparse
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import torch

from anyrefill import images, tasks
from anyrefill.demo import PHOTOS
from anyrefill.files import whole_folder
from anyrefill.pairs import METADATA, Pair
from recipes.world import render_pairs

EDITS: Mapping[str, Callable[[str], Iterator[Pair]]] = {
    "age": render_pairs.age_pairs,
    "gender": partial(render_pairs.gender_pairs, described=1.0),
    "age+gender": render_pairs.both_pairs,
    "relight": render_pairs.relight_pairs,
    "ref-inpainting": render_pairs.inpainting_pairs,
}
TASKS = (*EDITS, "image-to-depth", "depth-to-image")
SOURCE = "anyrefill, rendered by recipes/world; third-party models and their authors in docs/data.md"
LICENCE = "Apache-2.0; furniture CC0 and CC-BY-3.0; blurred backdrops as in docs/data.md"


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


def write(task: str, pairs: list[Pair], folder: Path) -> None:
    """Write a task's pairs in the place of earlier ones."""
    shutil.rmtree(folder, ignore_errors=True)
    with whole_folder(folder, "pairs") as part:
        part.mkdir(parents=True)
        lines = [_line(number, pair, part) for number, pair in enumerate(pairs, start=1)]
        (part / METADATA).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{task}: {len(pairs)} pairs, {sum(file.stat().st_size for file in folder.iterdir())} bytes")


def _line(number: int, pair: Pair, folder: Path) -> str:
    """Write one pair's pictures and return its line."""
    row = {"caption": pair.caption, "source": SOURCE, "licence": LICENCE}
    for name, panel in (("reference", pair.reference), ("target", pair.target)):
        row[f"{name}_file_name"] = file = f"{number}-{name}.jpg"
        images.to_pil(panel).save(folder / file, quality=90, optimize=True)
    if pair.mask is not None:
        row["mask_file_name"] = file = f"{number}-mask.png"
        images.to_pil((2 * pair.mask - 1).repeat(3, 1, 1)).convert("1").save(folder / file, optimize=True)
    return json.dumps(row, ensure_ascii=False)


def main() -> None:
    """Bundle what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=TASKS, action="append")
    parser.add_argument("--count", type=int, default=4)
    args = parser.parse_args()
    for task in args.task or TASKS:
        pairs = chosen(task, args.count)
        if pairs:
            write(task, pairs, PHOTOS / "pairs" / task)
        else:
            print(f"{task}: nothing is rendered yet")


if __name__ == "__main__":
    main()
