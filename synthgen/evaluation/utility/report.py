"""Utility for people: a CSV of every model, a JSON, a page with plots, a table for the terminal."""

from __future__ import annotations

import base64
import io
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment
from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.table import Table

from synthgen.evaluation.inspectors.models import MODELS
from synthgen.evaluation.utility.compare import (
    Difference,
    average_models,
    compare_arms,
    summarise_arms,
)
from synthgen.storage.files import defuse, write_text

__all__ = ["tabulate_utility", "write_utility"]

COMMON = ("pixel_ap", "best_f1", "f1", "pro", "box_ap", "image_auroc", "image_ap")
SHOWN = ("pixel_ap", "f1", "pro", "image_auroc")  # a terminal is narrow
RARE = ("f1_synthetic_threshold", "memorised", "nearest_bits", "validation_ap")
COSTS = ("train_s", "score_s", "cpu_s")
NAMES = {
    "pixel_ap": "pixel AP",
    "best_f1": "best F1",
    "f1": "F1",
    "pro": "PRO",
    "box_ap": "box AP50",
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "f1_synthetic_threshold": "F1, synthetic threshold",
    "memorised": "memorised",
    "nearest_bits": "bits to the nearest",
    "validation_ap": "AP, validation part",
}
MAX_LABEL = 24  # characters of an arm's name in a plot
NO_PERCENT = ("nearest_bits",)
GOOD_ONLY_MODELS = frozenset(name for name, row in MODELS.items() if row.is_good_only)
Key = tuple[str, str, str]  # inspection model, budget, arm


def write_utility(
    folder: Path, rows: pd.DataFrame, facts: dict[str, Any], baseline: str, warning: str
) -> Path:
    """Write ``utility.csv``, ``utility.json`` and ``utility.html``, which is returned.

    ``rows`` are those of ``measure_utility``. The CSV has every model, the others the means over
    the models of a seed. ``warning`` is a sentence that the page says, or "".
    """
    write_text(folder / "utility.csv", rows.map(defuse).to_csv(index=False))
    costs = _sum_costs(rows)
    rows = average_models(rows)
    means = summarise_arms(rows, _scores(rows))
    differences = compare_arms(rows, good_only=GOOD_ONLY_MODELS)
    record = {
        "facts": facts,
        "costs": costs,
        "arms": [_plain(line) for line in means.to_dict("records")],
        "differences": [_plain(asdict(one)) for one in differences],
    }
    write_text(folder / "utility.json", json.dumps(record, indent=1) + "\n")
    page = folder / "utility.html"
    facts = facts | _tell_costs(costs)
    write_text(page, _draw_page(rows, means, differences, facts, baseline, warning))
    return page


def _sum_costs(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what each inspection model's arms cost: models, mean seconds of one, and their sum."""
    lines = []
    for (inspector, arm), own in rows.groupby(["inspector", "arm"], sort=False):
        seconds = {name: own[name].mean() for name in COSTS if name in own}
        total = float((own["train_s"] + own["score_s"]).sum())
        line = {"inspector": inspector, "arm": arm, "models": len(own), "total_s": total}
        lines.append(_plain(line | seconds))
    return lines


def _tell_costs(costs: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the costs in words, by inspection model, and what all took."""
    told: dict[str, str] = {}
    for inspector in dict.fromkeys(str(line["inspector"]) for line in costs):
        own = [line for line in costs if line["inspector"] == inspector]
        each = [
            f"{line['arm']} {line['train_s'] + line['score_s']:.0f}"
            + (f" ({line['cpu_s']:.0f} of processors)" if "cpu_s" in line else "")
            for line in own
        ]
        told[f"{inspector}, seconds per arm"] = ", ".join(each)
    total = sum(line["total_s"] for line in costs) / 60
    return told | {"all models": f"{total:.0f} minutes, without looking for steps"}


def _plain(line: dict[Any, Any]) -> dict[str, Any]:
    """Return values that JSON knows; NaN and infinity become null."""
    return {
        str(key): None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in line.items()
    }


def _scores(rows: pd.DataFrame) -> list[str]:
    """Return the scores that the rows hold: common ones, by class, then the rare ones."""
    by_class = [name for name in rows.columns if str(name).startswith("ap_")]
    return [name for name in (*COMMON, *by_class, *RARE) if name in rows.columns]


def tabulate_utility(rows: pd.DataFrame, baseline: str) -> Table:
    """Return the arms with mean and deviation of each score, and the gain on the baseline.

    In per cent; the gain is that in pixel AP with its 90 % interval, "" for the baseline itself.
    """
    rows = average_models(rows)
    means = summarise_arms(rows, COMMON)
    gains = _gains(compare_arms(rows), baseline)
    models = ", ".join(dict.fromkeys(means["inspector"]))
    title = f"Utility of {models}, %: mean ± deviation over n seeds"
    table = Table(title=title, title_justify="left")
    has_several = means["inspector"].nunique() > 1
    first = ("model",) if has_several else ()
    for column in (*first, "real", "arm", "n", *(NAMES[name] for name in SHOWN)):
        table.add_column(column, no_wrap=column == "arm")
    table.add_column(f"pixel AP over {baseline}, 90 %")
    for line in means.to_dict("records"):
        cells = [_cell(line, name) for name in SHOWN]
        own = (str(line["inspector"]),) if has_several else ()
        head = (*own, str(line["budget"]), str(line["arm"]), str(line["seeds"]))
        table.add_row(*head, *cells, gains.get(_key(line), ""))
    return table


def _key(line: dict[Any, Any]) -> Key:
    return str(line["inspector"]), str(line["budget"]), str(line["arm"])


def _cell(line: dict[Any, Any], name: str) -> str:
    scale, digits = (1, 0) if name in NO_PERCENT else (100, 1)
    mean, spread = float(line[name]) * scale, float(line[f"{name}_sd"]) * scale
    if math.isnan(mean):
        return ""
    return f"{mean:.{digits}f}" + ("" if math.isnan(spread) else f" ± {spread:.{digits}f}")


def _gains(differences: Sequence[Difference], baseline: str) -> dict[Key, str]:
    """Return the gain on the baseline of the same inspection model, as text."""
    gains: dict[Key, str] = {}
    for one in differences:
        if one.inspector != one.against_inspector:
            continue
        if one.against == baseline:
            text = _interval(one.mean, one.low, one.high)
            gains[one.inspector, one.budget, one.arm] = text
        elif one.arm == baseline:
            text = _interval(-one.mean, -one.high, -one.low)
            gains[one.inspector, one.budget, one.against] = text
    return gains


def _interval(mean: float, low: float, high: float) -> str:
    if math.isnan(low):
        return f"{mean * 100:+.1f}"
    return f"{mean * 100:+.1f} ({low * 100:+.1f} to {high * 100:+.1f})"


def _draw_page(
    rows: pd.DataFrame,
    means: pd.DataFrame,
    differences: Sequence[Difference],
    facts: dict[str, Any],
    baseline: str,
    warning: str,
) -> str:
    names = _scores(rows)
    lines = means.to_dict("records")
    gains = _gains(differences, baseline)
    groups = rows.groupby(["inspector", "budget"], sort=False)
    return (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            heads=[NAMES.get(name, f"AP, {name.removeprefix('ap_')}") for name in names],
            arms=[
                {
                    "inspector": line["inspector"],
                    "budget": line["budget"],
                    "arm": line["arm"],
                    "seeds": line["seeds"],
                    "cells": [_cell(line, name) for name in names],
                    "gain": gains.get(_key(line), ""),
                }
                for line in lines
            ],
            pairs=[
                {"one": one, "text": _interval(one.mean, one.low, one.high)} for one in differences
            ],
            plots=[_plot_arms(own, *map(str, key)) for key, own in groups],
            budgets=[
                _plot_budgets(own, str(inspector))
                for inspector, own in means.groupby("inspector", sort=False)
                if own["budget"].nunique() > 1
            ],
            facts=facts,
            baseline=baseline,
            warning=warning,
        )
    )


@contextmanager
def _plain_text() -> Iterator[None]:
    """Draw names as they are written: no formulas between $, and in the reader's own fonts."""
    with rc_context({"text.parse_math": False, "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader has it
        yield


@_plain_text()
def _plot_arms(own: pd.DataFrame, inspector: str, budget: str) -> str:
    """Return a plot of every seed of every arm at one budget: a dot each, lines join seeds."""
    table = own.pivot(index="seed", columns="arm", values="pixel_ap")
    table = table[list(dict.fromkeys(own["arm"]))] * 100
    figure = Figure(figsize=(1.6 + 0.9 * len(table.columns), 3.6), layout="constrained")
    axes = figure.subplots()
    for _, line in table.iterrows():
        axes.plot(range(len(line)), line.to_numpy(), color="0.75", linewidth=0.8, marker=".")
    axes.plot(range(table.shape[1]), table.mean(), "_", color="#2f9e73", ms=26, mew=3)
    names = [_shorten(str(arm)) for arm in table.columns]
    axes.set_xticks(range(table.shape[1]), names, rotation=30, ha="right")
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylabel("pixel AP, %")
    title = f"{inspector}, {budget} real defects a class\ngrey: one seed, green: the mean"
    axes.set_title(title, fontsize=9)
    return _embed(figure)


@_plain_text()
def _plot_budgets(means: pd.DataFrame, inspector: str) -> str:
    """Return a plot of pixel AP over the budget, a line an arm."""
    order = sorted(means["budget"].unique(), key=lambda b: math.inf if b == "all" else int(b))
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    for arm, own in means.groupby("arm", sort=False):
        places = [order.index(budget) for budget in own["budget"]]
        spread = own["pixel_ap_sd"].fillna(0) * 100
        label = f" {_shorten(str(arm))}"  # one that begins with _ would be left out
        axes.errorbar(places, own["pixel_ap"] * 100, spread, label=label, capsize=3, marker="o")
    axes.set_xticks(range(len(order)), order)
    axes.set_xlabel("real defects a class")
    axes.set_ylabel("pixel AP, % (bars: deviation over seeds)")
    axes.set_title(inspector, fontsize=9)
    axes.legend(fontsize=8)
    return _embed(figure)


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


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Utility</title>
<style>
body { margin: 0 auto; padding: 24px; max-width: 1280px; font: 15px/1.45 system-ui, sans-serif; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { text-align: left; padding: 3px 14px 3px 0; border-bottom: 1px solid #ddd; }
img { max-width: 100%; background: #fff; } .scroll { overflow-x: auto; }
p, .words td { overflow-wrap: anywhere; } .soft { color: #666; }
</style>
<h1>Utility</h1>
<p>What an inspection model scores on real, held-out images, by what it was trained with. In
percent; mean ± deviation over n seeds. F1 takes its threshold from the validation part, best F1
from the held-out images themselves. Box AP50: boxes that share half of their union with a
defect's; those of models that mark pixels are drawn around what the threshold marks.</p>
{% for plot in plots %}<img src="{{ plot }}" alt="pixel AP of every arm">{% endfor %}
{% for plot in budgets %}<img src="{{ plot }}" alt="pixel AP over the budget">{% endfor %}
<div class="scroll"><table><tr><th>inspection model</th><th>real a class</th><th>arm</th><th>n</th>
{% for head in heads %}<th>{{ head }}</th>{% endfor %}<th>pixel AP over {{ baseline }}</th></tr>
{% for a in arms %}<tr><td>{{ a.inspector }}</td>
<td>{{ a.budget }}</td><td>{{ a.arm }}</td><td>{{ a.seeds }}</td>
{% for cell in a.cells %}<td>{{ cell }}</td>{% endfor %}<td>{{ a.gain }}</td></tr>
{% endfor %}</table></div>
<h2>Pairs</h2>
<p>Mean paired difference in pixel AP (points), 90 % interval by Student's t over n seeds. With few
seeds it is wide; it says nothing about other data.
{% if warning %}<b>Mind:</b> {{ warning }}.{% endif %}</p>
<div class="scroll"><table>
<tr><th>inspection model</th><th>real a class</th><th>arm</th><th>less</th>
<th>n</th><th>difference</th><th></th></tr>
{% for p in pairs %}<tr><td>{{ p.one.inspector }}</td><td>{{ p.one.budget }}</td>
<td>{{ p.one.arm }}</td><td>{{ p.one.against }}
{% if p.one.against_inspector != p.one.inspector %}({{ p.one.against_inspector }}){% endif %}
</td><td>{{ p.one.seeds }}</td><td>{{ p.text }}</td>
<td class="soft">{{ "" if p.one.is_clear else "not told apart" }}</td></tr>
{% endfor %}</table></div>
<h2>Facts</h2>
<table class="words">
{% for name, value in facts.items() %}<tr><td>{{ name }}</td><td>{{ value }}</td></tr>
{% endfor %}</table></html>
"""
