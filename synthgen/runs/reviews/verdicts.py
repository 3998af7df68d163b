"""What people say of a run's samples, ``review.parquet``, and what follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from synthgen.errors import RunError
from synthgen.runs.lock import hold_run
from synthgen.runs.manifest import read_table, write_table
from synthgen.runs.shards import Shards
from synthgen.samples.sample import ACCEPT, CONFLICT, REJECT
from synthgen.storage.places import Storage, open_storage

__all__ = [
    "ACCEPT",
    "CONFLICT",
    "REJECT",
    "Judgement",
    "Verdict",
    "add_verdicts",
    "check_subject",
    "count_by_reviewer",
    "judge",
    "known_revisions",
    "read_moment",
    "read_verdicts",
]

TABLE = "review"
SCHEMA = pa.schema(
    [
        ("sample_id", pa.large_string()),
        ("revision", pa.int64()),
        ("verdict", pa.large_string()),
        ("reason", pa.large_string()),
        ("reviewer", pa.large_string()),
        ("time", pa.large_string()),
        ("overrules", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one person said of one revision of a sample.

    ``verdict``: accept or reject. ``time``: ISO 8601 with its offset, as
    ``2026-01-31T12:00:00+00:00``. ``overrules``: it counts more than what others said.
    """

    sample_id: str
    revision: int
    verdict: str
    reason: str
    reviewer: str
    time: str
    overrules: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the reviewers of one revision of a sample say together.

    ``verdict``: accept, reject, or conflict where they disagree. ``reviewers``: those who count.
    """

    verdict: str
    reason: str
    reviewers: tuple[str, ...]
    revision: int


def add_verdicts(root: Path | str, verdicts: Iterable[Verdict]) -> int:
    """Add verdicts to those of a run and return how many are new; known ones change nothing.

    Raises RunError, and writes nothing, for a verdict other than accept and reject, a sample or a
    revision that the run does not have, a time without its offset, or a missing reviewer.
    """
    given = list(verdicts)
    storage = open_storage(root)
    known = known_revisions(storage, root)
    for one in given:
        if one.verdict not in (ACCEPT, REJECT):
            raise RunError(
                f"the verdict {one.verdict!r} on {one.sample_id} is unknown; say {ACCEPT} or "
                f"{REJECT}"
            )
        check_subject(one.sample_id, one.revision, one.reviewer, known, root)
        read_moment(one.time, one.sample_id)
    with hold_run(f"{storage.location}/{TABLE}.parquet"):
        before = read_verdicts(root)
        new = set(given) - set(before)
        if new:
            rows = [asdict(verdict) for verdict in sorted([*before, *new], key=_order)]
            write_table(storage, TABLE, pa.Table.from_pylist(rows, schema=SCHEMA))
    return len(new)


def known_revisions(storage: Storage, root: Path | str) -> dict[str, int]:
    """Return the newest revision of each sample of a run, also of one that is not finished.

    Raises RunError where there is no run.
    """
    if not storage.exists("run.yaml"):
        raise RunError(f"{root} is not a run of synthgen: it has no run.yaml")
    if not storage.exists("manifest.parquet"):
        return Shards(storage).revisions()
    rows = read_table(storage, "manifest", ["sample_id", "revision"]).to_pylist()
    return {row["sample_id"]: row.get("revision") or 0 for row in rows}


def check_subject(
    sample_id: str, revision: int, reviewer: str, known: Mapping[str, int], root: Path | str
) -> None:
    """Raise RunError where a run has no such sample or revision, or nobody says who speaks.

    ``known``: the newest revision of each sample; older ones may be spoken of, too. ``root``: the
    run, for the message.
    """
    if sample_id not in known:
        raise RunError(f"{root} has no sample {sample_id!r}; is this the run that was reviewed?")
    if not 0 <= revision <= known[sample_id]:
        raise RunError(
            f"{root} has no revision {revision} of {sample_id}, its newest is {known[sample_id]}; "
            "is this the run that was reviewed?"
        )
    if not reviewer:
        raise RunError(f"nobody is named for what is said of {sample_id}; give the reviewer's name")


def read_moment(time: str, sample_id: str) -> datetime:
    """Return a moment from ISO 8601 with an offset; raises RunError for another text.

    ``sample_id``: of whom it is said, for the message.
    """
    try:
        moment = datetime.fromisoformat(time)
        if moment.tzinfo is None:
            raise ValueError("it has no offset")
    except ValueError as error:
        raise RunError(
            f"the time {time[:60]!r} of what is said of {sample_id} cannot be read "
            f"({str(error)[:80]}); give it as 2026-01-31T12:00:00+00:00"
        ) from error
    return moment


def read_verdicts(root: Path | str) -> list[Verdict]:
    """Return all verdicts on a run, by sample, revision and time; [] where there are none.

    A table without the columns revision and reviewer is read as revision 0, by an unnamed person.
    Raises RunError for one that is damaged.
    """
    storage = open_storage(root)
    if not storage.exists(f"{TABLE}.parquet"):
        return []
    table = read_table(storage, TABLE, schema=SCHEMA)
    where = f"{storage.location}/{TABLE}.parquet"
    for name in ("sample_id", "verdict", "time"):
        if name not in table.column_names:
            raise RunError(f"{where} has no column {name}; it is damaged")
    verdicts = [
        Verdict(
            str(row["sample_id"]),
            int(row.get("revision") or 0),
            str(row["verdict"]),
            str(row.get("reason") or ""),
            str(row.get("reviewer") or "unnamed"),
            str(row["time"]),
            bool(row.get("overrules")),
        )
        for row in table.to_pylist()
    ]
    for one in verdicts:
        if one.verdict not in (ACCEPT, REJECT):
            raise RunError(f"{where} says {one.verdict!r} of {one.sample_id}; it is damaged")
        try:
            read_moment(one.time, one.sample_id)
        except RunError as error:
            raise RunError(f"{where}: {error}") from error
    return verdicts


def _order(verdict: Verdict) -> tuple[Any, ...]:
    """Order by sample, revision and moment; the rest only makes the order certain."""
    moment = read_moment(verdict.time, verdict.sample_id)
    rest = (verdict.reviewer, verdict.verdict, verdict.reason, verdict.time, verdict.overrules)
    return verdict.sample_id, verdict.revision, moment, *rest


def judge(
    verdicts: Iterable[Verdict], revisions: Mapping[str, int] | None = None
) -> dict[str, Judgement]:
    """Return what follows from the verdicts, by sample; samples without one are left out.

    ``revisions``: the current revision of each sample, whose verdicts alone count; None = the
    newest that has a verdict. The last verdict of each reviewer counts; where they disagree it is a
    conflict, until they agree or one of them overrules. Raises RunError for a time that cannot be
    read.
    """
    said: dict[tuple[str, int], dict[str, Verdict]] = {}
    for verdict in sorted(verdicts, key=_order):
        said.setdefault((verdict.sample_id, verdict.revision), {})[verdict.reviewer] = verdict
    newest = dict(said.keys())  # of each sample the last one stays
    current = newest if revisions is None else revisions
    return {
        sample_id: _settle(list(own.values()), revision)
        for (sample_id, revision), own in said.items()
        if current.get(sample_id) == revision
    }


def count_by_reviewer(
    verdicts: Iterable[Verdict], revisions: Mapping[str, int]
) -> dict[str, Counter[str]]:
    """Return how many samples, each in its current revision, a reviewer accepts and rejects.

    >>> said = [Verdict("pit-1", 0, "accept", "", "anna", "2026-01-31T12:00:00+00:00")]
    >>> count_by_reviewer(said, {"pit-1": 0})
    {'anna': Counter({'accept': 1})}
    """
    by_reviewer: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_reviewer.setdefault(verdict.reviewer, []).append(verdict)
    return {
        name: Counter(judgement.verdict for judgement in judge(own, revisions).values())
        for name, own in sorted(by_reviewer.items())
    }


def _settle(verdicts: Sequence[Verdict], revision: int) -> Judgement:
    """Judge one revision by the last verdict of each reviewer."""
    overruling = [verdict for verdict in verdicts if verdict.overrules]
    counted = [max(overruling, key=_order)] if overruling else verdicts
    reviewers = tuple(sorted(verdict.reviewer for verdict in counted))
    words = {verdict.verdict for verdict in counted}
    if len(words) == 1:
        reasons = dict.fromkeys(verdict.reason for verdict in counted if verdict.reason)
        return Judgement(words.pop(), "; ".join(reasons), reviewers, revision)
    told = sorted(
        f"{one.reviewer}: {one.verdict}" + (f" ({one.reason})" if one.reason else "")
        for one in counted
    )
    return Judgement(CONFLICT, "; ".join(told), reviewers, revision)
