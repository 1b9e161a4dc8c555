"""A score by the number of pairs, or of anything, with intervals, as an SVG: one line, a logarithmic axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, MARGIN = 480, 260, 48
LINE = "#5a82c8"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run.

    Attributes:
        x: pairs it was trained on, or whatever the axis counts, at least 1.
        y: mean score.
        low: lower end of its interval.
        high: upper end of it.
        label: what the axis of scores says.
    """

    x: float
    y: float
    low: float
    high: float
    label: str = ""


def plot(points: Sequence[Point], label: str, unit: str = "pairs") -> str:
    """Return the SVG; the unit is that of the other axis.

    Raises:
        ValueError: there is no point.
    """
    if not points:
        raise ValueError("a plot needs at least one point")
    floor, ceiling = min(point.low for point in points), max(point.high for point in points)
    rise = (ceiling - floor) or 1.0
    first, last = math.log(points[0].x), math.log(points[-1].x)
    run = (last - first) or 1.0

    def across(x: float) -> float:
        return MARGIN + (math.log(x) - first) / run * (WIDTH - 2 * MARGIN)

    def down(y: float) -> float:
        return HEIGHT - MARGIN - (y - floor) / rise * (HEIGHT - 2 * MARGIN)

    line = " ".join(f"{across(point.x):.1f},{down(point.y):.1f}" for point in points)
    marks = [_mark(point, across(point.x), down(point.low), down(point.high), down(point.y)) for point in points]
    ends = [_text(6, down(end) + 4, f"{end:.3g}", "start") for end in (floor, ceiling)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="#444">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n'
        f'<polyline points="{line}" fill="none" stroke="{LINE}" stroke-width="2"/>\n'
        + "\n".join(
            [*marks, *ends, _text(WIDTH / 2, 20, label, "middle"), _text(WIDTH / 2, HEIGHT - 6, unit, "middle")]
        )
        + "\n</svg>\n"
    )


def _mark(point: Point, x: float, low: float, high: float, y: float) -> str:
    """Return one point with its interval and its number."""
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{LINE}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{LINE}"/>{_text(x, HEIGHT - 24, f"{point.x:g}", "middle")}'
    )


def _text(x: float, y: float, words: str, anchor: str) -> str:
    """Return a label."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
