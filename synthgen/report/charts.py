"""Charts as inline SVG: text stays text, numbers show under the pointer, dark pages work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

from synthgen.report.svg import (
    BINS,
    Scale,
    draw_text,
    format_number,
    round_steps,
    wrap_svg,
)

__all__ = [
    "Series",
    "draw_distribution",
    "draw_heat_map",
    "draw_spark",
]

FEW = 5  # values of a class from which its spread is drawn; fewer are drawn one by one
WIDTH, LEFT, RIGHT, TOP = 620, 112, 12, 8
PLOT, AXIS, STRIP = 120, 24, 16  # heights: of the bars, the axis and the strip of one class
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
WITHIN, OUTSIDE = "#2f9e73", "#d1603d"  # the limits


@dataclass(frozen=True, eq=False)
class Series:
    """Named numbers in one colour, all of them finite; build it with ``of``."""

    name: str
    values: NDArray[np.float64]
    colour: str

    @classmethod
    def of(cls, name: str, values: ArrayLike, colour: str) -> Series:
        """Return the series of those values that are finite; ``colour`` is a CSS colour."""
        numbers = np.asarray(values, np.float64)
        return cls(name, numbers[np.isfinite(numbers)], colour)


def draw_distribution(
    series: Sequence[Series],
    title: str,
    *,
    is_log: bool = False,
    span: tuple[float, float] | None = None,
    is_fraction: bool = False,
) -> Markup:
    """Return a histogram of all series over a strip for each, on one axis.

    Stacked counts; with ``is_fraction``, each series on its own in per cent, the first filled, the
    others as outlines. A strip shows 5 to 95 %, the middle half and the median, or the single
    values where there are fewer than 5. ``span``: the axis, where the values
    shall not say it.
    """
    shown = [one for one in series if len(one.values)]
    scale = Scale.over([one.values for one in shown], is_log, span, LEFT, WIDTH - LEFT - RIGHT)
    counts = [np.histogram(one.values, scale.edges)[0].astype(float) for one in shown]
    if is_fraction:
        counts = [100 * count / max(1.0, count.sum()) for count in counts]
    unit = "%" if is_fraction else ""
    top = 1.0  # of the highest column, or of the highest stack of them
    if counts:
        table = np.array(counts)
        top = max(float(table.max() if is_fraction else table.sum(0).max()), 1e-9)
    strips = TOP + PLOT + AXIS
    height = strips + STRIP * len(shown) + 4
    parts = _grid(top, unit, scale, height - 4)
    base = np.zeros(BINS)
    for number, (one, count) in enumerate(zip(shown, counts, strict=True)):
        if is_fraction and number:
            parts += _outline(one, count, scale, top)
        else:
            parts += _columns(one, count, base, scale, top, unit)
            base = base if is_fraction else base + count
    for number, one in enumerate(shown):
        parts += _strip(one, scale, strips + STRIP * number + STRIP / 2)
    names = ", ".join(one.name for one in shown) or "nothing"
    return wrap_svg(parts, WIDTH, height, f"{title}: distribution of {names}")


def draw_heat_map(
    x: ArrayLike, y: ArrayLike, colour: str, label: str, cells: int = 12, ratio: float = 1.0
) -> Markup:
    """Return how many points lie where in an image, in ``cells`` x ``cells`` fields.

    ``x`` and ``y`` are fractions of its width and height; ``ratio`` is its height over its width.
    """
    counts, _, _ = np.histogram2d(np.asarray(y), np.asarray(x), cells, ((0, 1), (0, 1)))
    size, high = 120 / cells, 120 / cells * ratio
    parts = []
    for (row, column), count in np.ndenumerate(counts):
        if count:
            fraction = 0.15 + 0.85 * count / counts.max()
            parts.append(
                f'<rect x="{column * size:.1f}" y="{row * high:.1f}" width="{size:.1f}" '
                f'height="{high:.1f}" fill="{colour}" fill-opacity="{fraction:.2f}">'
                f"<title>{count:.0f} of {counts.sum():.0f}</title></rect>"
            )
    parts.append(
        f'<rect x=".5" y=".5" width="119" height="{120 * ratio - 1:.1f}" fill="none" '
        'stroke="currentColor" stroke-opacity=".5"/>'
    )
    return wrap_svg(parts, 120, round(120 * ratio), label)


def draw_spark(
    values: ArrayLike,
    least: float | None,
    most: float | None,
    label: str,
    span: tuple[float, float] | None = None,
) -> Markup:
    """Return a small histogram with what lies outside the limits in red, and the limits.

    The axis holds the values and the limits, and ``span`` where it is given. A value on a limit
    keeps it; ``label`` is what a screen reader says.
    """
    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    limits = [limit for limit in (least, most) if limit is not None]
    scale = Scale.over([numbers, np.array([*limits, *(span or ())])], False, None, 1.0, 170.0)
    low, high = -math.inf if least is None else least, math.inf if most is None else most
    is_out = (numbers < low) | (numbers > high)
    counts = [np.histogram(part, scale.edges)[0] for part in (numbers[~is_out], numbers[is_out])]
    top = max(1.0, float((counts[0] + counts[1]).max()))
    base = np.zeros(BINS)
    parts = []
    for name, colour, count in zip(
        ("within", "outside"), ("#2f9e73", "#d1603d"), counts, strict=True
    ):
        for place in map(int, np.flatnonzero(count)):
            x, wide = scale.bar(place)
            tall = max(1.5, 30 * (count[place] / top))  # one among many is seen
            y = 34 - tall - 30 * base[place] / top
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
                f'fill="{colour}"><title>{count[place]} {name}, {scale.words(place)}</title></rect>'
            )
        base = base + count
    parts.append('<path d="M0 34.5H172" stroke="currentColor" stroke-opacity=".4"/>')
    for limit in limits:
        x = scale.place(limit)
        parts.append(
            f'<path d="M{x:.1f} 1V38" stroke="currentColor" stroke-width="1.4" '
            f'stroke-dasharray="3 2"><title>limit {format_number(limit)}</title></path>'
        )
    return wrap_svg(parts, 172, 40, label)


def _grid(top: float, unit: str, scale: Scale, bottom: float) -> list[str]:
    """Return the lines at round counts and, down through all strips, at round values."""
    parts = []
    for mark in round_steps(0, top, 3):
        if not unit and mark != round(mark):
            continue
        y = TOP + PLOT * (1 - mark / top)
        parts += [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="currentColor" '
            'stroke-opacity=".13"/>',
            draw_text(LEFT - 8, y + 4, f"{mark:,.4g}{unit}", "end", soft=True),
        ]
    for mark in scale.ticks():
        x = scale.place(mark)
        parts += [
            f'<path d="M{x:.1f} {TOP}V{bottom:.0f}" stroke="currentColor" stroke-opacity=".08"/>',
            draw_text(x, TOP + PLOT + 15, f"{mark:,g}", "middle", soft=True),
        ]
    return parts


def _columns(
    one: Series,
    counts: NDArray[np.float64],
    base: NDArray[np.float64],
    scale: Scale,
    top: float,
    unit: str,
) -> list[str]:
    parts = []
    for place in map(int, np.flatnonzero(counts)):
        x, wide = scale.bar(place)
        tall = PLOT * counts[place] / top
        y = TOP + PLOT - PLOT * base[place] / top - tall
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
            f'fill="{one.colour}"{" fill-opacity=" + chr(34) + ".55" + chr(34) if unit else ""}>'
            f"<title>{_counted(one, counts[place], scale.words(place), unit)}</title></rect>"
        )
    return parts


def _outline(one: Series, counts: NDArray[np.float64], scale: Scale, top: float) -> list[str]:
    steps, hovers = [f"M{scale.place(scale.edges[0]):.1f} {TOP + PLOT}"], []
    for place, count in enumerate(counts):
        y, end = TOP + PLOT * (1 - count / top), scale.place(scale.edges[place + 1])
        steps.append(f"V{y:.1f}H{end:.1f}")
        if count:
            x, wide = scale.bar(place)
            words = _counted(one, count, scale.words(place), "%")
            hovers.append(
                f'<rect x="{x:.1f}" y="{y - 4:.1f}" width="{wide:.1f}" height="8" '
                f'fill="transparent"><title>{words}</title></rect>'
            )
    path = "".join([*steps, f"V{TOP + PLOT}"])
    return [f'<path d="{path}" fill="none" stroke="{one.colour}" stroke-width="2"/>', *hovers]


def _counted(one: Series, count: float, words: str, unit: str) -> str:
    return f"{escape(one.name)}: {format_number(count)}{' ' + unit if unit else ''}, {words}"


def _strip(one: Series, scale: Scale, y: float) -> list[str]:
    parts = [draw_text(LEFT - 8, y + 4, one.name, "end")]
    if len(one.values) < FEW:
        return parts + [
            f'<circle cx="{scale.place(value):.1f}" cy="{y:.1f}" r="3.5" fill="{one.colour}">'
            f"<title>{escape(one.name)}: {format_number(value)}</title></circle>"
            for value in one.values
        ]
    marks = np.quantile(one.values, QUANTILES)
    low, start, middle, end, high = (scale.place(mark) for mark in marks)
    said = ", ".join(
        f"{fraction:.0%} {format_number(mark)}"
        for fraction, mark in zip(QUANTILES, marks, strict=True)
    )
    colour = one.colour
    return [
        *parts,
        f"<g><title>{escape(one.name)}, n = {len(one.values):,}: {said}</title>"
        f'<rect x="{low:.1f}" y="{y - 6:.1f}" width="{high - low:.1f}" height="12" '
        'fill="transparent"/>'
        f'<path d="M{low:.1f} {y:.1f}H{high:.1f}" stroke="{colour}" stroke-width="2"/>'
        f'<rect x="{start:.1f}" y="{y - 4.5:.1f}" width="{max(1.0, end - start):.1f}" '
        f'height="9" fill="{colour}"/>'
        f'<path d="M{middle:.1f} {y - 6:.1f}V{y + 6:.1f}" stroke="currentColor" '
        'stroke-width="2.4"/></g>',
    ]
