"""Decide a manifest: statuses and reasons from the stored measurements and the limits in force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from synthgen.quality.limits import MEASURED, Bounds, Limits, is_outside, reasons_to_reject
from synthgen.quality.measures import MEASURES
from synthgen.quality.near_duplicates import Marks, find_near
from synthgen.samples.sample import Measurement, Status

__all__ = ["count_reasons", "decide", "explain_shortfall"]

Rows = NDArray[np.int64]
VARIED = tuple(one.name for one in MEASURES if one.scope in ("painted", "varied"))
NEAR_DUPLICATE = "near_duplicate_bits"
GROUPED_BY = ["source_id", "defect_class"]


def decide(manifest: pa.Table, limits: Limits) -> pa.Table:
    """Return the manifest with statuses and reasons by these limits.

    Good images stay good, but for varied ones that lost their part; a sample that came to no image,
    or that people left no defect on, keeps its reason. ``near_duplicate_id`` and
    ``near_duplicate_bits`` name the earlier accepted sample that is most alike, of those of one
    source and class at the same place and of the same colours; it counts last, since only a near
    duplicate of what is kept is one too many.
    """
    is_good, is_judged = _find_judged(manifest)
    judged = np.flatnonzero(is_judged)
    is_broken = _break_limits(manifest, judged, limits)
    bits, duplicates = np.full(len(manifest), np.nan), np.full(len(manifest), -1)
    for name, rows, marks in _groups(manifest, judged):
        most_alike = limits.of(name).get(NEAR_DUPLICATE, (None, None))
        _settle_duplicates(rows, marks, most_alike, is_broken, bits, duplicates)
    status = _text(manifest, "status")
    status[is_judged] = Status.ACCEPTED.value
    status[is_judged & is_good] = Status.GOOD.value
    status[is_broken] = Status.REJECTED.value
    measured = _put(manifest, NEAR_DUPLICATE, pa.array(bits, mask=np.isnan(bits)))
    reasons = _text(manifest, "reasons")
    reasons[is_judged] = ""
    reasons[is_broken] = list(_reasons(measured, np.flatnonzero(is_broken), limits))
    names = np.full(len(manifest), "", object)
    has_duplicate = duplicates >= 0
    names[has_duplicate] = _text(manifest, "sample_id")[duplicates[has_duplicate]]
    decided = {"status": status, "reasons": reasons, "near_duplicate_id": names}
    for column, values in decided.items():
        measured = _put(measured, column, pa.array(values, pa.large_string()))
    return measured


def _text(manifest: pa.Table, name: str) -> NDArray[np.object_]:
    return np.array(manifest[name].to_numpy(), object)


def _put(manifest: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """Return the table with other values in one of its columns."""
    place = manifest.schema.get_field_index(name)
    field = manifest.schema.field(place)
    return manifest.set_column(place, field, values.cast(field.type))


def _find_judged(manifest: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows are good images, and of which the limits decide."""
    has_class, has_image, is_edited = (
        pc.not_equal(manifest[name], "").to_numpy()
        for name in ("defect_class", "image", "edited_by")
    )
    is_varied = pc.is_valid(manifest["edge_f1"]).to_numpy()
    is_emptied = is_edited & (manifest["instances"].to_numpy() == 0) & has_class
    return ~has_class, has_image & (has_class | is_varied) & ~is_emptied


def _break_limits(manifest: pa.Table, judged: Rows, limits: Limits) -> NDArray[np.bool_]:
    """Say which rows break a limit other than that on near duplicates; NaN breaks none."""
    is_broken = np.zeros(len(manifest), bool)
    codes, names = _number(manifest["defect_class"])
    for number, name in enumerate(names):
        rows = judged[codes[judged] == number]
        for measured, bounds in _limits_of(name, limits).items():
            if measured != NEAR_DUPLICATE:
                is_broken[rows] |= is_outside(_values(manifest, measured)[rows], bounds)
    return is_broken


def _number(column: pa.ChunkedArray) -> tuple[Rows, list[str]]:
    """Return a number for each text of a column, and the texts by number."""
    numbered = pc.dictionary_encode(column.combine_chunks())
    return numbered.indices.to_numpy().astype(np.int64), numbered.dictionary.to_pylist()


def _values(manifest: pa.Table, name: str) -> NDArray[np.float64]:
    """Return a column of numbers; NaN where there is none."""
    return np.asarray(manifest[name].to_numpy(), float)


def _limits_of(name: str, limits: Limits) -> Mapping[str, Bounds]:
    """Return the limits of a class; of a varied good image, '', those of what it is measured by."""
    own = limits.of(name)
    return own if name else {measured: own[measured] for measured in VARIED if measured in own}


def _groups(manifest: pa.Table, judged: Rows) -> Iterator[tuple[str, Rows, Marks]]:
    """Yield class, rows and marks of each source and class, in order.

    Rows without a label are in none of these groups.
    """
    has_hash = pc.not_equal(manifest["perceptual_hash"], "").to_numpy()
    rows = judged[has_hash[judged]]
    (sources, _), (classes, names) = map(_number, manifest.select(GROUPED_BY).columns)
    grouped = (sources * len(names) + classes)[rows]
    marks = Marks.of(manifest.select(Marks.COLUMNS).take(rows))
    order = np.argsort(grouped, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(grouped[order])) + 1):
        if len(places):
            yield names[classes[rows[places[0]]]], rows[places], marks.take(places)


def _settle_duplicates(
    rows: Rows,
    marks: Marks,
    most_alike: Bounds,
    is_broken: NDArray[np.bool_],
    bits: NDArray[np.float64],
    duplicates: Rows,
) -> None:
    """Find the near duplicates of one group, and write them into the last three arrays.

    Row by row, in order, since a near duplicate of a sample that is not kept does not count.
    ``bits``: of the most alike earlier row that is kept. ``duplicates``: its place in the manifest.
    """
    for later, earlier, apart in find_near(marks):
        kept = ~is_broken[rows[earlier]]
        if not kept.any():
            continue
        place = int(apart[kept].argmin())
        row = rows[later]
        bits[row], duplicates[row] = apart[kept][place], rows[earlier[kept][place]]
        is_broken[row] |= is_outside(bits[row : row + 1], most_alike)[0]


def _reasons(manifest: pa.Table, broken: Rows, limits: Limits) -> Iterator[str]:
    """Yield the broken limits of each of these rows, joined by "; "."""
    rows = manifest.select(["defect_class", *MEASURED]).take(broken)
    classes = rows["defect_class"].to_pylist()
    values = np.column_stack([_values(rows, name) for name in MEASURED])
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
    {'pit': '1 of 2 rejected, by the limits that they break: area_px 1'}
    """
    sentences = {}
    for name, rows in manifest[manifest["defect_class"] != ""].groupby("defect_class"):
        missing = int((rows["status"] == Status.REJECTED.value).sum())
        if missing:
            causes = ", ".join(f"{cause} {count}" for cause, count in count_reasons(rows).items())
            sentences[str(name)] = (
                f"{missing} of {len(rows)} rejected, by the limits that they break: {causes}"
            )
    return sentences
