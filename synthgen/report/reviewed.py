"""What people said of a run: verdicts, by whom and why, conflicts, labels they edited."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from synthgen.runs.reader import RunTables
from synthgen.runs.reviews.verdicts import (
    ACCEPT,
    CONFLICT,
    REJECT,
    count_by_reviewer,
    judge,
    read_verdicts,
)

__all__ = ["ReviewFacts", "collect_review"]

UNSAID = "no reason given"


@dataclass(frozen=True, kw_only=True)
class ReviewFacts:
    """Counts of samples, each in its newest revision."""

    accepted: int
    rejected: int
    conflicts: list[tuple[str, str]]  # sample, who says what
    waiting: int  # images without a verdict
    reviewers: dict[str, tuple[int, int]]  # samples that each accepted and rejected
    reasons: dict[str, int]  # of the rejected, the most frequent first
    edited: int  # samples whose label a person changed
    revised: int  # painted again after a rejection


def collect_review(run: RunTables) -> ReviewFacts | None:
    """Return what people said of a run; None where nobody said anything.

    Verdicts on an earlier revision of a sample do not count. A sample on which reviewers disagree,
    while none of them overrules, is a conflict: neither accepted nor rejected.
    """
    manifest = run.manifest
    verdicts = read_verdicts(run.storage.location)
    edited = int((manifest["edited_by"] != "").sum())
    if not verdicts and not edited:
        return None
    said = judge(verdicts, run.revisions)
    counts = Counter(one.verdict for one in said.values())
    rejected = [one.reason or UNSAID for one in said.values() if one.verdict == REJECT]
    tallies = count_by_reviewer(verdicts, run.revisions)
    return ReviewFacts(
        accepted=counts[ACCEPT],
        rejected=counts[REJECT],
        conflicts=[(name, one.reason) for name, one in said.items() if one.verdict == CONFLICT],
        waiting=int((manifest["image"] != "").sum()) - len(said),
        reviewers={name: (tally[ACCEPT], tally[REJECT]) for name, tally in tallies.items()},
        reasons=dict(Counter(rejected).most_common()),
        edited=edited,
        revised=int((manifest["revision"] > 0).sum()),
    )
