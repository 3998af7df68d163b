"""Decide a manifest: statuses and reasons from the stored measurements and the limits in force."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from synthgen.quality.limits import MEASURED, Limits, reasons_to_reject
from synthgen.quality.twins import bits_between, colour_distance
from synthgen.sample import Measurement, Status

__all__ = ["count_reasons", "decide", "explain_shortfall"]

Row = dict[str, Any]
SAME_COLOUR = 5.0  # Delta E
SAME_PLACE = 0.5  # overlap of two labels' boxes, of their union


def decide(manifest: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """Return the manifest with statuses and reasons by these limits.

    Good images stay good; a sample that came to no image keeps its reason. ``twin_id`` and
    ``twin_bits`` name the earlier accepted sample that is most alike, of those of one source and
    class at the same place and of the same colours; it counts last, since only a twin of what is
    kept is one too many.
    """
    rows: list[Row] = [{str(k): v for k, v in r.items()} for r in manifest.to_dict("records")]
    kept: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        row["twin_id"], row["twin_bits"] = "", float("nan")
        if row["status"] == Status.GOOD.value or not row["image"]:
            continue
        bounds = limits.of(row["defect_class"])
        others = kept.setdefault((row["source_id"], row["defect_class"]), [])
        row["twin_id"], row["twin_bits"] = _find_twin(row, others)
        measured = [Measurement(name, float(row[name])) for name in MEASURED]
        reasons = reasons_to_reject(measured, bounds)
        row["status"] = (Status.REJECTED if reasons else Status.ACCEPTED).value
        row["reasons"] = "; ".join(reasons)
        if not reasons:
            others.append(row)
    return pd.DataFrame(rows, columns=manifest.columns).astype(manifest.dtypes.to_dict())


def _find_twin(row: Row, others: list[Row]) -> tuple[str, float]:
    if not row["look"]:
        return "", float("nan")
    near = [
        other
        for other in others
        if _box_iou(row, other) >= SAME_PLACE
        and colour_distance(row["colours"], other["colours"]) <= SAME_COLOUR
    ]
    if not near:
        return "", float("nan")
    bits = [bits_between(str(row["look"]), str(other["look"])) for other in near]
    place = int(np.argmin(bits))
    return str(near[place]["sample_id"]), float(bits[place])


def _box_iou(one: Row, other: Row) -> float:
    spans = []
    for start, length in (("box_x", "box_w"), ("box_y", "box_h")):
        ends = [(int(r[start]), int(r[start]) + int(r[length])) for r in (one, other)]
        spans.append(max(0, min(ends[0][1], ends[1][1]) - max(ends[0][0], ends[1][0])))
    shared = spans[0] * spans[1]
    areas = [int(r["box_w"]) * int(r["box_h"]) for r in (one, other)]
    return float(shared / max(1, sum(areas) - shared))


def count_reasons(manifest: pd.DataFrame) -> dict[str, int]:
    """Return how many rejected samples broke which limit, most frequent first.

    A sample that came to no image has a sentence instead of limits and counts as ``no image``.
    """
    rejected = manifest[manifest["status"] == Status.REJECTED.value]
    counted = Counter(
        reason.split(" ")[0]
        for text in rejected.loc[rejected["image"] != "", "reasons"]
        for reason in text.split("; ")
        if reason
    )
    counted["no image"] = int((rejected["image"] == "").sum())
    return {name: count for name, count in counted.most_common() if count}


def explain_shortfall(manifest: pd.DataFrame) -> dict[str, str]:
    """Return a sentence for each class of which fewer images were accepted than planned.

    >>> table = {"defect_class": ["pit", "pit"], "status": ["accepted", "rejected"],
    ...          "reasons": ["", "area_px 2 is below 6"], "image": ["a.png", "b.png"]}
    >>> explain_shortfall(pd.DataFrame(table))
    {'pit': '1 of 2 are missing: area_px 1'}
    """
    sentences = {}
    for name, rows in manifest[manifest["defect_class"] != ""].groupby("defect_class"):
        missing = int((rows["status"] == Status.REJECTED.value).sum())
        if missing:
            causes = ", ".join(f"{cause} {count}" for cause, count in count_reasons(rows).items())
            sentences[str(name)] = f"{missing} of {len(rows)} are missing: {causes}"
    return sentences
