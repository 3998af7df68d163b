"""The plots of the page: every seed of every arm, and the learning curve."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthgen.evaluation.utility.worth import CurvePoint, Worth

__all__ = ["plot_arms", "plot_curve"]

MAX_LABEL = 24  # characters of an arm's name in a plot
GREEN = "#2f9e73"


@contextmanager
def _plain_text() -> Iterator[None]:
    """Draw names as they are written: no formulas between $, and in the reader's own fonts."""
    with rc_context({"text.parse_math": False, "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader has it
        yield


@_plain_text()
def plot_arms(own: pd.DataFrame, inspector: str, budget: str) -> str:
    """Return a plot of every seed of every arm at one budget: a dot each, lines join seeds."""
    table = own.pivot(index="seed", columns="arm", values="pixel_ap")
    table = table[list(dict.fromkeys(own["arm"]))] * 100
    figure = Figure(figsize=(1.6 + 0.9 * len(table.columns), 3.6), layout="constrained")
    axes = figure.subplots()
    for _, line in table.iterrows():
        axes.plot(range(len(line)), line.to_numpy(), color="0.75", linewidth=0.8, marker=".")
    axes.plot(range(table.shape[1]), table.mean(), "_", color=GREEN, ms=26, mew=3)
    names = [_shorten(str(arm)) for arm in table.columns]
    axes.set_xticks(range(table.shape[1]), names, rotation=30, ha="right")
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylabel("pixel AP, %")
    title = f"{inspector}, {budget} real defects a class\ngrey: one seed, green: the mean"
    axes.set_title(title, fontsize=9)
    return _embed(figure)


@_plain_text()
def plot_curve(curve: Sequence[CurvePoint], means: pd.DataFrame, worth: Sequence[Worth]) -> str:
    """Return the learning curve of one inspection model, and where on it every other arm lies.

    ``means``: a line per budget and arm, as of ``summarise_arms``, with the mean number of
    ``images``. A dotted line leads from an arm to the point of the curve that scores the same.
    """
    figure = Figure(figsize=(7.5, 4.4), layout="constrained")
    axes = figure.subplots()
    first = min(one.images for one in curve)
    ticks = {_place(one.images, first): f"{one.images:.0f}" for one in curve}
    axes.errorbar(
        [_place(one.images, first) for one in curve],
        [one.score * 100 for one in curve],
        [0.0 if math.isnan(one.score_sd) else one.score_sd * 100 for one in curve],
        label=" real defects alone",
        color="0.35",
        capsize=3,
        marker="o",
        linestyle="-",
    )
    known = {(one.budget, one.arm): one for one in worth}
    for number, (arm, own) in enumerate(means.groupby("arm", sort=False)):
        color = f"C{number % 10}"
        for line in own.to_dict("records"):
            at, score = _place(float(line["images"]), first), float(line["pixel_ap"]) * 100
            ticks.setdefault(at, f"{float(line['images']):.0f}")
            one = known.get((str(line["budget"]), str(arm)))
            if one is not None and math.isfinite(one.worth):
                reach = [at, _place(one.worth, first)]
                axes.plot(reach, [score, score], ":", color=color, linewidth=1.2)
        places = [_place(float(images), first) for images in own["images"]]
        label = f" {_shorten(str(arm))}"  # one that begins with _ would be left out
        axes.plot(places, own["pixel_ap"] * 100, "D", color=color, label=label, markersize=5)
    axes.set_xticks(sorted(ticks), [ticks[at] for at in sorted(ticks)])
    _finish(axes, curve[0].inspector)
    return _embed(figure)


def _place(images: float, first: float) -> float:
    """Return where a number of images stands: its logarithm; none stands before the first."""
    return math.log2(images) if images >= 1 else math.log2(first) - 1


def _finish(axes: Axes, inspector: str) -> None:
    axes.set_xlabel("real defect images learned from, all classes (logarithmic)")
    axes.set_ylabel("pixel AP, % (bars: deviation over seeds)")
    axes.set_title(f"{inspector}: dotted lines lead to as many real images", fontsize=9)
    axes.legend(fontsize=8)


def _shorten(name: str) -> str:
    """Return a name as a plot has room for it; the table has all of it.

    >>> _shorten("adapted-5-1"), _shorten("every second one of the real defects")
    ('adapted-5-1', 'every second one of the…')
    """
    return name if len(name) <= MAX_LABEL else f"{name[: MAX_LABEL - 1].rstrip()}…"


def _embed(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
