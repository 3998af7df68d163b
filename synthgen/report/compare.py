"""Two runs, or more, on one page: what differs in how they were made and in what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from synthgen.errors import ConfigError
from synthgen.progress import stage
from synthgen.report.charts import draw_spark
from synthgen.report.facts import (
    ACCEPTED,
    ClassFacts,
    RunFacts,
    collect_run_facts,
    flatten,
    format_seconds,
    name_run,
)
from synthgen.report.measured import measure_quality
from synthgen.report.page import MAX_BYTES, SIZE_PX, format_percent, render
from synthgen.report.panels import draw_distributions
from synthgen.report.pictures import Tile, how_many, show_samples, spread
from synthgen.report.svg import colour_classes, format_number
from synthgen.runs.reader import RunTables, read_run
from synthgen.runs.reviews.decide import count_reasons
from synthgen.storage.files import write_text

__all__ = ["write_comparison"]

MAX_RUNS = 6
MAX_TILES, MAX_PER_CLASS = 72, 6  # of all runs together; of one class of one run
OWN = ("config.run.folder",)  # differs between any two runs
Show = Callable[[float], str]
COUNTED: tuple[tuple[str, Callable[[RunFacts], float], Show], ...] = (
    ("asked", lambda facts: facts.asked, format_number),
    ("accepted", lambda facts: facts.accepted, format_number),
    ("rejected", lambda facts: facts.rejected, format_number),
    ("good, without a defect", lambda facts: facts.good, format_number),
    ("of the defects accepted", lambda facts: facts.accept_rate, format_percent),
    ("accepted at the first try", lambda facts: facts.first_try, format_number),
    ("tries", lambda facts: facts.tries, format_number),
    ("source images", lambda facts: facts.sources, format_number),
    ("parts", lambda facts: facts.groups, format_number),
    ("work per image", lambda facts: facts.seconds_per_image, format_seconds),
)


@dataclass(frozen=True)
class Row:
    """One number of each run, in words; ``change``: the second less the first, '' for many."""

    name: str
    values: list[str]
    change: str = ""


@dataclass(frozen=True, kw_only=True)
class ClassComparison:
    """One defect class in each run."""

    name: str
    accepted: Row
    rate: Row
    area_px: Row
    contrast: Row


@dataclass(frozen=True, kw_only=True)
class MeasureRow:
    """One measurement in each run; a run without it has dashes and no chart."""

    title: str
    unit: str
    limits: list[str]
    median: Row
    charts: list[Markup]


@dataclass(frozen=True)
class ClassSamples:
    """The samples of a class that are shown, by run, and how many each run accepted."""

    name: str
    counts: dict[str, int]
    tiles: dict[str, list[Tile]]


@stage("comparing the runs")
def write_comparison(run_folders: Sequence[Path | str], path: Path) -> Path:
    """Write a page that compares finished runs; return its path.

    Runs are named by their folders, by the whole path where two folders have one name; changes are
    those against the first of two. Raises ConfigError for fewer than two runs, more than six or one
    twice, RunError for one that is not finished.
    """
    tables = [read_run(folder) for folder in run_folders]
    roots = [str(run.root) for run in tables]
    if not 2 <= len(roots) <= MAX_RUNS or len(set(roots)) < len(roots):
        raise ConfigError(
            f"runs={roots} cannot be compared; give 2 to {MAX_RUNS} different finished runs"
        )
    short = [name_run(root) for root in roots]
    runs = dict(zip(short if len(set(short)) == len(short) else roots, tables, strict=True))
    facts = {name: collect_run_facts(run) for name, run in runs.items()}
    colours = colour_classes(list(runs))
    accepted = {
        name: run.manifest[run.manifest["status"] == ACCEPTED] for name, run in runs.items()
    }
    counted = [_row(name, map(get, facts.values()), show) for name, get, show in COUNTED]
    about = [one.about for one in facts.values()]
    reasons = [count_reasons(run.manifest) for run in runs.values()]
    page = render(
        "compare.html.j2",
        runs=runs,
        colours=colours,
        counted=counted,
        made=[Row(key, [own.get(key, "–") for own in about]) for key in _union(about)],
        classes=_compare_classes(facts),
        reasons=[
            _row(name, [own.get(name, 0) for own in reasons], format_number)
            for name in _union(reasons)
        ],
        measures=_compare_measures(runs),
        distributions=draw_distributions(accepted, colours, is_fraction=True),
        samples=_show_samples(runs, accepted),
        settings=_compare_settings(runs),
    )
    write_text(path, page)
    return path


def _union(mappings: Iterable[Iterable[str]]) -> list[str]:
    """Return the keys of all of them, once each, in the order in which they come."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def _row(name: str, values: Iterable[float], show: Show) -> Row:
    numbers = [float(value) for value in values]
    change = ""
    if len(numbers) == 2 and np.isfinite(numbers).all():
        difference = numbers[1] - numbers[0]
        change, nothing = (show(n).replace("%", "points") for n in (abs(difference), 0.0))
        if change != nothing:
            change = f"{'−' if difference < 0 else '+'}{change}"
    return Row(name, [show(number) for number in numbers], change)


def _compare_classes(facts: Mapping[str, RunFacts]) -> list[ClassComparison]:
    names = _union([one.name for one in run.classes] for run in facts.values())
    nothing = float("nan")
    rows = []
    for name in names:
        none = ClassFacts(
            name=name,
            accepted=0,
            rejected=0,
            first_try=0,
            area_px=nothing,
            contrast_delta_e=nothing,
        )
        found = [
            next((one for one in run.classes if one.name == name), none) for run in facts.values()
        ]
        rows.append(
            ClassComparison(
                name=name,
                accepted=_row(name, [one.accepted for one in found], format_number),
                rate=_row(name, [one.accept_rate for one in found], format_percent),
                area_px=_row(name, [one.area_px for one in found], format_number),
                contrast=_row(name, [one.contrast_delta_e for one in found], format_number),
            )
        )
    return rows


def _compare_measures(runs: Mapping[str, RunTables]) -> list[MeasureRow]:
    measured = [{one.name: one for one in measure_quality(run)} for run in runs.values()]
    rows = []
    for name in _union(measured):
        found = [own.get(name) for own in measured]
        there = [one for one in found if one is not None]
        values = np.concatenate([one.values for one in there])
        span = float(values.min()), float(values.max())  # one axis for all runs
        title = there[0].title
        medians = [float("nan") if one is None else one.quantiles[1] for one in found]
        rows.append(
            MeasureRow(
                title=title,
                unit=there[0].unit,
                limits=["–" if one is None else ", ".join(one.limits) for one in found],
                median=_row(title, medians, format_number),
                charts=[
                    Markup("–") if one is None else draw_spark(one.values, *one.bounds, title, span)
                    for one in found
                ],
            )
        )
    return rows


def _show_samples(
    runs: Mapping[str, RunTables], accepted: Mapping[str, pd.DataFrame]
) -> list[ClassSamples]:
    """Return samples of each class and run: those of the same ids, where there are such."""
    shared = set.intersection(*(set(rows["sample_id"]) for rows in accepted.values()))
    shown_classes = {name for rows in accepted.values() for name in rows["defect_class"]}
    names = [name for name in _union(run.classes for run in runs.values()) if name in shown_classes]
    most = min(how_many(run, MAX_TILES) for run in runs.values())
    each = max(1, min(MAX_PER_CLASS, most // max(1, len(names) * len(runs))))
    shown = []
    for name in names:
        own = {key: rows[rows["defect_class"] == name] for key, rows in accepted.items()}
        both = {key: rows[rows["sample_id"].isin(shared)] for key, rows in own.items()}
        chosen = own if any(rows.empty for rows in both.values()) else both
        tiles = {
            key: show_samples(runs[key], spread(rows, each), SIZE_PX, MAX_BYTES)
            for key, rows in chosen.items()
        }
        shown.append(ClassSamples(name, {key: len(rows) for key, rows in own.items()}, tiles))
    return shown


def _compare_settings(runs: Mapping[str, RunTables]) -> list[Row]:
    """Return what differs in the records of the runs, and in their limits in force, key by key."""
    records = [
        {**run.record, "config": {**run.record["config"], "quality": run.quality}}
        for run in runs.values()
    ]
    rows = []
    for key, values in _differences(records):
        if key in OWN:
            continue
        words = [
            "–" if value is None else "set" if isinstance(value, Mapping) else flatten(value)[""]
            for value in values
        ]
        rows.append(Row(key.removeprefix("config."), words))
    return rows


def _differences(values: Sequence[Any], key: str = "") -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield the deepest keys whose values differ; a branch that one lacks counts as one key.

    >>> list(_differences([{"a": {"x": 1, "y": 2}}, {"a": {"x": 3, "y": 2}, "b": 4}]))
    [('a.x', [1, 3]), ('b', [None, 4])]
    """
    if all(isinstance(value, Mapping) for value in values):
        for name in sorted({name for value in values for name in value}):
            inner = [value.get(name) for value in values]
            yield from _differences(inner, f"{key}.{name}" if key else str(name))
    elif any(value != values[0] for value in values):
        yield key, values
