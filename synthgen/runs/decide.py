"""Decide a manifest: statuses and reasons from the stored measurements and the limits in force."""

from __future__ import annotations

import pandas as pd

from synthgen.quality.limits import MEASURED, Limits, reasons_to_reject
from synthgen.quality.twins import nearest_looks
from synthgen.sample import Measurement, Status

__all__ = ["decide", "explain_shortfall", "find_twins"]


def find_twins(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest with ``twin_id`` and ``twin_bits``: the earlier sample most alike.

    Among those of one source and class; others differ by their surface.
    """
    found = manifest.assign(twin_id="", twin_bits=float("nan"))
    labelled = found[found["look"] != ""]
    for _, rows in labelled.groupby(["source_id", "defect_class"]):
        if len(rows) < 2:
            continue
        place, bits = nearest_looks(rows["look"].tolist())
        ids = rows["sample_id"].to_numpy()
        found.loc[rows.index, "twin_bits"] = bits
        found.loc[rows.index, "twin_id"] = [ids[p] if p >= 0 else "" for p in place]
    return found


def decide(manifest: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """Return the manifest with statuses and reasons by these limits.

    Good images stay good; a sample that came to no image keeps its reason.
    """
    statuses, sentences = [], []
    for row in manifest.to_dict("records"):
        if row["status"] == Status.GOOD.value or not row["image"]:
            statuses.append(row["status"])
            sentences.append(row["reasons"])
            continue
        measured = [Measurement(name, float(row[name])) for name in MEASURED]
        reasons = reasons_to_reject(measured, limits.of(row["defect_class"]))
        statuses.append((Status.REJECTED if reasons else Status.ACCEPTED).value)
        sentences.append("; ".join(reasons))
    return manifest.assign(status=statuses, reasons=sentences)


def explain_shortfall(manifest: pd.DataFrame) -> dict[str, str]:
    """Return a sentence for each class of which fewer images were accepted than planned.

    >>> table = {"defect_class": ["pit", "pit"], "status": ["accepted", "rejected"],
    ...          "reasons": ["", "area_px 2 is below 6"]}
    >>> explain_shortfall(pd.DataFrame(table))
    {'pit': '1 of 2 are missing: area_px 1'}
    """
    sentences = {}
    for name, rows in manifest[manifest["defect_class"] != ""].groupby("defect_class"):
        rejected = rows[rows["status"] == Status.REJECTED.value]
        if rejected.empty:
            continue
        causes = rejected["reasons"].str.split("; ").explode()
        known = causes.map(_cause_of).value_counts()
        counted = ", ".join(f"{cause} {count}" for cause, count in known.items())
        sentences[str(name)] = f"{len(rejected)} of {len(rows)} are missing: {counted}"
    return sentences


def _cause_of(reason: str) -> str:
    """Return the measurement that a reason starts with; another sentence stays whole."""
    first = reason.split(" ")[0]
    return first if first in MEASURED else reason
