"""Labels that people drew, ``edits.parquet``: laid over the tables of a run whenever it is merged.

Its shards and painted masks stay as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synthgen.errors import RunError
from synthgen.imaging.geometry import mask_to_rle, read_run_lengths, rle_to_mask
from synthgen.runs.lock import hold_run
from synthgen.runs.manifest import read_table, schema_of, to_arrow, write_table
from synthgen.runs.reader import RunTables, read_run
from synthgen.runs.renamed import rename_row
from synthgen.runs.reviews.relabel import EditedInstance, check_label, relabel
from synthgen.runs.reviews.verdicts import check_subject, read_moment
from synthgen.runs.schema import columns_of, names_of
from synthgen.runs.sources import as_records
from synthgen.samples.sample import Status
from synthgen.storage.places import Storage, open_storage

__all__ = ["Edit", "EditedInstance", "Overlay", "add_edits", "read_edits"]

Row = Mapping[str, Any]
TABLE = "edits"
MANIFEST, INSTANCES = schema_of("manifest"), schema_of("instances")
TEXTS = ("edited_by", "defect_class", "mask")  # that any edit has
FROM_LABEL = names_of(column for column in columns_of("manifest") if column.from_label)
SCHEMA = pa.schema(
    [
        ("sample_id", pa.large_string()),
        ("revision", pa.int64()),
        ("reviewer", pa.large_string()),
        ("time", pa.large_string()),
        ("height", pa.int64()),
        ("width", pa.int64()),
        ("changed", pa.struct([MANIFEST.field(name) for name in FROM_LABEL])),
        ("instances", pa.list_(pa.struct(list(INSTANCES)))),
    ]
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Edit:
    """All defects of one revision of a sample, as one person sees them; none = nothing is there.

    ``time``: ISO 8601 with its offset, as ``2026-01-31T12:00:00+00:00``.
    """

    sample_id: str
    revision: int
    reviewer: str
    time: str
    instances: tuple[EditedInstance, ...]


def add_edits(root: Path | str, edits: Iterable[Edit]) -> int:
    """Measure edited labels and add them to a finished run; return how many are new.

    The last edit of a sample's newest revision counts; those of older ones are kept beside.
    ``RunFolder(root).merge()`` then lays them over the tables. Raises RunError or ShapeError, and
    adds nothing, where one does not fit the run.
    """
    run, given = read_run(root), list(edits)
    newest = run.revisions
    rows = {str(row["sample_id"]): row for row in as_records(run.manifest)}
    for edit in given:
        check_subject(edit.sample_id, edit.revision, edit.reviewer, newest, root)
        read_moment(edit.time, edit.sample_id)
        check_label(run, rows[edit.sample_id], edit.instances)
    with hold_run(f"{run.storage.location}/{TABLE}.parquet"):
        stored = _read(run.storage)
        known = {_key(row) for row in stored}
        new = {key: edit for edit in given if (key := _key(_tabulate(edit))) not in known}
        made = [_measure(run, rows[edit.sample_id], edit) for edit in new.values()]
        if made:
            _write(run.storage, stored, made)
    return len(made)


def _tabulate(edit: Edit) -> Row:
    """Return an edit as a row that is not measured."""
    return {
        "sample_id": edit.sample_id,
        "revision": edit.revision,
        "reviewer": edit.reviewer,
        "time": edit.time,
        "instances": [
            {"defect_class": one.defect_class, "rle": mask_to_rle(one.mask)["counts"]}
            for one in edit.instances
        ],
    }


def _key(row: Row) -> tuple[Any, ...]:
    """Return what makes an edit the same one: who said what of which revision, and when."""
    what = tuple((one["defect_class"], one["rle"]) for one in row["instances"])
    return row["sample_id"], row["revision"], row["reviewer"], row["time"], what


def _order(row: Row) -> tuple[Any, ...]:
    """Order by sample, revision and moment; the rest only makes the order certain."""
    sample_id, revision, reviewer, time, what = _key(row)
    return sample_id, revision, read_moment(time, sample_id), reviewer, what


def _measure(run: RunTables, row: Row, edit: Edit) -> tuple[Row, bytes]:
    """Return the row of an edit, and its label as PNG: b'' where its revision is an older one."""
    own = {**_tabulate(edit), "height": row["height"], "width": row["width"]}
    if edit.revision != row["revision"]:
        return own, b""
    made = relabel(run, row, edit.instances, edit.reviewer)
    return {**own, "changed": made.row, "instances": made.instances}, made.label


def _write(storage: Storage, stored: Sequence[Row], made: Sequence[tuple[Row, bytes]]) -> None:
    """Write the table, and before it the labels of the edits that are now the last ones."""
    rows = sorted([*stored, *(row for row, _ in made)], key=_order)
    last = {(row["sample_id"], row["revision"]): _key(row) for row in rows}
    for row, label in made:
        if label and _key(row) == last[row["sample_id"], row["revision"]]:
            storage.write(row["changed"]["mask"], label)
    write_table(storage, TABLE, pa.Table.from_pylist(rows, schema=SCHEMA))


def read_edits(root: Path | str) -> list[Edit]:
    """Return all edits of a run, by sample, revision and time; [] where there are none."""
    return [
        Edit(
            sample_id=row["sample_id"],
            revision=row["revision"],
            reviewer=row["reviewer"],
            time=row["time"],
            instances=tuple(
                EditedInstance(
                    one["defect_class"],
                    rle_to_mask({"size": [row["height"], row["width"]], "counts": one["rle"]}),
                )
                for one in row["instances"]
            ),
        )
        for row in _read(open_storage(root))
    ]


def _read(storage: Storage) -> Sequence[Row]:
    if not storage.exists(f"{TABLE}.parquet"):
        return []
    rows: list[dict[str, Any]] = read_table(storage, TABLE, schema=SCHEMA).to_pylist()
    for number, row in enumerate(rows):
        try:
            if row["changed"] is not None:
                row["changed"] = rename_row(row["changed"])
            _check_row(row)
        except (KeyError, TypeError, ValueError, AttributeError, RunError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise RunError(
                f"row {number} of {storage.location}/{TABLE}.parquet cannot be read ({why}); the "
                "table is damaged"
            ) from error
    return rows


def _check_row(row: Row) -> None:
    """Raise ValueError, TypeError or KeyError where a row is not an edit of a label."""
    for name in ("sample_id", "reviewer", "time"):
        if not isinstance(row[name], str) or not row[name]:
            raise ValueError(f"its {name} is empty")
    read_moment(row["time"], row["sample_id"])
    size_hw = int(row["height"]), int(row["width"])
    if not isinstance(row["revision"], int) or row["revision"] < 0:
        raise ValueError("its revision is not a number of 0 or more")
    for one in row["instances"]:
        if not isinstance(one["defect_class"], str):
            raise ValueError("one of its defects has no class")
        if not read_run_lengths(one["rle"] or "", size_hw)[1::2].sum():
            raise ValueError("one of its defects has an empty mask")
    changed = row["changed"]
    if changed is not None and not all(isinstance(changed[name], str) for name in TEXTS):
        raise ValueError("it does not say what changed")


class Overlay:
    """The edits that count: of each sample's newest revision the last one.

    ``revisions`` returns those revisions by sample; it is called only where there are edits.
    """

    def __init__(self, storage: Storage, revisions: Callable[[], Mapping[str, int]]) -> None:
        rows = _read(storage)
        newest = revisions() if rows else {}
        self._rows = {  # in order, so that the last one stays
            row["sample_id"]: row
            for row in rows
            if row["changed"] is not None and newest.get(row["sample_id"]) == row["revision"]
        }

    def lay_on_instances(self, instances: pa.Table) -> pa.Table:
        """Return the table with the defects of edited samples in place of the painted ones.

        It is then sorted by sample and by number of the defect.
        """
        if not self._rows:
            return instances
        drawn = [one for row in self._rows.values() for one in row["instances"]]
        painted = instances.filter(pc.invert(self._find(instances)))
        order = [("sample_id", "ascending"), ("instance_id", "ascending")]
        return pa.concat_tables([painted, to_arrow("instances", drawn)]).sort_by(order)

    def lay_on_manifest(self, manifest: pa.Table) -> pa.Table:
        """Return the manifest with what labels decide; limits are for ``decide``.

        A sample that is left without a defect is rejected. A good image that got one is accepted.
        """
        if not self._rows:
            return manifest
        is_edited = self._find(manifest)
        changed = []
        for row in manifest.filter(is_edited).to_pylist():
            edited = {**row, **self._rows[row["sample_id"]]["changed"]}
            if edited["instances"] and row["status"] == Status.GOOD.value:
                edited["status"] = Status.ACCEPTED.value
            if not edited["instances"] and row["defect_class"]:
                edited["status"] = Status.REJECTED.value
                who = edited["edited_by"]
                edited["reasons"] = f"emptied by {who}, who left no defect in its label"
            changed.append(edited)
        for name in ("status", "reasons", *FROM_LABEL):
            field, column = MANIFEST.field(name), manifest[name].combine_chunks()
            values = pa.array([row[name] for row in changed], field.type)
            new = pc.replace_with_mask(column, is_edited, values)
            manifest = manifest.set_column(manifest.schema.get_field_index(name), field, new)
        return manifest

    def _find(self, table: pa.Table) -> pa.Array:
        """Say which rows of a table are those of edited samples."""
        ids = pa.array(list(self._rows), pa.large_string())
        return pc.is_in(table["sample_id"].combine_chunks(), ids)
