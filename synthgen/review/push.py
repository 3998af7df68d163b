"""Show a run in FiftyOne: what is new or changed goes into its dataset, the rest stays."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synthgen.errors import SynthgenError
from synthgen.generation.generate import batched
from synthgen.progress import stage, track
from synthgen.references.items import read_bank
from synthgen.review.dataset import find_dataset, open_dataset
from synthgen.review.documents import Document, document_real, document_rows, has_edits
from synthgen.review.fields import DEFECTS, IMAGE, REAL, SLICE_FIELD
from synthgen.review.growing import read_so_far
from synthgen.review.look import arrange
from synthgen.review.media import ShownFiles
from synthgen.review.pull import pull
from synthgen.review.service.database import load_fiftyone, new_id
from synthgen.review.settings import ReviewSettings
from synthgen.runs.reader import RunTables
from synthgen.runs.reviews.verdicts import judge, read_verdicts

__all__ = ["PushResult", "push"]

log = logging.getLogger(__name__)
BATCH = 500  # samples written at once
ROUNDS = 5  # of pulling and pushing, while people go on to decide
Said = tuple[str, str, str]  # sample, reviewer, time


@dataclass(frozen=True, slots=True)
class PushResult:
    """What is shown now. ``new``: samples that were added or replaced; ``real``: real defects."""

    dataset: str
    new: int
    real: int
    total: int


def push(root: Path | str, settings: ReviewSettings) -> PushResult:
    """Show a run, finished or not, in FiftyOne; return what was done.

    What people decided there meanwhile is pulled first. A sample that they speak of while it is
    pushed stays as it is shown, is pulled, and pushed again; after ``ROUNDS`` it stays until the
    next push. Raises RunError where there is no run, a file of it is gone, or the dataset's name is
    taken, and ConfigError where FiftyOne or its database is missing.
    """
    read_so_far(root)  # what is wrong with it is told before a database starts
    fiftyone = load_fiftyone()
    new = 0
    for _ in range(ROUNDS):
        run = read_so_far(root)
        found = find_dataset(fiftyone, run, settings.name)
        if found is not None and found.info["digest"] == run.record["digest"]:
            pull(root, settings)
            run = read_so_far(root)
        dataset = open_dataset(fiftyone, run, settings.name)
        files = ShownFiles(Path(settings.cache).expanduser() / dataset.name)
        written, left = _push_samples(dataset, run, files)
        new += written
        if not left:
            break
    if _push_bank(dataset, run, files) or new:
        with stage("arranging views and what is similar"):
            arrange(fiftyone, dataset, run)
    real = dataset.match_tags(REAL).count()
    return PushResult(dataset.name, new, real, dataset.count() - real)


def _push_samples(dataset: Any, run: RunTables, files: ShownFiles) -> tuple[int, int]:
    """Write what is new or changed; return how many samples are written, and how many are left as
    they are shown, since people spoke of them after the pull."""
    said = read_verdicts(run.root)
    home = {(one.sample_id, one.reviewer, one.time) for one in said}
    rows = document_rows(run, judge(said, run.revisions), files, _known(dataset))
    written = left = 0
    shown = track(rows, "showing samples that are new or changed", unit="samples")
    for batch in batched(shown, BATCH):
        done = _write(dataset, batch, home)
        written, left = written + done, left + len(batch) - done
    return written, left


def _known(dataset: Any) -> dict[str, str]:
    """Return the digest of each row that is shown, by sample id."""
    asked = {f"{SLICE_FIELD}.name": IMAGE}
    shown = dataset._sample_collection.find(asked, {"synthgen_id": 1, "row_digest": 1})
    return {document["synthgen_id"]: document.get("row_digest") for document in shown}


def _push_bank(dataset: Any, run: RunTables, files: ShownFiles) -> int:
    """Add the real defects of the bank that lent to the run, once; a bank that is gone is told."""
    folder = (run.record["config"].get("bank") or {}).get("path")
    if not folder:
        return 0
    try:
        bank = read_bank(folder)
    except SynthgenError as error:
        log.warning("synthgen: the bank's real defects are not shown: %s", error)
        return 0
    known = _known(dataset)
    items = track(bank, "showing real defects", unit="defects")
    documents = [document_real(item, str(folder), files) for item in items]
    new = [one for one in documents if one[IMAGE]["synthgen_id"] not in known]
    for batch in batched(new, BATCH):
        _write(dataset, batch)
    return len(new)


def _write(
    dataset: Any, samples: Sequence[Mapping[str, Document]], home: Set[Said] = frozenset()
) -> int:
    """Write samples, each with all its slices, in one request: one by one takes ten times longer.

    One that is shown already is replaced where it stands, with its ids, but not if people spoke of
    it and ``home``, the verdicts that the run has, lacks that. Return how many are written.
    """
    from pymongo import InsertOne, ReplaceOne

    now = datetime.now(UTC)
    shown = _read_shown(dataset, [slices[IMAGE]["synthgen_id"] for slices in samples])
    writes: list[Any] = []
    left = replaced = 0
    for slices in samples:
        if _is_ahead(shown.get((slices[IMAGE]["synthgen_id"], IMAGE)), home):
            left += 1
            continue
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
            if before is None:
                writes.append(InsertOne(whole))
                continue
            as_read = {"_id": before["_id"]}
            if name == IMAGE:  # nobody spoke of it since
                as_read["last_modified_at"] = before["last_modified_at"]
            writes.append(ReplaceOne(as_read, whole))
            replaced += 1
    if writes:
        done = dataset._sample_collection.bulk_write(writes, ordered=True)
        left += replaced - int(done.matched_count)
    return len(samples) - left


def _read_shown(dataset: Any, names: Sequence[str]) -> dict[tuple[str, str], Document]:
    """Return what is shown of samples, by sample and slice."""
    fields = ("synthgen_id", SLICE_FIELD, "decisions", "last_modified_at", "label_digest", DEFECTS)
    found = dataset._sample_collection.find(
        {"synthgen_id": {"$in": list(names)}}, dict.fromkeys(fields, 1)
    )
    return {(one["synthgen_id"], one[SLICE_FIELD]["name"]): one for one in found}


def _is_ahead(shown: Document | None, home: Set[Said]) -> bool:
    """Say whether a sample has a verdict or an edit that the run has not."""
    if shown is None:
        return False
    name, decisions = shown["synthgen_id"], shown.get("decisions") or []
    said = {(name, made["reviewer"], made["time"]) for made in decisions}
    return not said <= home or has_edits(shown)
