"""Draw who attends to whom in the three modes of attention: docs/images/attention.png.

    python -m recipes.attention_figure

Rows attend to columns. Clean tokens see clean tokens alone, so what they give is the same in every step, and is kept.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from anyrefill import images
from anyrefill.backbone import ATTENTIONS, Attention

OUT = Path(__file__).parents[1] / "docs" / "images" / "attention.png"
GROUPS = (("prompt", 2), ("known", 4), ("noisy", 4))
"""Kinds of tokens, and how many squares stand for each."""

SQUARE, GAP, LEFT, TOP, APART, BELOW = 26, 2, 86, 92, 40, 96
INK, ONCE, EVERY, NONE = (40, 40, 40), (120, 170, 110), (95, 125, 190), (238, 238, 238)
SAYING: dict[Attention, tuple[str, str]] = {
    "full": ("all tokens pass every step:", "the paper's mode"),
    "clean_ref": ("known tokens pass once,", "prompt and noisy ones every step"),
    "clean_ref_text": ("known tokens and prompt pass once,", "noisy ones every step"),
}


def clean(attention: Attention, kind: str) -> bool:
    """Return whether tokens of a kind pass once, at noise level 0."""
    return {"full": False, "clean_ref": kind == "known", "clean_ref_text": kind != "noisy"}[attention]


def attends(attention: Attention, kind: str, other: str) -> bool:
    """Return whether tokens of a kind see those of another: clean ones see clean ones alone."""
    return clean(attention, other) or not clean(attention, kind)


def draw_mode(draw: ImageDraw.ImageDraw, attention: Attention, left: int) -> None:
    """Draw one mode's matrix: rows attend to columns."""
    font, kinds = ImageFont.load_default(14), [kind for kind, count in GROUPS for _ in range(count)]
    draw.text((left, 14), attention, fill=INK, font=ImageFont.load_default(18))
    for row, kind in enumerate(kinds):
        for column, other in enumerate(kinds):
            colour = (ONCE if clean(attention, kind) else EVERY) if attends(attention, kind, other) else NONE
            x, y = left + column * SQUARE, TOP + row * SQUARE
            draw.rectangle([x, y, x + SQUARE - GAP, y + SQUARE - GAP], fill=colour)
    start = 0
    for kind, count in GROUPS:
        middle = (start + count / 2) * SQUARE
        draw.text((left + middle, TOP - 12), kind, fill=INK, font=font, anchor="mm")
        draw.text((left - 8, TOP + middle), kind, fill=INK, font=font, anchor="rm")
        start += count
    for line, words in enumerate(SAYING[attention]):
        draw.text((left, TOP + start * SQUARE + 12 + 20 * line), words, fill=INK, font=font)


def figure() -> Image.Image:
    """Return the three matrices side by side, and what the colours mean."""
    side = SQUARE * sum(count for _, count in GROUPS)
    step = side + LEFT + APART
    picture = Image.new("RGB", (step * len(ATTENTIONS), TOP + side + BELOW), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for number, attention in enumerate(ATTENTIONS):
        draw_mode(draw, attention, LEFT + number * step)
    words = ((ONCE, "computed once for a canvas"), (EVERY, "computed in every step"), (NONE, "not attended to"))
    for number, (colour, meaning) in enumerate(words):
        x, y = LEFT + 260 * number, TOP + side + BELOW - 30
        draw.rectangle([x, y, x + 16, y + 16], fill=colour)
        draw.text((x + 24, y + 8), meaning, fill=INK, font=font, anchor="lm")
    return picture


def main() -> None:
    """Save the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    images.save(figure(), parser.parse_args().out)


if __name__ == "__main__":
    main()
