"""The tables of a run: one row per sample, per defect, per try, per sample's seconds."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from synthgen.errors import RunError
from synthgen.imaging.geometry import mask_to_rle, union_box
from synthgen.quality.near_duplicates import colours_of, perceptual_hash
from synthgen.runs.names import check_names
from synthgen.runs.outlines import part_columns
from synthgen.runs.renamed import COLUMNS_NOW, FORMER_COLUMNS
from synthgen.runs.schema import FILLERS, Kind, Table, columns_of
from synthgen.samples.sample import (
    Annotation,
    Attempt,
    Boost,
    Failure,
    Measurement,
    Sample,
    SampleSpec,
    Status,
)
from synthgen.storage.files import write_whole
from synthgen.storage.places import Storage

__all__ = [
    "TABLES",
    "complete",
    "failure_row",
    "file_stem",
    "fill_missing",
    "instance_row",
    "instance_rows",
    "is_augmented",
    "label_columns",
    "manifest_row",
    "photo_of",
    "read_columns",
    "read_table",
    "schema_of",
    "to_arrow",
    "to_pandas",
    "try_rows",
    "write_table",
]

TABLES: tuple[Table, ...] = ("manifest", "instances", "tries", "timings", "files")
ARROW: Mapping[Kind, pa.DataType] = {
    "str": pa.large_string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
}
SPEC_FIELDS = {field.name for field in fields(SampleSpec)}
SOURCES = "sources/"  # drawn and augmented pictures, in the run folder
GROUP_ROWS = 100_000  # of Parquet, written at once
GROWN_ROWS, GROWN_BYTES = 1_000_000, 1 << 30  # of a table, whatever the size of its file


def _shared(
    spec: SampleSpec, attempt: Attempt, boost: Boost | None, backend: str, checkpoint: str
) -> dict[str, Any]:
    """Return what every row says: the fields of spec and attempt that have a column, and these."""
    planned = {}
    for column in columns_of("manifest"):
        if column.name in SPEC_FIELDS:
            value = getattr(spec, column.name)
            is_no_text = value is None and column.kind == "str"  # '' in a table
            planned[column.name] = FILLERS["str"] if is_no_text else value
    made = {"edited_by": "", "backend": backend, "checkpoint": checkpoint}
    no_label = {"instances": 0}  # of those planned
    return planned | _attempt_columns(attempt, boost) | made | no_label


def _attempt_columns(attempt: Attempt, boost: Boost | None) -> dict[str, Any]:
    own = {name: getattr(attempt, name) for name in ("placement", "boost", "variant")}
    return {"attempt": attempt.number, **own, **({} if boost is None else boost._asdict())}


def manifest_row(sample: Sample, backend: str, checkpoint: str) -> dict[str, Any]:
    """Return a sample's row of the manifest; numbers that do not apply are None.

    ``near_duplicate_id`` and ``near_duplicate_bits`` are not in it: ``decide`` finds those. The
    clean partner of an image, ``source_path``, is the photo itself, or a file of the run.
    """
    condition, spec = sample.candidate.condition, sample.spec
    source = condition.source
    height, width = source.size_hw
    names = {"image": "images", "mask": "masks", "requested": "requested", "control": "controls"}
    stem = file_stem(spec.sample_id, spec.revision)
    if spec.is_defect_free and not condition.is_whole:  # nothing was painted
        backend = checkpoint = ""
    source_path = source.path or f"{SOURCES}{spec.source_id}.png"
    if source.is_augmented:  # no longer the photo, and of this sample alone
        source_path = f"{SOURCES}{stem}.png"
    return (
        _shared(spec, sample.attempt, sample.boost, backend, checkpoint)
        | {column: f"{folder}/{stem}.png" for column, folder in names.items()}
        | {
            "status": sample.status.value,
            "reasons": "; ".join(sample.reasons),
            "source_path": source_path,
            "photo": source.path or "",
            **part_columns(condition.part),
            "width": width,
            "height": height,
        }
        | label_columns(
            sample.annotations,
            sample.measurements,
            sample.candidate.image,
            sample.candidate.realised_mask,
        )
    )


def label_columns(
    annotations: Sequence[Annotation],
    measurements: Sequence[Measurement],
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
) -> dict[str, Any]:
    """Return what a manifest says of a label: box, area, measurements, hash and colours.

    ``image`` (H, W, 3) uint8 RGB, ``mask`` (H, W) bool. The box holds all defects; without any it
    is (0, 0, 0, 0).
    """
    boxes = [annotation.box for annotation in annotations]
    return (
        {
            "instances": len(annotations),
            "perceptual_hash": perceptual_hash(image, mask),
            "colours": colours_of(image, mask),
        }
        | _box_columns(union_box(boxes) if boxes else (0, 0, 0, 0))
        | _numbers(measurements)
        | {"area_px": sum(annotation.area_px for annotation in annotations)}
    )


def file_stem(sample_id: str, revision: int) -> str:
    """Return the stem of a sample's files; those of each revision have a stem of their own.

    >>> file_stem("pit-000001", 0), file_stem("pit-000001", 2)
    ('pit-000001', 'pit-000001~2')
    """
    return f"{sample_id}~{revision}" if revision else sample_id


def photo_of(row: Mapping[str, Any]) -> str:
    """Return the path of the real photo behind a row of a manifest, '' where it was drawn."""
    photo, path = (str(row.get(name) or "") for name in ("photo", "source_path"))
    return photo or ("" if path.startswith(SOURCES) else path)  # runs of before had no ``photo``


def is_augmented(row: Mapping[str, Any]) -> bool:
    """Say whether a row's image is a photo that was varied: its clean partner is not the photo."""
    return photo_of(row) not in ("", str(row.get("source_path") or ""))


def failure_row(failure: Failure, backend: str, checkpoint: str) -> dict[str, Any]:
    """Return the row of a spec that came to no image: rejected, with the reason, without files.

    ``backend`` and ``checkpoint``: what would have painted it.
    """
    row = _shared(failure.spec, failure.attempt, None, backend, checkpoint)
    return row | {"status": failure.status.value, "reasons": failure.reason}


def try_rows(outcome: Sample | Failure) -> list[dict[str, Any]]:
    """Return one row per try at a sample, in order: what was measured, and why it was rejected.

    A try that measured nothing and broke no limit, as of a good photo, has no row.
    """
    return [
        {
            "sample_id": outcome.spec.sample_id,
            **_attempt_columns(one.attempt, one.boost),
            "step": one.step,
            "status": (Status.REJECTED if one.reasons else Status.ACCEPTED).value,
            "reasons": "; ".join(one.reasons),
            **_numbers(one.measurements),
        }
        for one in outcome.tries
        if one.measurements or one.reasons
    ]


def instance_rows(sample: Sample) -> list[dict[str, Any]]:
    """Return one row per defect of a sample, masks as COCO RLE."""
    spec = sample.spec
    return [instance_row(spec.sample_id, spec.severity, one) for one in sample.annotations]


def instance_row(sample_id: str, severity: float, annotation: Annotation) -> dict[str, Any]:
    """Return the row of one defect; its mask as COCO run lengths, its box in pixels.

    ``severity`` is that of its sample, 0..1.
    """
    return {
        "sample_id": sample_id,
        "instance_id": annotation.instance_id,
        "defect_class": annotation.defect_class,
        "class_id": annotation.class_id,
        **_box_columns(annotation.box),
        "rle": mask_to_rle(annotation.mask)["counts"],
        **_numbers(annotation.measurements),
        "area_px": annotation.area_px,
        "severity": severity,
    }


def _box_columns(box: Sequence[int]) -> dict[str, int]:
    return dict(zip(("box_x", "box_y", "box_w", "box_h"), map(int, box), strict=True))


def _numbers(measurements: Sequence[Measurement]) -> dict[str, float | None]:
    return {m.name: None if math.isnan(m.value) else round(m.value, 6) for m in measurements}


def to_arrow(name: Table, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return rows as one of ``TABLES``; what a row lacks is null.

    Raises ValueError or TypeError for values of another kind.
    """
    return pa.Table.from_pylist(list(rows), schema=schema_of(name))


def schema_of(name: Table) -> pa.Schema:
    """Return the columns of one of ``TABLES``, as Arrow's types."""
    return pa.schema([(column.name, ARROW[column.kind]) for column in columns_of(name)])


def complete(name: Table, table: pa.Table, columns: Sequence[str] | None = None) -> pa.Table:
    """Return one of ``TABLES``, or some of its columns; those that it lacks are null.

    It lacks those that came since it was written. Raises ValueError for columns of another kind.
    """
    schema = schema_of(name)
    if columns is not None:
        schema = pa.schema([schema.field(column) for column in columns])
    for field in schema:
        if field.name not in table.schema.names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def fill_missing(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with '' for texts and 0 for whole numbers that are missing."""
    kind = next(kind for kind, own in ARROW.items() if own == column.type)
    if kind == "float64" or not column.null_count:  # a number that does not apply stays null
        return column
    return column.fill_null(FILLERS[kind])


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Return a table for pandas; column by column, so that little of it is in memory twice."""
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    return frame


def write_table(storage: Storage, name: str, table: pa.Table) -> None:
    """Write ``<name>.parquet``, whole or not at all; raises RunError where the storage refuses."""
    path = storage.local(f"{name}.parquet")
    if path is not None:  # without the whole file in memory
        write_whole(path, partial(parquet.write_table, table, row_group_size=GROUP_ROWS))
        return
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, row_group_size=GROUP_ROWS)
    storage.write(f"{name}.parquet", sink.getvalue().to_pybytes())


def read_table(
    storage: Storage,
    name: str,
    columns: Sequence[str] | None = None,
    schema: pa.Schema | None = None,
) -> pa.Table:
    """Read ``<name>.parquet``, all of its columns or some, by their names of today.

    One of ``TABLES`` has '' and 0 for values that are missing. ``schema``: of another table;
    columns that it does not know stay as they are, and those that came since may be missing. Raises
    FileNotFoundError, and RunError where it is not a Parquet file, lacks ids, has columns of other
    kinds or holds names that no run has (see ``check_names``).
    """
    file = f"{name}.parquet"
    where = f"{storage.location}/{file}"
    source = storage.local(file) or io.BytesIO(storage.read(file))
    try:
        size = source.stat().st_size if isinstance(source, Path) else source.getbuffer().nbytes
        table = parquet.ParquetFile(source, pre_buffer=False)  # a fifth less memory than read_table
        # a small file must not become a very large table in memory
        groups = range(table.metadata.num_row_groups)
        grown = sum(table.metadata.row_group(number).total_byte_size for number in groups)
        rows = table.metadata.num_rows
        if rows > max(GROWN_ROWS, size) or grown > max(GROWN_BYTES, 200 * size):
            raise ValueError(f"its {size} bytes would become {rows} rows")
        read = read_columns(table, columns)
        if name in TABLES:
            read = _fill_all(_cast(read, schema_of(name)))
        elif schema is not None:
            read = _cast(read, schema)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"{where} is damaged ({line}); delete it and run the same synthgen generate command "
            "again"
        ) from error
    return check_names(read, where)


def read_columns(file: parquet.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
    """Return all or some columns of a file by their names of today; what it lacks is left out."""
    former = {FORMER_COLUMNS.get(name, name) for name in columns or ()}
    asked = None if columns is None else sorted({*columns, *former})
    table = file.read(columns=asked, use_threads=False)
    return table.rename_columns([COLUMNS_NOW.get(name, name) for name in table.column_names])


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with its known columns of the kinds that they should have.

    Raises ValueError where one is of another kind, or where samples have no id.
    """
    for field in schema:
        place = table.schema.get_field_index(field.name)
        if place < 0:
            continue
        column, kind = table.column(place), table.schema.field(place).type
        if not pa.types.is_null(kind) and _group(kind) != _group(field.type):
            raise ValueError(f"its column {field.name} holds {kind}, not {field.type}")
        if kind != field.type and not pa.types.is_nested(field.type):
            table = table.set_column(place, field, column.cast(field.type))
    if "sample_id" in table.column_names and table["sample_id"].null_count:
        raise ValueError("some of its samples have no id")
    return table


def _group(kind: pa.DataType) -> str:
    """Return what kinds of columns have in common whose values can be read as each other's."""
    is_a = pa.types
    if is_a.is_string(kind) or is_a.is_large_string(kind) or is_a.is_dictionary(kind):
        return "text"
    if is_a.is_integer(kind) or is_a.is_floating(kind) or is_a.is_boolean(kind):
        return "number"
    return "list" if is_a.is_list(kind) or is_a.is_large_list(kind) else str(kind).split("<")[0]


def _fill_all(table: pa.Table) -> pa.Table:
    """Return a table with '' and 0 for what is missing, as a run writes it."""
    for place, field in enumerate(table.schema):
        if field.type in (ARROW["str"], ARROW["int64"]) and table.column(place).null_count:
            table = table.set_column(place, field, fill_missing(table.column(place)))
    return table
