"""The page of a comparison, utility.html: one file that opens without a network."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
from jinja2 import Environment

from synthgen.evaluation.utility.compare import Difference
from synthgen.evaluation.utility.pages.plots import plot_arms, plot_curve
from synthgen.evaluation.utility.pages.words import (
    Key,
    compare_classes,
    key_of,
    read_gains,
    tell_failures,
    write_cell,
    write_interval,
)
from synthgen.evaluation.utility.worth import CurvePoint, Worth

__all__ = ["NAMES", "THRESHOLDS", "draw_page"]

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
THRESHOLDS = {
    "threshold": "pixels: threshold",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "best_threshold": "best threshold",
    "best_f1": "best F1",
    "synthetic_threshold": "synthetic threshold",
    "f1_synthetic_threshold": "F1, synthetic",
    "image_threshold": "images: threshold",
    "image_precision": "precision of images",
    "image_recall": "recall of images",
}


def draw_page(
    rows: pd.DataFrame,
    means: pd.DataFrame,
    differences: Sequence[Difference],
    curve: Sequence[CurvePoint],
    worth: Sequence[Worth],
    facts: dict[str, Any],
    baseline: str,
    warning: str,
    simple: Collection[str],
) -> str:
    """Return the page. ``rows``: one line per inspection model, arm, budget and seed; ``means``:
    their means, of the scores that the page shows; ``facts``: name to value; ``warning``: "" or
    a sentence; ``simple``: arms that need no run."""
    shown = [name for name in means.columns if f"{name}_sd" in means.columns]
    by_class = [name for name in shown if name.startswith("ap_")]
    gains, of_classes = read_gains(differences, baseline), compare_classes(rows, baseline)
    groups = rows.groupby(["inspector", "budget"], sort=False)
    thresholds = [name for name in THRESHOLDS if name in shown]
    return (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            heads=[NAMES[name] for name in shown if name in NAMES],
            arms=[
                {
                    "inspector": line["inspector"],
                    "budget": line["budget"],
                    "arm": line["arm"],
                    "seeds": line["seeds"],
                    "cells": [write_cell(line, name) for name in shown if name in NAMES],
                    "gain": _write_gain(gains, line),
                    "classes": [
                        text
                        for name in by_class
                        for text in (write_cell(line, name), _write_gain(of_classes[name], line))
                    ],
                    "thresholds": [write_cell(line, name) for name in thresholds],
                }
                for line in means.to_dict("records")
            ],
            pairs=[
                {"one": one, "text": write_interval(one.mean, one.low, one.high)}
                for one in differences
            ],
            plots=[
                plot_arms(own, *map(str, key)) for key, own in groups if own["arm"].nunique() > 1
            ],
            curves=_draw_curves(rows, means, curve, worth, baseline),
            worth=worth,
            classes=[name.removeprefix("ap_") for name in by_class],
            threshold_heads=[THRESHOLDS[name] for name in thresholds],
            thresholds="precision" in thresholds,
            failures=tell_failures(rows, differences, baseline, simple),
            facts=facts,
            baseline=baseline,
            warning=warning,
        )
    )


def _draw_curves(
    rows: pd.DataFrame,
    means: pd.DataFrame,
    curve: Sequence[CurvePoint],
    worth: Sequence[Worth],
    baseline: str,
) -> list[str]:
    """Return a plot for each inspection model that has a curve and an arm to lay on it."""
    drawn = []
    for inspector in dict.fromkeys(one.inspector for one in worth):
        own = means[(means["inspector"] == inspector) & (means["arm"] != baseline)]
        keys = ["inspector", "budget", "arm"]
        images = rows.groupby(keys)["real_defect_images"].mean().rename("images")
        points = [one for one in curve if one.inspector == inspector]
        found = [one for one in worth if one.inspector == inspector]
        drawn.append(plot_curve(points, own.join(images, on=keys), found))
    return drawn


def _write_gain(gains: dict[Key, Difference], line: dict[Any, Any]) -> str:
    one = gains.get(key_of(line))
    return "" if one is None else write_interval(one.mean, one.low, one.high)


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
<div class="scroll"><table><tr><th>inspection model</th><th>real a class</th><th>arm</th><th>n</th>
{% for head in heads %}<th>{{ head }}</th>{% endfor %}<th>pixel AP over {{ baseline }}</th></tr>
{% for a in arms %}<tr><td>{{ a.inspector }}</td>
<td>{{ a.budget }}</td><td>{{ a.arm }}</td><td>{{ a.seeds }}</td>
{% for cell in a.cells %}<td>{{ cell }}</td>{% endfor %}<td>{{ a.gain }}</td></tr>
{% endfor %}</table></div>
<h2>Worth as many real images as</h2>
{% if worth %}<p>The curve is what {{ baseline }} scores from real defect images alone. An arm is
worth as many of them as {{ baseline }} needs to score the same, straight between the points over
the logarithm. The interval holds each number at which the paired difference is not told from 0.
Images are counted over all classes.</p>
{% for plot in curves %}<img src="{{ plot }}" alt="the learning curve">{% endfor %}
<div class="scroll"><table class="words">
<tr><th>inspection model</th><th>real a class</th><th>arm</th><th>n</th><th>is worth</th></tr>
{% for w in worth %}<tr><td>{{ w.inspector }}</td><td>{{ w.budget }}</td><td>{{ w.arm }}</td>
<td>{{ w.seeds }}</td><td>{{ w.told }}</td></tr>
{% endfor %}</table></div>
{% else %}<p>Not told: it needs {{ baseline }} at two or more budgets, and another arm.
<code>evaluate.curve=[10,20,all]</code> adds them to the folder, for {{ baseline }} alone.</p>
{% endif %}
<h2>By class</h2>
<p>Pixel AP of each class: its pixels against good ones, other classes left out.</p>
<div class="scroll"><table><tr><th>inspection model</th><th>real a class</th><th>arm</th>
{% for name in classes %}<th>{{ name }}</th><th>over {{ baseline }}</th>{% endfor %}</tr>
{% for a in arms %}<tr><td>{{ a.inspector }}</td><td>{{ a.budget }}</td><td>{{ a.arm }}</td>
{% for cell in a.classes %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% if thresholds %}<h2>Thresholds</h2>
<p>The threshold that the validation part of the training split gives (highest F1), and what it
does on the held-out images. <i>Pixels</i>: a threshold on each pixel's score (the sigmoid of the
model's map, in percent like the rest). <i>Images</i>: a threshold on an image's own score, the
mean of its highest pixels. <i>Best</i> is set on the held-out images themselves: it cannot be had,
and says what a better threshold would bring. <i>Synthetic</i> is set on synthetic images and good
ones.</p>
<div class="scroll"><table><tr><th>inspection model</th><th>real a class</th><th>arm</th>
{% for head in threshold_heads %}<th>{{ head }}</th>{% endfor %}</tr>
{% for a in arms %}<tr><td>{{ a.inspector }}</td><td>{{ a.budget }}</td><td>{{ a.arm }}</td>
{% for cell in a.thresholds %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>{% endif %}
<h2>What did not help</h2>
{% if failures %}<ul>{% for one in failures %}<li>{{ one }}</li>{% endfor %}</ul>
{% else %}<p>Nothing to tell: every arm is clearly better than what it is compared with.</p>
{% endif %}
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
