"""Charts as inline SVG: text stays text, numbers show under the pointer, dark pages work."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "FEW",
    "Series",
    "colour_classes",
    "draw_bars",
    "draw_distribution",
    "draw_heat_map",
    "draw_histogram",
    "draw_spark",
    "format_number",
]

# Each stands out 3 : 1 and more from a white page and from a dark one.
COLOURS = (
    *("#3f7fbf", "#d1603d", "#2f9e73", "#8f63c0", "#b8860b", "#d0509a"),
    *("#1f97a8", "#8a7a3c", "#6f7f2f", "#a8655a", "#6878a8", "#c93a5a"),
)
BINS = 24
FEW = 5  # values of a class from which its spread is drawn; fewer are drawn one by one
WIDTH, LEFT, RIGHT, TOP = 620, 112, 12, 8
PLOT, AXIS, STRIP = 120, 24, 16  # heights: of the bars, the axis and the strip of one class
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class Series:
    """Named numbers in one colour; NaN are left out."""

    name: str
    values: NDArray[np.float64]
    colour: str

    @classmethod
    def of(cls, name: str, values: ArrayLike, colour: str) -> Series:
        numbers = np.asarray(values, np.float64)
        return cls(name, numbers[np.isfinite(numbers)], colour)


def colour_classes(names: Sequence[str]) -> dict[str, str]:
    """Return one colour per class, in order; the 13th has that of the first again.

    >>> colour_classes(["crack", "pit"])
    {'crack': '#3f7fbf', 'pit': '#d1603d'}
    """
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}


def format_number(value: float, digits: int = 3) -> str:
    """Return a number for people; a dash where there is none.

    >>> [format_number(value) for value in (0.12345, 12345.6, 3.0, float("nan"))]
    ['0.123', '12,346', '3', '–']
    """
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value + 0.0:.{digits}g}"  # + 0.0: no -0


def draw_distribution(
    series: Sequence[Series],
    label: str,
    *,
    is_log: bool = False,
    span: tuple[float, float] | None = None,
    is_share: bool = False,
) -> Markup:
    """Return a histogram of all series over a strip for each, on one axis.

    Stacked counts; with ``is_share``, each series on its own in per cent, the first filled, the
    others as outlines. A strip shows 5 to 95 %, the middle half and the median, or the single
    values where there are few.
    """
    shown = [one for one in series if len(one.values)]
    scale = _Scale.over([one.values for one in shown], is_log, span)
    counts = [np.histogram(one.values, scale.edges)[0].astype(float) for one in shown]
    if is_share:
        counts = [100 * count / max(1.0, count.sum()) for count in counts]
    top = max((_highest(counts, is_share), 1e-9))
    strips = TOP + PLOT + AXIS
    height = strips + STRIP * len(shown) + 4
    parts = [*_grid(top, "%" if is_share else ""), *_axis(scale, TOP + PLOT, height - 4)]
    base = np.zeros(BINS)
    for number, (one, count) in enumerate(zip(shown, counts, strict=True)):
        if is_share and number:
            parts += _outline(one, count, scale, top)
        else:
            parts += _columns(one, count, base, scale, top, "%" if is_share else "")
            base = base if is_share else base + count
    for number, one in enumerate(shown):
        parts += _strip(one, scale, strips + STRIP * number + STRIP / 2)
    return _svg(parts, WIDTH, height, f"{label}: distribution of {_list(shown)}")


def draw_bars(
    rows: Sequence[tuple[str, float, str]], label: str, unit: str = "", most: float | None = None
) -> Markup:
    """Return level bars with their numbers; rows: name, value, colour."""
    top = most or max((value for _, value, _ in rows), default=0.0) or 1.0
    width = WIDTH - LEFT - 70
    parts = []
    for number, (name, value, colour) in enumerate(rows):
        y, long = number * 20.0, max(0.0, value) / top * width
        shown = f"{format_number(value)}{unit}"
        parts += [
            _text(LEFT - 8, y + 14, name, "end"),
            f'<rect x="{LEFT}" y="{y + 3:.0f}" width="{long:.1f}" height="14" fill="{colour}">'
            f"<title>{escape(name)}: {shown}</title></rect>",
            _text(LEFT + long + 6, y + 14, shown),
        ]
    return _svg(parts, WIDTH, len(rows) * 20 + 4, label)


def draw_heat_map(
    x: ArrayLike, y: ArrayLike, colour: str, label: str, cells: int = 12, ratio: float = 1.0
) -> Markup:
    """Return how many points lie where in an image; ``x``, ``y`` are shares, ratio is h / w."""
    counts, _, _ = np.histogram2d(np.asarray(y), np.asarray(x), cells, ((0, 1), (0, 1)))
    size, high = 120 / cells, 120 / cells * ratio
    parts = []
    for (row, column), count in np.ndenumerate(counts):
        if count:
            share = 0.15 + 0.85 * count / counts.max()
            parts.append(
                f'<rect x="{column * size:.1f}" y="{row * high:.1f}" width="{size:.1f}" '
                f'height="{high:.1f}" fill="{colour}" fill-opacity="{share:.2f}">'
                f"<title>{count:.0f} of {counts.sum():.0f}</title></rect>"
            )
    parts.append(
        f'<rect x=".5" y=".5" width="119" height="{120 * ratio - 1:.1f}" fill="none" '
        'stroke="currentColor" stroke-opacity=".5"/>'
    )
    return _svg(parts, 120, round(120 * ratio), label)


def draw_spark(
    values: ArrayLike, least: float | None, most: float | None, label: str
) -> Markup:
    """Return a small histogram with what lies outside the limits in red, and the limits."""
    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    limits = [limit for limit in (least, most) if limit is not None]
    scale = _Scale.over([numbers, np.array(limits)], False, None, width=170.0, left=1.0)
    low, high = -math.inf if least is None else least, math.inf if most is None else most
    is_out = (numbers < low) | (numbers > high)
    counts = [np.histogram(part, scale.edges)[0] for part in (numbers[~is_out], numbers[is_out])]
    top = max(1.0, float((counts[0] + counts[1]).max()))
    base = np.zeros(BINS)
    parts = []
    for name, colour, count in zip(("within", "outside"), ("#2f9e73", "#d1603d"), counts):
        for place in np.flatnonzero(count):
            x, wide = scale.bar(place)
            tall = 30 * (count[place] / top)
            y = 34 - tall - 30 * base[place] / top
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{max(tall, 0.8):.1f}" '
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
    return _svg(parts, 172, 40, label)


def draw_histogram(groups: Mapping[str, Sequence[float]], title: str, counted: str) -> str:
    """Return a histogram of named groups of numbers as a data URL, an SVG."""
    colours = colour_classes(list(groups))
    series = [Series.of(name, values, colours[name]) for name, values in groups.items()]
    svg = draw_distribution(series, f"{title}, {counted}")
    named = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return "data:image/svg+xml;base64," + base64.b64encode(named.encode()).decode()


@dataclass(frozen=True, eq=False)
class _Scale:
    """Where numbers lie from left to right."""

    edges: NDArray[np.float64]  # of the bins
    is_log: bool
    left: float
    width: float

    @classmethod
    def over(
        cls,
        values: Sequence[NDArray[np.float64]],
        is_log: bool,
        span: tuple[float, float] | None,
        width: float = WIDTH - LEFT - RIGHT,
        left: float = LEFT,
    ) -> _Scale:
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
        low, high = self.edges[0], self.edges[-1]
        if self.is_log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, 1e-9))
        return float(self.left + self.width * np.clip((value - low) / (high - low), 0, 1))

    def bar(self, place: int) -> tuple[float, float]:
        start, end = self.place(self.edges[place]), self.place(self.edges[place + 1])
        return start, max(0.5, end - start - 0.6)

    def words(self, place: int) -> str:
        low, high = self.edges[place], self.edges[place + 1]
        return f"{format_number(low)} to {format_number(high)}"

    def ticks(self) -> list[float]:
        low, high = float(self.edges[0]), float(self.edges[-1])
        if self.is_log:
            decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            steps = (1, 3) if high / low > 30 else (1, 2, 3, 5, 7)
            marks = [step * 10.0**power for power in decades for step in steps]
            return [mark for mark in marks if low <= mark <= high]
        return _round_steps(low, high, 6)


def _round_steps(low: float, high: float, count: int) -> list[float]:
    """Return round numbers between two, about so many.

    >>> _round_steps(0, 1, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * power for unit in (1, 2, 5, 10) if unit * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _highest(counts: Sequence[NDArray[np.float64]], is_share: bool) -> float:
    if not counts:
        return 1.0
    table = np.array(counts)
    return float(table.max() if is_share else table.sum(0).max())


def _grid(top: float, unit: str) -> list[str]:
    parts = []
    for mark in _round_steps(0, top, 3):
        if not unit and mark != round(mark):
            continue
        y = TOP + PLOT * (1 - mark / top)
        parts += [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="currentColor" '
            'stroke-opacity=".13"/>',
            _text(LEFT - 8, y + 4, f"{mark:,.4g}{unit}", "end", soft=True),
        ]
    return parts


def _axis(scale: _Scale, y: float, bottom: float) -> list[str]:
    parts = []
    for mark in scale.ticks():
        x = scale.place(mark)
        parts += [
            f'<path d="M{x:.1f} {TOP}V{bottom:.0f}" stroke="currentColor" stroke-opacity=".08"/>',
            _text(x, y + 15, f"{mark:,g}", "middle", soft=True),
        ]
    return parts


def _columns(
    one: Series,
    counts: NDArray[np.float64],
    base: NDArray[np.float64],
    scale: _Scale,
    top: float,
    unit: str,
) -> list[str]:
    parts = []
    for place in np.flatnonzero(counts):
        x, wide = scale.bar(place)
        tall = PLOT * counts[place] / top
        y = TOP + PLOT - PLOT * base[place] / top - tall
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
            f'fill="{one.colour}"{" fill-opacity=" + chr(34) + ".55" + chr(34) if unit else ""}>'
            f"<title>{_counted(one, counts[place], scale.words(place), unit)}</title></rect>"
        )
    return parts


def _outline(
    one: Series, counts: NDArray[np.float64], scale: _Scale, top: float
) -> list[str]:
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


def _strip(one: Series, scale: _Scale, y: float) -> list[str]:
    parts = [_text(LEFT - 8, y + 4, one.name, "end")]
    if len(one.values) < FEW:
        return parts + [
            f'<circle cx="{scale.place(value):.1f}" cy="{y:.1f}" r="3.5" fill="{one.colour}">'
            f"<title>{escape(one.name)}: {format_number(value)}</title></circle>"
            for value in one.values
        ]
    marks = np.quantile(one.values, QUANTILES)
    low, start, middle, end, high = (scale.place(mark) for mark in marks)
    said = ", ".join(
        f"{share:.0%} {format_number(mark)}" for share, mark in zip(QUANTILES, marks, strict=True)
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


def _list(series: Sequence[Series]) -> str:
    return ", ".join(one.name for one in series) or "nothing"


def _text(x: float, y: float, words: str, anchor: str = "start", soft: bool = False) -> str:
    short = words if len(words) <= 17 else f"{words[:16]}…"
    title = "" if short == words else f"<title>{escape(words)}</title>"
    look = ' fill-opacity=".7"' if soft else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{look}>{escape(short)}{title}</text>'
    )


def _svg(parts: Sequence[str], width: int, height: int, label: str) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )
