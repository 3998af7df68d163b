"""Show a run in FiftyOne: what is new or changed goes into its dataset, the rest stays."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synthgen.bank.items import read_bank
from synthgen.generate import batched
from synthgen.review.database import load_fiftyone, new_id
from synthgen.review.dataset import find_dataset, open_dataset
from synthgen.review.documents import Document, document_real, document_rows
from synthgen.review.fields import IMAGE, REAL, SLICE_FIELD
from synthgen.review.look import arrange
from synthgen.review.media import ShownFiles
from synthgen.review.pull import pull
from synthgen.review.settings import ReviewSettings
from synthgen.runs.growing import read_so_far
from synthgen.runs.reader import RunTables
from synthgen.runs.verdicts import judge, read_verdicts

__all__ = ["Pushed", "push"]

BATCH = 500  # samples written at once


@dataclass(frozen=True, slots=True)
class Pushed:
    """What is shown now. ``new``: samples that were added or replaced; ``real``: real defects."""

    dataset: str
    new: int
    real: int
    total: int


def push(root: Path | str, settings: ReviewSettings) -> Pushed:
    """Show a run, finished or not, in FiftyOne; return what was done.

    What people decided there meanwhile is pulled first. Raises RunError, ConfigError.
    """
    fiftyone = load_fiftyone()
    run = read_so_far(root)
    found = find_dataset(fiftyone, run, settings.name)
    if found is not None and found.info["digest"] == run.record["digest"]:
        pull(root, settings)
        run = read_so_far(root)
    dataset = open_dataset(fiftyone, run, settings.name)
    files = ShownFiles(Path(settings.cache).expanduser() / dataset.name)
    new = _push_samples(dataset, run, files)
    if _push_bank(dataset, run, files) or new:
        arrange(fiftyone, dataset, run)
    real = dataset.match_tags(REAL).count()
    return Pushed(dataset.name, new, real, dataset.count() - real)


def _push_samples(dataset: Any, run: RunTables, files: ShownFiles) -> int:
    judged = judge(read_verdicts(run.root), run.revisions)
    new = 0
    for batch in batched(document_rows(run, judged, files, _known(dataset)), BATCH):
        _write(dataset, batch)
        new += len(batch)
    return new


def _known(dataset: Any) -> dict[str, str]:
    """Return the digest of each row that is shown, by sample id."""
    asked = {f"{SLICE_FIELD}.name": IMAGE}
    shown = dataset._sample_collection.find(asked, {"synthgen_id": 1, "row_digest": 1})
    return {document["synthgen_id"]: document.get("row_digest") for document in shown}


def _push_bank(dataset: Any, run: RunTables, files: ShownFiles) -> int:
    """Add the real defects of the bank that lent to the run, once."""
    folder = (run.record["config"].get("bank") or {}).get("path")
    if not folder:
        return 0
    known = _known(dataset)
    documents = [document_real(item, str(folder), files) for item in read_bank(folder)]
    new = [one for one in documents if one[IMAGE]["synthgen_id"] not in known]
    for batch in batched(new, BATCH):
        _write(dataset, batch)
    return len(new)


def _write(dataset: Any, samples: Sequence[Mapping[str, Document]]) -> None:
    """Write samples, each with all its slices, in one request: one by one takes ten times longer.

    One that is shown already is replaced where it stands, with its ids.
    """
    from pymongo import InsertOne, ReplaceOne

    now = datetime.now(UTC)
    asked = {"synthgen_id": {"$in": [slices[IMAGE]["synthgen_id"] for slices in samples]}}
    shown = {
        (one["synthgen_id"], one[SLICE_FIELD]["name"]): one
        for one in dataset._sample_collection.find(asked, {"synthgen_id": 1, SLICE_FIELD: 1})
    }
    writes = []
    for slices in samples:
        group = {"_id": new_id(), "_cls": "Group"}
        for name, document in slices.items():
            before = shown.get((document["synthgen_id"], name))
            whole = {
                "_id": before["_id"] if before else new_id(),
                "_media_type": "image",
                "_dataset_id": dataset._doc.id,
                "created_at": now,
                "last_modified_at": now,
                SLICE_FIELD: before[SLICE_FIELD] if before else group | {"name": name},
                **document,
            }
            whole["_rand"] = zlib.crc32(whole["_id"].binary) / 2**32  # FiftyOne shuffles by it
            writes.append(ReplaceOne({"_id": whole["_id"]}, whole) if before else InsertOne(whole))
    dataset._sample_collection.bulk_write(writes, ordered=True)
