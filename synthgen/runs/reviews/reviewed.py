"""What people say of a run's samples, as an export and its datasheet need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from synthgen.realdata.records import GOOD
from synthgen.runs.reader import RunTables
from synthgen.runs.reviews.verdicts import (
    ACCEPT,
    CONFLICT,
    REJECT,
    count_by_reviewer,
    judge,
    read_verdicts,
)

__all__ = ["Review", "read_review"]


@dataclass(frozen=True, slots=True, eq=False)
class Review:
    """The review of a run. ``verdicts``: accept, reject, conflict or '', by row of the manifest.

    ``is_included``: which rows are approved: accepted, or good and rejected by nobody.
    ``reviewers``: how many samples of the run as it is each one accepts and rejects, by name.
    """

    verdicts: pd.Series
    is_included: pd.Series
    reviewers: Mapping[str, Mapping[str, int]]
    unreviewed: int

    @property
    def left_out(self) -> str:
        """A sentence on what an export of approved samples leaves out."""
        rejected, argued = ((self.verdicts == word).sum() for word in (REJECT, CONFLICT))
        return (
            f"left out: {rejected} rejected, {argued} on which reviewers disagree, "
            f"{self.unreviewed} accepted by the limits that nobody has reviewed"
        )


def read_review(run: RunTables) -> Review:
    """Return what people say of the newest revision of each sample.

    Verdicts on an older revision do not count. Raises RunError for verdicts that cannot be read.
    """
    manifest, said = run.manifest, read_verdicts(run.storage.location)
    judged = judge(said, run.revisions)
    words = [judged[name].verdict if name in judged else "" for name in manifest["sample_id"]]
    verdicts = pd.Series(words, manifest.index, dtype=object)
    is_new = verdicts == ""
    return Review(
        verdicts,
        (verdicts == ACCEPT) | ((manifest["status"] == GOOD) & is_new),
        count_by_reviewer(said, run.revisions),
        int((is_new & (manifest["status"] == "accepted")).sum()),
    )
