"""The benchmark as a picture: how many times faster than plain diffusers, and the goals as marks."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from anyrefill.bench.rows import Row

__all__ = ["plot"]

WIDTH, LEFT, RIGHT, LINE, HEAD = 960, 330, 70, 22, 34
GREY, INK, BAR, COARSE, GOAL = (225, 225, 225), (40, 40, 40), (95, 125, 190), (225, 150, 80), (190, 40, 40)


def plot(rows: Sequence[Row]) -> Image.Image:
    """Return a bar for every timed row, a table below the other; a red mark stands at a goal over plain float32."""
    timed = [row for row in rows if row.gain is not None and row.low is not None]
    tables = list(dict.fromkeys(row.table for row in timed))
    height = HEAD + sum(HEAD + LINE * sum(row.table == table for row in timed) for table in tables)
    picture = Image.new("RGB", (WIDTH, height), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    draw.text((10, 10), "times faster than plain diffusers in float32; red: the goal", fill=INK, font=font)
    top = HEAD
    for table in tables:
        draw.text((10, top + 12), table, fill=INK, font=ImageFont.load_default(15))
        top += HEAD
        some = [row for row in timed if row.table == table]
        marks = {row.name: goal for row in some if (goal := _goal(rows, row)) is not None}
        longest = max([row.gain or 0.0 for row in some] + list(marks.values()))
        for row in some:
            _bar(draw, top, row, marks.get(row.name), longest)
            top += LINE
    return picture


def _bar(draw: ImageDraw.ImageDraw, top: int, row: Row, goal: float | None, longest: float) -> None:
    """Draw one row."""
    font, scale = ImageFont.load_default(13), (WIDTH - LEFT - RIGHT) / longest
    gain, middle = row.gain or 0.0, top + LINE // 2
    draw.text((24, middle), row.name, fill=INK, font=font, anchor="lm")
    draw.line([(LEFT, middle), (WIDTH - RIGHT, middle)], fill=GREY)
    draw.rectangle([LEFT, top + 4, LEFT + gain * scale, top + LINE - 4], fill=COARSE if "bfloat" in row.name else BAR)
    draw.text((WIDTH - RIGHT + 8, middle), f"{gain:.2f}", fill=INK, font=font, anchor="lm")
    if goal is not None:
        draw.line([(LEFT + goal * scale, top + 1), (LEFT + goal * scale, top + LINE - 1)], fill=GOAL, width=3)


def _goal(rows: Sequence[Row], timed: Row) -> float | None:
    """Return the goal that a timed row is held to over plain float32, if any."""
    name = f"{timed.table}: {timed.name}, over plain float32"
    found = [float(row.goal.split()[-1]) for row in rows if row.name == name and row.goal]
    return found[0] if found else None
