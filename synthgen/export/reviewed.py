"""What people say of a run's samples, as an export and its datasheet need it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from synthgen.bank.formats import GOOD
from synthgen.runs.reader import RunTables
from synthgen.runs.verdicts import ACCEPT, CONFLICT, REJECT, judge, read_verdicts

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
    """Return what people say of the newest revision of each sample; raises RunError."""
    manifest, said = run.manifest, read_verdicts(run.storage.location)
    current = dict(zip(manifest["sample_id"], manifest["revision"].astype(int), strict=True))
    judged = judge(said, current)
    words = [judged[name].verdict if name in judged else "" for name in manifest["sample_id"]]
    verdicts = pd.Series(words, manifest.index, dtype=object)
    is_new = verdicts == ""
    reviewers: dict[str, Counter[str]] = {}
    for name in sorted({verdict.reviewer for verdict in said}):
        own = judge([verdict for verdict in said if verdict.reviewer == name], current)
        reviewers[name] = Counter(judgement.verdict for judgement in own.values())
    return Review(
        verdicts,
        (verdicts == ACCEPT) | ((manifest["status"] == GOOD) & is_new),
        reviewers,
        int((is_new & (manifest["status"] == "accepted")).sum()),
    )
