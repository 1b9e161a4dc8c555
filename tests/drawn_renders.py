"""Drawn stand-ins for renders of people and rooms."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64
STATES = [f"{age}-{who}" for age in ("child", "young", "old") for who in ("woman", "man")]


def a_picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((SIDE, SIDE, 3), value, np.uint8)).save(path)


def a_mask(path: Path, columns: int) -> None:
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[:, :columns] = 255
    Image.fromarray(pixels).save(path)


def a_depth(path: Path) -> None:
    Image.fromarray(np.linspace(0, 65_535, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)).save(path)


def a_person(root: Path, seed: int) -> dict[str, object]:
    """Draw six states in one light, and one of them in a second light."""
    folder, shots = root / "people" / "train" / f"{seed:06d}", []
    for index, state in enumerate(STATES):
        lights = ["warm light from the left"] + ["cold light from above"] * (state == "old-man")
        for number, light in enumerate(lights):
            a_picture(folder / f"{state}.{number}.png", 20 * index + 5 * number + seed)
            shots.append(
                {"file": f"{state}.{number}.png", "mask": f"{state}.mask.png", "depth": f"{state}.depth.png",
                 "state": state, "words": state.replace("-", " "), "light": light}
            )  # fmt: skip
        a_mask(folder / f"{state}.mask.png", 8 * (index + 1))
        a_depth(folder / f"{state}.depth.png")
    return {"folder": folder.name, "seed": seed, "pictures": shots}


def a_room(root: Path, seed: int) -> dict[str, object]:
    folder = root / "rooms" / "train" / f"{seed:06d}"
    for view in "01":
        a_picture(folder / f"{view}.png", 100 + int(view))
        a_depth(folder / f"{view}.depth.png")
    return {"folder": folder.name, "seed": seed, "words": "an office with a desk", "credits": []}


def draw_renders(root: Path) -> Path:
    """Draw two people and two rooms to train on."""
    for kind, make in (("people", a_person), ("rooms", a_room)):
        lines = [json.dumps(make(root, seed)) for seed in (1, 2)]
        (root / kind / "train" / "manifest.jsonl").write_text("\n".join(lines))
    return root
