"""report.html: one file, no network: what was asked, what came out, what it looks like."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from synthgen.images import encode_jpeg
from synthgen.report.sheet import Views, draw_views
from synthgen.runs.decide import count_reasons
from synthgen.runs.reader import RunTables, read_run
from synthgen.storage import StoredFile

__all__ = ["draw_histogram", "embed", "write_report"]

PER_CLASS, GOOD, REJECTED = 4, 2, 12
COLOURS = {"accepted": "#2f9e73", "rejected": "#d1603d"}
STAGES = ("condition", "paint", "inspect", "write")


def write_report(run_folder: Path | str) -> StoredFile:
    """Write ``report.html`` into a finished run, wherever it lies; return it. Raises RunError."""
    run = read_run(run_folder)
    environment = Environment(loader=PackageLoader("synthgen.report", "."), autoescape=True)
    page = environment.get_template("page.html.j2").render(
        folder=str(run_folder),
        counts=Counter(run.manifest["status"]),
        checkpoint=run.record["checkpoint"],
        backend=run.record["backend"],
        classes=_count_classes(run),
        accepted=_rows(run, run.manifest[run.manifest["status"] == "accepted"], PER_CLASS),
        good=_rows(run, run.manifest[run.manifest["status"] == "good"], GOOD),
        rejected=_rejected_rows(run),
        failures=_failures(run.manifest),
        plots=_plots(run),
        record=yaml.safe_dump(run.record, sort_keys=True),
    )
    run.storage.write("report.html", page.encode("utf-8"))
    return StoredFile(run.storage, "report.html")


def _count_classes(run: RunTables) -> list[dict[str, Any]]:
    counts = pd.crosstab(run.manifest["defect_class"], run.manifest["status"])
    return [
        {
            "name": name,
            "accepted": int(counts.get("accepted", pd.Series()).get(name, 0)),
            "rejected": int(counts.get("rejected", pd.Series()).get(name, 0)),
        }
        for name in run.classes
    ]


def _rows(run: RunTables, rows: pd.DataFrame, per_class: int) -> list[dict[str, Any]]:
    chosen = rows[rows["image"] != ""].groupby("defect_class").head(per_class)
    ordered = chosen.sort_values(["defect_class", "sample_id"])
    return [_cell(run, row) for _, row in ordered.iterrows()]


def _rejected_rows(run: RunTables) -> list[dict[str, Any]]:
    rows = run.manifest[(run.manifest["status"] == "rejected") & (run.manifest["image"] != "")]
    return [_cell(run, row) for _, row in rows.sort_values("sample_id").head(REJECTED).iterrows()]


def _failures(manifest: pd.DataFrame) -> list[dict[str, str]]:
    rows = manifest[(manifest["status"] == "rejected") & (manifest["image"] == "")]
    return [
        {"sample_id": row["sample_id"], "reasons": row["reasons"]}
        for _, row in rows.head(REJECTED).iterrows()
    ]


def _cell(run: RunTables, row: pd.Series) -> dict[str, Any]:
    views: Views = draw_views(run, row)
    pictures = {field.name: embed(getattr(views, field.name)) for field in fields(views)}
    numbers = {
        "fill": row["fill_fraction"],
        "leak": row["leak_fraction"],
        "contrast": row["contrast_delta_e"],
    }
    shown = {name: f"{value:.2f}" for name, value in numbers.items() if not np.isnan(value)}
    return {"pictures": pictures, "numbers": shown} | {str(k): v for k, v in row.items()}


def embed(image: NDArray[np.uint8]) -> str:
    """Return a picture as a data URL, a JPEG."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(image, 88)).decode()


def _plots(run: RunTables) -> list[str]:
    manifest = run.manifest
    defects = manifest[(manifest["defect_class"] != "") & (manifest["image"] != "")]
    shown = {
        "area_px": "label area (pixels)",
        "fill_fraction": "fill (share of the asked mask that changed)",
        "contrast_delta_e": "contrast (CIELAB, over the texture)",
    }
    plots = [_histogram(defects, column, title) for column, title in shown.items()]
    reasons = count_reasons(manifest)
    if reasons:
        plots.append(_bars(reasons, "reasons of rejection (samples)"))
    seconds = run.timings[[stage for stage in STAGES if stage in run.timings]].mean().fillna(0)
    plots.append(_bars({str(k): float(v) for k, v in seconds.items()}, "seconds per image"))
    return plots


def _figure(title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.2, 2.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


def _histogram(rows: pd.DataFrame, column: str, title: str) -> str:
    groups = {
        status: rows.loc[rows["status"] == status, column].dropna().tolist() for status in COLOURS
    }
    return draw_histogram(groups, title, "samples")


def draw_histogram(groups: Mapping[str, Sequence[float]], title: str, counted: str) -> str:
    """Return a stacked histogram of named groups of numbers as a data URL, an SVG."""
    figure, axes = _figure(title)
    present = {status: values for status, values in groups.items() if len(values)}
    if present:
        axes.hist(
            list(present.values()),
            bins=24,
            stacked=True,
            label=list(present),
            color=[COLOURS.get(name, "#4c78a8") for name in present],
        )
        if len(groups) > 1:
            axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.set_ylabel(counted, fontsize=8)
    axes.yaxis.get_major_locator().set_params(integer=True)
    return _to_svg(figure)


def _bars(values: Mapping[str, float], title: str) -> str:
    figure, axes = _figure(title)
    names = list(values)[::-1]
    bars = axes.barh(names, [values[name] for name in names], color="#4c78a8")
    axes.bar_label(bars, fmt="%.3g", fontsize=8, padding=3)
    axes.margins(x=0.15)
    return _to_svg(figure)


def _to_svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "synthgen"}):  # else every page has other ids in its SVG
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=False)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
