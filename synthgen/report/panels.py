"""The charts of a page, each with its numbers as a table for who cannot see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from synthgen.report.charts import Series, draw_distribution, draw_heat_map
from synthgen.report.facts import ACCEPTED
from synthgen.runs.manifest import read_table, to_pandas
from synthgen.runs.reader import RunTables

__all__ = ["Panel", "Place", "draw_distributions", "draw_places"]

DISTRIBUTIONS: dict[str, dict[str, Any]] = {  # column of the manifest: how it is drawn
    "area_px": {"title": "Area of the label, pixels", "is_log": True},
    "contrast_delta_e": {"title": "Contrast, CIELAB over the texture around"},
    "severity": {"title": "Severity that was asked for", "span": (0.0, 1.0)},
    "fill_fraction": {"title": "Fill: share of the asked mask that changed", "span": (0.0, 1.0)},
}
QUANTILES = (0.05, 0.5, 0.95)
BOX = ["sample_id", "defect_class", "box_x", "box_y", "box_w", "box_h"]


@dataclass(frozen=True)
class Panel:
    """A chart and its numbers. ``rows``: name, colour, how many, 5 %, median, 95 %."""

    title: str
    chart: Markup
    rows: list[tuple[str, str, int, float, float, float]]


@dataclass(frozen=True)
class Place:
    """Where the defects of a class lie in their images."""

    name: str
    count: int
    chart: Markup


def draw_distributions(
    groups: Mapping[str, pd.DataFrame], colours: Mapping[str, str], is_fraction: bool = False
) -> list[Panel]:
    """Return how named rows of manifests are distributed: area, contrast, severity and fill.

    One panel a measurement, in the order of ``groups``; a name without a finite number is left out.
    With ``is_fraction`` each group is drawn in per cent of its own, so that runs of different
    lengths compare.
    """
    panels = []
    for column, how in DISTRIBUTIONS.items():
        series = [Series.of(name, own[column], colours[name]) for name, own in groups.items()]
        shown = [one for one in series if len(one.values)]
        chart = draw_distribution(shown, is_fraction=is_fraction, **how)
        rows = []
        for one in shown:
            low, middle, high = map(float, np.quantile(one.values, QUANTILES))
            rows.append((one.name, one.colour, len(one.values), low, middle, high))
        panels.append(Panel(how["title"], chart, rows))
    return panels


def draw_places(run: RunTables, colours: Mapping[str, str]) -> list[Place]:
    """Return where the accepted defects lie, all of them first, then class by class.

    A place is the middle of an instance's box, as fractions of its image. [] where nothing was
    accepted.
    """
    columns = ["sample_id", "status", "width", "height"]
    accepted = run.manifest.loc[run.manifest["status"] == ACCEPTED, columns]
    boxes = to_pandas(read_table(run.storage, "instances", BOX)).merge(accepted, on="sample_id")
    if boxes.empty:
        return []
    places = pd.DataFrame(
        {
            "name": boxes["defect_class"],
            "x": (boxes["box_x"] + boxes["box_w"] / 2) / boxes["width"],
            "y": (boxes["box_y"] + boxes["box_h"] / 2) / boxes["height"],
        }
    )
    ratio = float(np.clip((boxes["height"] / boxes["width"]).median(), 0.4, 2.0))
    parts = {str(name): rows for name, rows in places.groupby("name")}
    drawn = [_draw_place("all", places, "currentColor", ratio)]
    return drawn + [
        _draw_place(name, parts[name], colours[name], ratio) for name in colours if name in parts
    ]


def _draw_place(name: str, rows: pd.DataFrame, colour: str, ratio: float) -> Place:
    label = f"{name}: where {len(rows)} defects lie in their images"
    return Place(name, len(rows), draw_heat_map(rows["x"], rows["y"], colour, label, ratio=ratio))
