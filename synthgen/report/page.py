"""report.html: one file, no network: what was asked, what came out, what it looks like."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from synthgen.report.charts import draw_spark
from synthgen.report.facts import (
    ACCEPTED,
    GOOD,
    REJECTED,
    collect_run_facts,
    flatten,
    format_seconds,
    tabulate_reasons,
)
from synthgen.report.leads import list_leads
from synthgen.report.measured import measure_quality
from synthgen.report.nearest import find_nearest_real
from synthgen.report.panels import Panel, draw_distributions, draw_places
from synthgen.report.pictures import VIEWS, Tile, how_many, show_samples, spread
from synthgen.report.reviewed import collect_review
from synthgen.report.svg import colour_classes, format_number
from synthgen.runs.reader import RunTables, read_run
from synthgen.storage.places import StoredFile

__all__ = ["format_percent", "render", "write_report"]

MAX_ACCEPTED, MAX_PER_CLASS, MAX_GOOD, MAX_REJECTED, MAX_PAIRS = 72, 8, 6, 24, 12
MAX_FAILURES = 20  # sentences about samples that came to no image


@dataclass(frozen=True)
class ClassTiles:
    """The samples of a class that are shown, and how many there are."""

    name: str
    count: int
    tiles: list[Tile]


def write_report(run_folder: Path | str) -> StoredFile:
    """Write ``report.html`` into a finished run, wherever it lies; return it. Raises RunError."""
    run = read_run(run_folder)
    colours = colour_classes(list(run.classes))
    manifest = run.manifest
    facts = collect_run_facts(run)
    good = manifest[(manifest["status"] == GOOD) & (manifest["image"] != "")]
    page = render(
        "page.html.j2",
        facts=facts,
        leads=list_leads(run, facts),
        review=collect_review(run),
        colours=colours,
        accepted=_show_classes(run, MAX_ACCEPTED, MAX_PER_CLASS),
        good=ClassTiles(
            "good", len(good), show_samples(run, spread(good, how_many(run, MAX_GOOD)))
        ),
        rejected=show_samples(run, _choose_rejected(manifest, how_many(run, MAX_REJECTED))),
        reasons=tabulate_reasons(manifest),
        failures=list(_failures(manifest)),
        nearest=find_nearest_real(run, how_many(run, MAX_PAIRS)),
        distributions=_draw_distributions(run, colours),
        places=draw_places(run, colours),
        measures=[
            (one, draw_spark(one.values, *one.bounds, f"distribution of {one.title}"))
            for one in measure_quality(run)
        ],
        record=run.record,
        config=flatten(run.record.get("config") or {}),
    )
    run.storage.write("report.html", page.encode("utf-8"))
    return StoredFile(run.storage, "report.html")


def render(template: str, **values: Any) -> str:
    """Return a page from one of the templates beside this module."""
    environment = Environment(
        loader=PackageLoader("synthgen.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"views": VIEWS}
    environment.filters |= {
        "number": format_number,
        "seconds": format_seconds,
        "percent": format_percent,
        "count": lambda value: f"{value:,}",
    }
    return environment.get_template(template).render(**values)


def format_percent(fraction: float) -> str:
    """Return a share for people.

    >>> format_percent(0.973), format_percent(float("nan"))
    ('97 %', '–')
    """
    return f"{100 * fraction:.0f} %" if math.isfinite(fraction) else "–"


def _show_classes(run: RunTables, most: int, per_class: int) -> list[ClassTiles]:
    """Return accepted samples of each class, evenly over the run, at most so many in all."""
    accepted = run.manifest[run.manifest["status"] == ACCEPTED]
    groups = {str(name): rows for name, rows in accepted.groupby("defect_class") if name}
    if not groups:
        return []
    each = max(1, min(per_class, how_many(run, most) // len(groups)))
    ordered = sorted(groups, key=lambda name: (run.classes.get(name, 1 << 30), name))
    return [
        ClassTiles(name, len(groups[name]), show_samples(run, spread(groups[name], each)))
        for name in ordered
    ]


def _draw_distributions(run: RunTables, colours: Mapping[str, str]) -> list[Panel]:
    accepted = run.manifest[run.manifest["status"] == ACCEPTED]
    groups = {str(name): rows for name, rows in accepted.groupby("defect_class")}
    return draw_distributions({name: groups[name] for name in colours if name in groups}, colours)


def _choose_rejected(manifest: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return rejected samples with an image, of every reason and class in turn."""
    rows = manifest[(manifest["status"] == REJECTED) & (manifest["image"] != "")]
    rows = rows.sort_values("sample_id")
    limit = rows["reasons"].str.split(" ").str[0]
    turn = rows.groupby([limit, rows["defect_class"]]).cumcount()
    chosen = rows.assign(limit=limit, turn=turn).sort_values(["turn", "limit", "sample_id"])
    return chosen.head(most).sort_values(["limit", "sample_id"])


def _failures(manifest: pd.DataFrame) -> Iterator[tuple[str, str]]:
    rows = manifest[(manifest["status"] == REJECTED) & (manifest["image"] == "")]
    yield from zip(rows["sample_id"].head(MAX_FAILURES), rows["reasons"], strict=False)
