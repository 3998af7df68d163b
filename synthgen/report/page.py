"""report.html: one file, no network: what was asked, what came out, what it looks like."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from synthgen.errors import RunError
from synthgen.progress import stage
from synthgen.report.charts import draw_spark
from synthgen.report.facts import (
    ACCEPTED,
    GOOD,
    REJECTED,
    collect_run_facts,
    flatten,
    format_seconds,
    group_rows_by_class,
    tabulate_reasons,
)
from synthgen.report.first.leads import collect_leads
from synthgen.report.first.next_steps import list_steps
from synthgen.report.measured import measure_quality
from synthgen.report.nearest import find_nearest_real
from synthgen.report.panels import draw_distributions, draw_places
from synthgen.report.pictures import VIEWS, Tile, fill_rows, how_many, show_samples, spread
from synthgen.report.real import (
    RealClass,
    RunBank,
    describe_sizes,
    read_run_bank,
    show_real,
)
from synthgen.report.reviewed import collect_review
from synthgen.report.svg import colour_classes, format_number
from synthgen.runs.reader import RunTables, read_run
from synthgen.storage.places import StoredFile

__all__ = ["MAX_BYTES", "SIZE_PX", "format_percent", "render", "write_report"]

MAX_ACCEPTED, MAX_PER_CLASS, MAX_GOOD, MAX_REJECTED, MAX_PAIRS = 48, 6, 6, 18, 12
SIZE_PX, MAX_BYTES = 224, 10_000  # of a picture of a sample
MAX_FAILURES = 20  # sentences about samples that came to no image


@dataclass(frozen=True)
class ClassTiles:
    """The samples of a class that are shown, how many there are, and the real ones beside them."""

    name: str
    count: int
    tiles: list[Tile]
    numbers: str = ""  # medians of all of them
    real: RealClass | None = None


@stage("writing report.html")
def write_report(run_folder: Path | str) -> StoredFile:
    """Write ``report.html`` into a finished run, wherever it lies; return it.

    At most 48 accepted samples, 6 of a class, and 6 good ones are shown, evenly over the run, and
    18 rejected ones of every reason in turn; fewer where images are large. Real defects of the
    run's bank stand beside those of their class. Raises RunError where the run is not finished or a
    file of it is gone.
    """
    run = read_run(run_folder)
    colours = colour_classes(list(run.classes))
    manifest = run.manifest
    if manifest.empty:
        raise RunError(
            f"{run_folder}/manifest.parquet holds no samples; run the same synthgen generate "
            "command again"
        )
    facts = collect_run_facts(run)
    has_image = manifest["image"] != ""
    good = manifest[(manifest["status"] == GOOD) & has_image]
    lost = manifest[(manifest["status"] == REJECTED) & ~has_image].head(MAX_FAILURES)
    accepted = group_rows_by_class(manifest[manifest["status"] == ACCEPTED], run.classes)
    bank = read_run_bank(run)
    page = render(
        "page.html.j2",
        facts=facts,
        leads=collect_leads(run, facts, bank),
        steps=list_steps(run, facts),
        review=collect_review(run),
        colours=colours,
        accepted=_show_classes(run, accepted, bank),
        good=ClassTiles("good", len(good), _show(run, spread(good, how_many(run, MAX_GOOD)))),
        rejected=_show(run, _choose_rejected(manifest, how_many(run, MAX_REJECTED))),
        reasons=tabulate_reasons(manifest),
        failures=list(zip(lost["sample_id"], lost["reasons"], strict=True)),
        nearest=find_nearest_real(run, bank, how_many(run, MAX_PAIRS)),
        distributions=draw_distributions(
            {name: accepted[name] for name in colours if name in accepted}, colours
        ),
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
    """Return a page from one of the templates beside this module, as HTML.

    ``values`` are what the template names; jinja2's UndefinedError is raised where one is missing.
    """
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
    """Return a fraction 0..1 for people; a dash where it is not known.

    >>> format_percent(0.973), format_percent(float("nan"))
    ('97 %', '–')
    """
    return f"{100 * fraction:.0f} %" if math.isfinite(fraction) else "–"


def _show_classes(
    run: RunTables, accepted: Mapping[str, pd.DataFrame], bank: RunBank | None
) -> list[ClassTiles]:
    """Return accepted samples of each class, and as many real defects of it where there are."""
    each = max(1, min(MAX_PER_CLASS, how_many(run, MAX_ACCEPTED) // max(1, len(accepted))))
    shown = []
    for name, rows in accepted.items():
        areas = rows["area_px"] / rows["instances"].clip(lower=1)
        real = None if bank is None else show_real(bank, name, each, SIZE_PX, MAX_BYTES)
        shown.append(
            ClassTiles(
                name,
                len(rows),
                _show(run, spread(rows, fill_rows(min(each, len(rows))))),
                describe_sizes(list(areas.dropna()), list(rows["contrast_delta_e"].dropna())),
                real if real is not None and real.count else None,
            )
        )
    return shown


def _show(run: RunTables, rows: pd.DataFrame) -> list[Tile]:
    return show_samples(run, rows, SIZE_PX, MAX_BYTES)


def _choose_rejected(manifest: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return rejected samples with an image, of every reason and class in turn."""
    rows = manifest[(manifest["status"] == REJECTED) & (manifest["image"] != "")]
    rows = rows.sort_values("sample_id")
    limit = rows["reasons"].str.split(" ").str[0]
    turn = rows.groupby([limit, rows["defect_class"]]).cumcount()
    chosen = rows.assign(limit=limit, turn=turn).sort_values(["turn", "limit", "sample_id"])
    return chosen.head(fill_rows(min(most, len(chosen)))).sort_values(["limit", "sample_id"])
