"""Take home what people decided in FiftyOne: verdicts and changed labels, into the run folder."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.errors import RunError
from synthgen.imaging.images import read_image
from synthgen.progress import stage
from synthgen.review.dataset import find_dataset
from synthgen.review.documents import digest_labels, has_edits, labels_of
from synthgen.review.fields import DEFECTS, IMAGE, REAL, SLICE_FIELD
from synthgen.review.growing import read_so_far
from synthgen.review.service.database import load_fiftyone
from synthgen.review.settings import ReviewSettings
from synthgen.runs.folder import RunFolder
from synthgen.runs.lock import hold_run
from synthgen.runs.reviews.edits import Edit, EditedInstance, add_edits
from synthgen.runs.reviews.verdicts import (
    CONFLICT,
    Judgement,
    Verdict,
    add_verdicts,
    judge,
    known_revisions,
    read_verdicts,
)

__all__ = ["PullResult", "pull"]

Document = Mapping[str, Any]
VERDICT_FIELDS = dict.fromkeys(("synthgen_id", "revision", "decisions"), 1)
OF_EDITS = ("synthgen_id", "revision", "label_digest", "last_modified_at", "editor", "metadata")
EDIT_FIELDS = dict.fromkeys((*OF_EDITS, DEFECTS), 1)


@dataclass(frozen=True, slots=True)
class PullResult:
    """What came home: how many verdicts and edited labels were new, and what is judged now."""

    verdicts: int
    edits: int
    judged: Mapping[str, Judgement]

    def count(self, verdict: str) -> int:
        """Return how many samples are judged so: accept, reject or conflict."""
        return sum(judgement.verdict == verdict for judgement in self.judged.values())

    @property
    def conflicts(self) -> list[str]:
        """One line a sample that reviewers disagree on."""
        found = sorted(self.judged.items())
        return [f"{key}: {one.reason}" for key, one in found if one.verdict == CONFLICT]


@stage("taking home what people decided")
def pull(root: Path | str, settings: ReviewSettings) -> PullResult:
    """Merge what was decided in FiftyOne into a run; a second time changes nothing.

    Verdicts go to ``review.parquet``. Changed labels go to ``edits.parquet`` and into the tables;
    they are those of who drew them, or else of ``settings.who``. Raises RunError where the run is
    not shown there, or an edited label covers no pixel, and ConfigError where FiftyOne or its
    database is missing.
    """
    run = read_so_far(root)
    fiftyone = load_fiftyone()
    dataset = find_dataset(fiftyone, run, settings.name)
    if dataset is None or dataset.info["digest"] != run.record["digest"]:
        raise RunError(
            f"{root} is not in FiftyOne's database; synthgen review push run.folder={root} shows it"
        )
    samples = dataset._sample_collection
    asked = {f"{SLICE_FIELD}.name": IMAGE, "tags": {"$ne": REAL}}
    verdicts = [
        Verdict(
            document["synthgen_id"],
            document["revision"],
            made["verdict"],
            made["reason"],
            made["reviewer"],
            made["time"],
            settings.overrules,
        )
        for document in samples.find(asked, VERDICT_FIELDS)
        for made in document.get("decisions") or []
    ]
    edited = [document for document in samples.find(asked, EDIT_FIELDS) if has_edits(document)]
    new_verdicts = add_verdicts(root, verdicts)
    edits = [_read_edit(document, settings.who) for document in edited]
    new_edits = add_edits(root, edits) if edits else 0
    if new_edits:
        with hold_run(str(root)):
            RunFolder(root).merge()  # lays them over the tables
    for document in edited:
        done = {"label_digest": digest_labels(labels_of(document)), "editor": None}
        as_read = {name: document[name] for name in ("_id", "last_modified_at")}
        samples.update_one(as_read, {"$set": done})  # one edited since comes home the next time
    revisions = known_revisions(run.storage, root)
    return PullResult(new_verdicts, new_edits, judge(read_verdicts(root), revisions))


def _read_edit(document: Document, reviewer: str) -> Edit:
    """Return the label of a sample as it is in the App now; raises RunError for an empty mask."""
    size_hw = document["metadata"]["height"], document["metadata"]["width"]
    instances = []
    for label in labels_of(document):
        mask = label_to_mask(label, size_hw)
        if not mask.any():
            raise RunError(
                f"a {label['label']} on {document['synthgen_id']} covers no pixel of it; mend it "
                "in the App, or delete it there"
            )
        instances.append(EditedInstance(str(label["label"]), mask))
    return Edit(
        sample_id=document["synthgen_id"],
        revision=document["revision"],
        reviewer=document.get("editor") or reviewer,
        time=document["last_modified_at"].replace(tzinfo=UTC).isoformat(timespec="milliseconds"),
        instances=tuple(instances),
    )


def label_to_mask(label: Document, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask (H, W) of a detection; without one of its own it fills its box.

    The box is left, top, width and height as fractions of the image. Its mask is stretched over it
    as in the App: each pixel is what the mask has at the pixel's centre. What lies outside the
    image is cut off, so the result may be empty.
    """
    left, top, box_width, box_height = label["bounding_box"]
    if label.get("mask"):
        mask = np.load(io.BytesIO(zlib.decompress(label["mask"])), allow_pickle=False)
    elif label.get("mask_path"):
        mask = read_image(Path(label["mask_path"]))
    else:
        mask = np.ones((1, 1), bool)  # one cell, as large as the box
    mask = (mask if mask.ndim == 2 else mask.max(axis=2)) > 0
    rows = _spread(size_hw[0], top, box_height, mask.shape[0])
    columns = _spread(size_hw[1], left, box_width, mask.shape[1])
    whole = np.zeros(size_hw, bool)
    inside = np.ix_(rows >= 0, columns >= 0)
    whole[inside] = mask[np.ix_(rows[rows >= 0], columns[columns >= 0])]
    return whole


def _spread(pixels: int, start: float, length: float, cells: int) -> NDArray[np.int64]:
    """Return the cell of a box's mask that each pixel's centre lies in, along one axis; -1 = none.

    >>> _spread(5, 0.2, 0.4, 2).tolist()
    [-1, 0, 1, -1, -1]
    """
    if length <= 0:
        return np.full(pixels, -1)
    place = ((np.arange(pixels) + 0.5) / pixels - start) / length
    return np.where((place >= 0) & (place < 1), np.floor(place * cells), -1).astype(np.int64)
