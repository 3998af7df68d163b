"""The dataset of a run in FiftyOne: found, or made with its fields and slices."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath
from typing import Any

from synthgen.errors import RunError
from synthgen.review.documents import FIELDS, LABEL_FIELDS
from synthgen.review.fields import DEFECTS, IMAGE, SLICE_FIELD, SLICES
from synthgen.runs.reader import RunTables

__all__ = ["find_dataset", "open_dataset"]


def open_dataset(fiftyone: Any, run: RunTables, name: str | None) -> Any:
    """Return the dataset that shows a run; a new one, empty but with all fields, where none does.

    A dataset of another run, which lay in the same folder before, is deleted. ``name``: see
    ``find_dataset``. Raises RunError where ``name`` is that of something else.
    """
    found = find_dataset(fiftyone, run, name)
    if found is not None and found.info["digest"] == run.record["digest"]:
        _add_fields(fiftyone, found)  # of columns that came since it was made
        return found
    if found is not None:
        found.delete()
    taken = set(fiftyone.list_datasets())
    free = name or next(one for one in _names(run) if one not in taken)
    dataset = fiftyone.Dataset(free, persistent=True)
    dataset.add_group_field(SLICE_FIELD, default=IMAGE)
    for one in SLICES:
        dataset.add_group_slice(one, "image")
    for field in ("reasons", "broken"):
        dataset.add_sample_field(field, fiftyone.ListField, subfield=fiftyone.StringField)
    dataset.add_sample_field("editor", fiftyone.StringField)  # of labels not yet pulled
    dataset.add_sample_field("decisions", fiftyone.ListField, subfield=fiftyone.DictField)
    embedded = fiftyone.EmbeddedDocumentField
    dataset.add_sample_field(DEFECTS, embedded, embedded_doc_type=fiftyone.Detections)
    _add_fields(fiftyone, dataset)
    for field in ("realised", "asked"):
        dataset.add_sample_field(field, embedded, embedded_doc_type=fiftyone.Segmentation)
    dataset.create_index("synthgen_id")
    dataset.info = {"run": _location(run), "digest": run.record["digest"]}
    dataset.save()
    return dataset


def find_dataset(fiftyone: Any, run: RunTables, name: str | None) -> Any | None:
    """Return the dataset that shows a run, None for none; raises RunError as ``open_dataset``.

    ``name``: that of the dataset; None = the name of the run's folder, or that name and a digest of
    the folder's place where another run has it.
    """
    known = set(fiftyone.list_datasets())
    for candidate in [name] if name else _names(run):
        if candidate in known:
            dataset = fiftyone.load_dataset(candidate)
            if dataset.info.get("run") == _location(run):
                return dataset
            if name:
                raise RunError(
                    f"review.name={name!r} is a dataset of FiftyOne that does not show {run.root}; "
                    "give another name"
                )
    return None


def _names(run: RunTables) -> tuple[str, str]:
    """Return the names of a run's dataset: its folder's, and one for where that is taken."""
    location = _location(run)
    stem = re.sub(r"[^\w.-]", "-", PurePath(location).name) or "run"
    tail = hashlib.sha1(location.encode("utf-8"), usedforsecurity=False).hexdigest()[:6]
    return stem, f"{stem}-{tail}"


def _location(run: RunTables) -> str:
    folder = run.storage.local("")
    return run.storage.location if folder is None else str(folder.absolute())


def _add_fields(fiftyone: Any, dataset: Any) -> None:
    """Give a dataset the fields of the manifest and of the instances that it lacks."""
    kinds = {
        "str": fiftyone.StringField,
        "int64": fiftyone.IntField,
        "float64": fiftyone.FloatField,
    }
    known = dataset.get_field_schema(flat=True)
    labels = {f"{DEFECTS}.detections.{name}": kind for name, kind in LABEL_FIELDS.items()}
    for name, kind in (FIELDS | labels).items():
        if name not in known:
            dataset.add_sample_field(name, kinds[kind])
