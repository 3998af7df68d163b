"""What a finished run says in numbers: counts, rates, measures, reasons, where it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import yaml

from synthgen.backends.checkpoints.licences import describe_licence
from synthgen.report.svg import format_number
from synthgen.runs.reader import RunTables
from synthgen.runs.reviews.decide import count_reasons
from synthgen.samples.sample import Status

__all__ = [
    "ACCEPTED",
    "GOOD",
    "REJECTED",
    "ClassFacts",
    "ReasonTable",
    "RunFacts",
    "collect_run_facts",
    "flatten",
    "format_seconds",
    "group_rows_by_class",
    "name_run",
    "tabulate_reasons",
]

ACCEPTED, REJECTED, GOOD = (one.value for one in (Status.ACCEPTED, Status.REJECTED, Status.GOOD))
STAGES = ("condition", "paint", "inspect", "write")


@dataclass(frozen=True, kw_only=True)
class ClassFacts:
    """How a defect class fared. Fractions and medians are NaN where there is nothing to take."""

    name: str
    accepted: int
    rejected: int
    first_try: int  # accepted at the first try
    area_px: float  # median of the accepted
    contrast_delta_e: float  # the same, CIELAB

    @property
    def asked(self) -> int:
        """How many samples of the class were planned."""
        return self.accepted + self.rejected

    @property
    def accept_rate(self) -> float:
        """Fraction 0..1 of those that were accepted; NaN for none."""
        return self.accepted / self.asked if self.asked else float("nan")


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """The numbers of a run. ``seconds``: work of all workers, by stage."""

    name: str
    folder: str
    asked: int
    accepted: int
    rejected: int
    good: int
    first_try: int
    tries: int
    classes: list[ClassFacts]
    unused: list[str]  # classes that were asked for and have no sample
    splits: dict[str, int]  # images that are accepted or good
    seconds: dict[str, float]
    images: int  # that were made, rejected ones too
    sizes: list[str]
    sources: int
    groups: int
    drawn: bool  # its sources
    about: dict[str, str]  # backend, checkpoint, licence, ...

    @property
    def accept_rate(self) -> float:
        """Fraction 0..1 of the defect samples that were accepted; NaN for none."""
        judged = self.accepted + self.rejected
        return self.accepted / judged if judged else float("nan")

    @property
    def seconds_per_image(self) -> float:
        """Work of all workers together for an image, rejected ones too; NaN for none."""
        return sum(self.seconds.values()) / self.images if self.images else float("nan")


def collect_run_facts(run: RunTables) -> RunFacts:
    """Count a run, class by class and as a whole, and tell how it was made.

    Timings are those of the stages condition, paint, inspect and write, as far as the run has them.
    """
    manifest, ids = run.manifest, run.classes
    counts = Counter(manifest["status"])
    made = manifest[manifest["image"] != ""]
    kept = made[made["status"] != REJECTED]
    classes = []
    for name, rows in group_rows_by_class(manifest, ids).items():
        accepted = rows[rows["status"] == ACCEPTED]
        classes.append(
            ClassFacts(
                name=name,
                accepted=len(accepted),
                rejected=int((rows["status"] == REJECTED).sum()),
                first_try=int((accepted["attempt"] == 0).sum()),
                area_px=float(accepted["area_px"].median()),
                contrast_delta_e=float(accepted["contrast_delta_e"].median()),
            )
        )
    sizes = Counter(zip(made["width"], made["height"], strict=True)).most_common()
    stages = run.timings[[stage for stage in STAGES if stage in run.timings]].sum()
    return RunFacts(
        name=name_run(run.root),
        folder=str(run.root),
        asked=len(manifest),
        accepted=counts[ACCEPTED],
        rejected=counts[REJECTED],
        good=counts[GOOD],
        first_try=sum(one.first_try for one in classes),
        tries=len(run.tries),
        classes=classes,
        unused=sorted(set(ids) - {one.name for one in classes}) if classes else [],
        splits={str(k): int(v) for k, v in kept["split"].value_counts().sort_index().items()},
        seconds={str(name): float(value) for name, value in stages.items()},
        images=len(run.timings),
        sizes=[f"{width} × {height} px ({count:,})" for (width, height), count in sizes[:4]],
        sources=int(manifest["source_id"].nunique()),
        groups=int(manifest["group"].nunique()),
        drawn=not (made["photo"] != "").any() if "photo" in made else False,
        about=_describe(run.record),
    )


def name_run(root: Any) -> str:
    """Return the last part of a run's folder or address, all of it where it has one part."""
    return PurePosixPath(str(root)).name or str(root)


def group_rows_by_class(rows: pd.DataFrame, ids: Mapping[str, int]) -> dict[str, pd.DataFrame]:
    """Return a manifest's rows by defect class, in the order of the class ids.

    Good images are left out; a class without an id comes last, by its name.
    """
    groups = {str(name): own for name, own in rows.groupby("defect_class") if name}
    names = sorted(groups, key=lambda name: (ids.get(name, 1 << 30), name))
    return {name: groups[name] for name in names}


def _describe(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what a reader should know at once of how a run was made."""
    models = record.get("models") or {}
    config = record.get("config") or {}
    about = {"painted by": str(record.get("backend") or "–")}
    if record.get("checkpoint"):
        about["checkpoint"] = str(record["checkpoint"])
    licences = {
        what: describe_licence(model.get("licence"))
        for what, model in models.items()
        if isinstance(model, Mapping)
    }
    for what, licence in licences.items():
        about["licence" if what == "checkpoint" else f"licence of {what}"] = licence
    if not models:
        about["licence"] = "no model painted this"
    about["mode"] = str(config.get("mode", "defects"))
    about["seed"] = str(config.get("seed", "–"))
    if path := (config.get("bank") or {}).get("path"):
        about["bank"] = str(path)
    return about


@dataclass(frozen=True)
class ReasonTable:
    """How many rejected samples broke which limit, by class; a sample may break several."""

    names: list[str]  # of the limits, most frequent first
    rows: dict[str, list[int]]  # by class, in the order of ``names``
    totals: list[int]


def tabulate_reasons(manifest: pd.DataFrame) -> ReasonTable:
    """Count reasons by class; what came to no image counts as ``no image``.

    Good images that were varied and rejected have a row of their own.
    """
    totals = count_reasons(manifest)
    rejected = manifest[manifest["status"] == REJECTED]
    rows = {}
    for name, part in rejected.groupby("defect_class"):
        own = count_reasons(part)
        rows[str(name) or "good, varied"] = [own.get(reason, 0) for reason in totals]
    return ReasonTable(list(totals), rows, list(totals.values()))


def flatten(config: Any, start: str = "") -> dict[str, str]:
    """Return every key of a nested config, joined by dots, with its value as YAML in one line.

    ``start`` comes before all keys; what is not a mapping has it as its only key.

    >>> flatten({"run": {"count": 6, "retries": ["noise"]}, "missed": None})
    {'run.count': '6', 'run.retries': '[noise]', 'missed': 'null'}
    """
    if not isinstance(config, Mapping) or not config:
        text = yaml.safe_dump(config, default_flow_style=True, width=1 << 20, allow_unicode=True)
        return {start: text.removesuffix("\n").removesuffix("\n...")}
    flat: dict[str, str] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{start}.{key}" if start else str(key))
    return flat


def format_seconds(seconds: float) -> str:
    """Return a duration for people; a dash where it is not known.

    >>> [format_seconds(seconds) for seconds in (0.25, 42, 200, 7500)]
    ['0.25 s', '42 s', '3 min 20 s', '2 h 5 min']
    """
    if not np.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{format_number(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
