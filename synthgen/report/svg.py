"""What charts are made of: colours, numbers for people, a scale, text and the SVG around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

__all__ = [
    "BINS",
    "Scale",
    "colour_classes",
    "draw_text",
    "format_number",
    "round_steps",
    "wrap_svg",
]

# Each stands out 3 : 1 and more from a white page and from a dark one.
COLOURS = (
    *("#3f7fbf", "#d1603d", "#2f9e73", "#8f63c0", "#b8860b", "#d0509a"),
    *("#1f97a8", "#8a7a3c", "#6f7f2f", "#a8655a", "#6878a8", "#c93a5a"),
)
BINS = 24  # columns of a histogram


def colour_classes(names: Sequence[str]) -> dict[str, str]:
    """Return one colour per class, in order; the 13th has that of the first again.

    >>> colour_classes(["crack", "pit"])
    {'crack': '#3f7fbf', 'pit': '#d1603d'}
    """
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}


def format_number(value: float, digits: int = 3) -> str:
    """Return a number for people, of ``digits`` significant digits; a dash where there is none.

    Digits before the point are never rounded away.

    >>> [format_number(value) for value in (0.12345, 12345.6, 3.0, float("nan"))]
    ['0.123', '12,346', '3', '–']
    """
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value + 0.0:.{digits}g}"  # + 0.0: no -0


@dataclass(frozen=True, eq=False)
class Scale:
    """Where numbers lie from left to right, in SVG units; ``edges`` are those of the bins."""

    edges: NDArray[np.float64]
    is_log: bool
    left: float
    width: float

    @classmethod
    def over(
        cls,
        values: Sequence[NDArray[np.float64]],
        is_log: bool,
        span: tuple[float, float] | None,
        left: float,
        width: float,
    ) -> Scale:
        """Return the scale that holds all values, or ``span``; on a log scale, positive ones.

        Without a positive value the scale is linear; it is 0 to 1 without any value, and wider than
        the values where they are all the same.
        """
        numbers = np.concatenate([np.zeros(0), *values])
        if is_log:
            numbers = numbers[numbers > 0]
        low, high = span or ((numbers.min(), numbers.max()) if len(numbers) else (0.0, 1.0))
        is_log = is_log and len(numbers) > 0
        if high <= low:
            low, high = (low / 1.5, high * 1.5) if is_log else (low - 0.5, high + 0.5)
        spaced = np.geomspace if is_log else np.linspace
        return cls(spaced(low, high, BINS + 1), is_log, left, width)

    def place(self, value: float) -> float:
        """Return where a number lies, in SVG units from the left; one outside lies on the edge."""
        low, high = self.edges[0], self.edges[-1]
        if self.is_log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, 1e-9))
        return float(self.left + self.width * np.clip((value - low) / (high - low), 0, 1))

    def bar(self, place: int) -> tuple[float, float]:
        """Return where the column of the bin begins and its width, less a gap to the next."""
        start, end = self.place(self.edges[place]), self.place(self.edges[place + 1])
        return start, max(0.5, end - start - 0.6)

    def words(self, place: int) -> str:
        """Return the range of a bin in words."""
        low, high = self.edges[place], self.edges[place + 1]
        return f"{format_number(low)} to {format_number(high)}"

    def ticks(self) -> list[float]:
        """Return the round numbers that an axis shows.

        On a log scale 1 and 3 of each decade, or 1, 2, 3, 5 and 7 where it spans 30 times or less.
        """
        low, high = float(self.edges[0]), float(self.edges[-1])
        if self.is_log:
            decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            steps = (1, 3) if high / low > 30 else (1, 2, 3, 5, 7)
            marks = [step * 10.0**power for power in decades for step in steps]
            return [mark for mark in marks if low <= mark <= high]
        return round_steps(low, high, 6)


def round_steps(low: float, high: float, count: int) -> list[float]:
    """Return round numbers between two, about so many, 1, 2 or 5 times a power of ten apart.

    >>> round_steps(0, 1, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * power for unit in (1, 2, 5, 10) if unit * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def draw_text(x: float, y: float, words: str, anchor: str = "start", soft: bool = False) -> str:
    """Return a text element at (x, y), in SVG units; ``anchor`` is SVG's ``text-anchor``.

    A text over 15 characters is cut, and whole under the pointer. ``soft`` makes it paler.
    """
    short = words if len(words) <= 15 else f"{words[:14]}…"
    title = "" if short == words else f"<title>{escape(words)}</title>"
    look = ' fill-opacity=".7"' if soft else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{look}>{escape(short)}{title}</text>'
    )


def wrap_svg(parts: Sequence[str], width: int, height: int, label: str) -> Markup:
    """Return an SVG element of this size, in SVG units; ``label`` names it to screen readers."""
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )
