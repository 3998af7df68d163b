"""The plan of a run as its folder keeps it: a table of specs, and their digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import pyarrow as pa
import pyarrow.compute as pc

from synthgen.errors import RunError
from synthgen.runs.manifest import ARROW, read_table
from synthgen.runs.renamed import FORMER_COLUMNS
from synthgen.runs.schema import Kind
from synthgen.samples.sample import SampleSpec
from synthgen.storage.places import Storage

__all__ = ["explain_difference", "plan_digest", "read_plan", "read_spec", "tabulate_plan"]

TABLE = "plan"
KINDS: Mapping[Any, Kind] = {
    **{str: "str", str | None: "str"},
    **{int: "int64", float: "float64", float | None: "float64"},
}
FIELDS = {  # a plan knows no revisions
    field.name: None if field.default is MISSING else field.default
    for field in fields(SampleSpec)
    if field.name != "revision"
}
SCHEMA = pa.schema([(name, ARROW[KINDS[get_type_hints(SampleSpec)[name]]]) for name in FIELDS])
NEEDED = [  # what no spec is without
    field.name
    for field in fields(SampleSpec)
    if field.default is MISSING
    if field.name != "defect_class"
]
ABSENT = {  # how 0.1.0 wrote what is None
    **{"asked_area_px": 0.0, "asked_x": -1.0, "asked_y": -1.0},
    **{"reference": "", "reference_group": ""},
}
DIGESTED = 10_000  # values written at once


def tabulate_plan(specs: Sequence[SampleSpec]) -> pa.Table:
    """Return one row per spec, in order, one column per field; what is None is null."""
    columns = [
        pa.array([getattr(spec, field.name) for spec in specs], field.type) for field in SCHEMA
    ]
    return pa.table(columns, schema=SCHEMA)


def plan_digest(specs: Sequence[SampleSpec]) -> str:
    """Return a short digest of a plan; equal plans have equal digests.

    A field that has its default in all specs does not count, so a field that comes later does not
    change the digest of plans that do not use it.
    """
    digest = hashlib.sha256(str(len(specs)).encode())
    for name in sorted(FIELDS, key=_digested):
        values = [getattr(spec, name) for spec in specs]
        if all(value == FIELDS[name] for value in values):
            continue
        digest.update(_digested(name).encode())
        for start in range(0, len(values), DIGESTED):
            digest.update(json.dumps(values[start : start + DIGESTED]).encode())
    return digest.hexdigest()[:16]


def _digested(name: str) -> str:
    return FORMER_COLUMNS.get(name, name)  # plans of before have equal digests


def read_plan(storage: Storage) -> list[SampleSpec]:
    """Return the specs of a run, in order; raises FileNotFoundError where there is no plan."""
    return [_to_spec(row, storage) for row in read_table(storage, TABLE, schema=SCHEMA).to_pylist()]


def read_spec(storage: Storage, sample_id: str) -> SampleSpec:
    """Return the spec of a sample from the plan of a run; raises RunError where it has none."""
    try:
        table = read_table(storage, TABLE, schema=SCHEMA)
    except FileNotFoundError as error:
        raise RunError(f"{storage.location}/{TABLE}.parquet is missing") from error
    rows: list[Any] = []
    if "sample_id" in table.column_names:
        rows = table.filter(pc.equal(table["sample_id"], sample_id)).to_pylist()
    if not rows:
        raise RunError(
            f"{storage.location}/{TABLE}.parquet has no sample {sample_id!r}; the run folder is "
            "damaged"
        )
    return _to_spec(rows[0], storage)


def _to_spec(row: Mapping[str, Any], storage: Storage) -> SampleSpec:
    """Return a spec from a row, also from one of an older version: fewer fields, or others."""
    values: dict[str, Any] = {
        name: None if name in ABSENT and row[name] == ABSENT[name] else row[name]
        for name in FIELDS
        if name in row
    }
    for name in NEEDED:
        if values.get(name) is None:
            raise RunError(
                f"{storage.location}/{TABLE}.parquet does not say the {name} of a sample; the run "
                "folder is damaged"
            )
    return SampleSpec(**values)


def explain_difference(before: Sequence[SampleSpec], now: Sequence[SampleSpec]) -> str:
    """Return what differs first between two plans, "" for nothing.

    >>> explain_difference([], [])
    ''
    """
    if len(before) != len(now):
        return f"it had {len(before)} samples, now there are {len(now)}"
    for old, new in zip(before, now, strict=True):
        for name in FIELDS:
            one, other = getattr(old, name), getattr(new, name)
            if one != other:
                return f"{name} of {old.sample_id} was {one!r}, now it is {other!r}"
    return ""
