"""Decide a manifest: statuses and reasons from the stored measurements and the limits in force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.quality.limits import MEASURED, Bounds, Limits, is_outside, reasons_to_reject
from synthgen.quality.measures import MEASURES
from synthgen.quality.twins import Marks, find_near
from synthgen.sample import Measurement, Status

__all__ = ["count_reasons", "decide", "explain_shortfall"]

Rows = NDArray[np.int64]
VARIED = tuple(one.name for one in MEASURES if one.scope in ("painted", "varied"))
TWIN = "twin_bits"


def decide(manifest: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """Return the manifest with statuses and reasons by these limits.

    Good images stay good, but for varied ones that lost their part; a sample that came to no image,
    or that people left no defect on, keeps its reason. ``twin_id`` and ``twin_bits`` name the
    earlier accepted sample that is most alike, of those of one source and class at the same place
    and of the same colours; it counts last, since only a twin of what is kept is one too many.
    """
    is_good = manifest["defect_class"] == ""
    is_emptied = (manifest["edited_by"] != "") & (manifest["instances"] == 0) & ~is_good
    is_judged = (manifest["image"] != "") & (~is_good | manifest["edge_f1"].notna()) & ~is_emptied
    judged = np.flatnonzero(is_judged.to_numpy(bool))
    is_broken = _break_limits(manifest, judged, limits)
    bits, twins = np.full(len(manifest), np.nan), np.full(len(manifest), -1)
    for name, rows, marks in _groups(manifest, judged):
        most_alike = limits.of(name).get(TWIN, (None, None))
        _settle_twins(rows, marks, most_alike, is_broken, bits, twins)
    decided = manifest.assign(
        twin_bits=bits,
        twin_id=_name_twins(manifest["sample_id"], twins),
        status=manifest["status"]
        .mask(is_judged, Status.ACCEPTED.value)
        .mask(is_judged & is_good, Status.GOOD.value),
        reasons=manifest["reasons"].mask(is_judged, ""),
    )
    decided["status"] = decided["status"].mask(is_broken, Status.REJECTED.value)
    sentences = list(_reasons(decided, np.flatnonzero(is_broken), limits))
    decided.loc[is_broken, "reasons"] = sentences
    return decided.astype(manifest.dtypes.to_dict())


def _break_limits(manifest: pd.DataFrame, judged: Rows, limits: Limits) -> NDArray[np.bool_]:
    """Say which rows break a limit other than that on twins; NaN breaks none."""
    is_broken = np.zeros(len(manifest), bool)
    for name, places in manifest["defect_class"].iloc[judged].groupby(manifest["defect_class"]):
        rows = manifest.index.get_indexer(places.index)
        for measured, bounds in _limits_of(str(name), limits).items():
            if measured != TWIN:
                is_broken[rows] |= is_outside(manifest[measured].to_numpy(float)[rows], bounds)
    return is_broken


def _limits_of(name: str, limits: Limits) -> Mapping[str, Bounds]:
    """Return the limits of a class; of a varied good image, '', those of what it is measured by."""
    own = limits.of(name)
    return own if name else {measured: own[measured] for measured in VARIED if measured in own}


def _groups(manifest: pd.DataFrame, judged: Rows) -> Iterator[tuple[str, Rows, Marks]]:
    """Yield class, rows and marks of each source and class, in order; rows without a label are in
    none."""
    rows = judged[(manifest["look"].iloc[judged] != "").to_numpy(bool)]
    own = manifest[["source_id", "defect_class", *Marks.COLUMNS]].iloc[rows]
    marks = Marks.of(own)
    grouped = own.groupby(["source_id", "defect_class"], sort=False).ngroup().to_numpy()
    order = np.argsort(grouped, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(grouped[order])) + 1):
        if len(places):
            yield str(own["defect_class"].iloc[places[0]]), rows[places], marks.take(places)


def _settle_twins(
    rows: Rows,
    marks: Marks,
    most_alike: Bounds,
    is_broken: NDArray[np.bool_],
    bits: NDArray[np.float64],
    twins: Rows,
) -> None:
    """Find the twins of one group, row by row, since a twin of what is not kept is none."""
    for later, earlier, apart in find_near(marks):
        kept = ~is_broken[rows[earlier]]
        if not kept.any():
            continue
        place = int(apart[kept].argmin())
        row = rows[later]
        bits[row], twins[row] = apart[kept][place], rows[earlier[kept][place]]
        is_broken[row] |= is_outside(bits[row : row + 1], most_alike)[0]


def _name_twins(ids: pd.Series, twins: Rows) -> pd.Series:
    names = pd.Series("", ids.index)
    has_twin = twins >= 0
    names[has_twin] = ids.iloc[twins[has_twin]].to_numpy(object)
    return names


def _reasons(manifest: pd.DataFrame, broken: Rows, limits: Limits) -> Iterator[str]:
    classes = manifest["defect_class"].to_numpy(object)[broken]
    values = manifest[list(MEASURED)].iloc[broken].to_numpy(float)
    bounds = {name: _limits_of(name, limits) for name in set(classes)}
    for name, numbers in zip(classes, values, strict=True):
        measured = map(Measurement, MEASURED, map(float, numbers))
        yield "; ".join(reasons_to_reject(list(measured), bounds[name]))


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
