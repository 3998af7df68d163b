"""What a person sees while a run goes on, and at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from synthgen.backends.checkpoints.licences import describe_licence
from synthgen.runs.outlines import read_outline
from synthgen.runs.record import read_record
from synthgen.runs.reviews.decide import explain_shortfall
from synthgen.samples.sample import Status
from synthgen.sources.catalogue import SourceEntry
from synthgen.sources.findings import Finding, name_photos, tell_findings
from synthgen.storage.places import StoredFile, open_storage

__all__ = ["RunProgress", "TaskProgress", "describe_found_parts", "summarise"]


class TaskProgress:
    """One progress bar per named part of a long work; ``is_quiet`` shows nothing."""

    def __init__(self, is_quiet: bool = False) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True, quiet=is_quiet),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> TaskProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def report(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done; a new name starts a new bar."""
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=done, total=total)


class RunProgress:
    """A progress bar with images a second, time left, accepted and rejected.

    ``total``: samples of the plan. ``done``: those that are there already. ``skipped``: a sentence
    per source file that is left out, of which five are shown. ``notes``: sentences on the plan.
    ``is_quiet`` shows nothing of it.
    """

    def __init__(
        self,
        total: int,
        done: int,
        skipped: Sequence[str],
        notes: Sequence[str] = (),
        is_quiet: bool = False,
    ) -> None:
        self._console = Console(stderr=True, quiet=is_quiet)
        self._counts = dict.fromkeys(Status, 0)
        self._begun = time.monotonic()
        self._total, self._done = total, done
        for sentence in skipped[:5]:
            self._console.print(f"[yellow]skipped[/yellow] {sentence}", highlight=False)
        if len(skipped) > 5:
            self._console.print(f"[yellow]skipped[/yellow] {len(skipped) - 5} more files")
        for sentence in notes:
            self._console.print(f"[yellow]note[/yellow] {escape(sentence)}", highlight=False)
        if done:
            self._console.print(f"{done} of {total} samples are there already; going on")
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[counts]}"),
            console=self._console,
        )
        self._task = self._bar.add_task("painting", total=total, completed=done, rate="", counts="")

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    @property
    def seconds(self) -> float:
        """Seconds since this run, or its continuation, began."""
        return time.monotonic() - self._begun

    def add(self, statuses: Sequence[Status]) -> None:
        """Count some finished samples, and show the new counts."""
        for status in statuses:
            self._counts[status] += 1
        made = sum(self._counts.values())
        self._bar.update(
            self._task,
            completed=self._done + made,
            rate=f"{made / max(self.seconds, 1e-9):.2f} images/s",
            counts=f"accepted {self._counts[Status.ACCEPTED]}  "
            f"rejected {self._counts[Status.REJECTED]}  good {self._counts[Status.GOOD]}",
        )


def summarise(
    root: Path | str, manifest: pd.DataFrame, report: StoredFile, seconds: float | None = None
) -> None:
    """Print what a run holds: counts by class, what is missing and why, licences, what to open.

    ``report``: the page to open. ``seconds``: how long it took; None is not told.
    """
    console = Console()
    for sentence in describe_found_parts(manifest):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    table = Table("class", "accepted", "rejected", title=None)
    defects = manifest[manifest["defect_class"] != ""]
    for name, rows in defects.groupby("defect_class"):
        counts = rows["status"].value_counts()
        accepted, rejected = counts.get("accepted", 0), counts.get("rejected", 0)
        table.add_row(str(name), str(accepted), str(rejected))
    status = manifest["status"].value_counts()
    taken = "" if seconds is None else f" in {seconds:.0f} s"
    table.add_section()
    table.add_row("all", str(status.get("accepted", 0)), str(status.get("rejected", 0)))
    console.print(table)
    console.print(
        f"{status.get('accepted', 0)} accepted, {status.get('good', 0)} good, "
        f"{status.get('rejected', 0)} rejected{taken}"
    )
    revised, edited = (manifest["revision"] > 0).sum(), (manifest["edited_by"] != "").sum()
    if revised or edited:
        console.print(f"{revised} were made again after a review, {edited} labels drawn by people")
    for name, sentence in explain_shortfall(manifest).items():
        console.print(f"[yellow]{name}[/yellow]: {sentence}", highlight=False)
    for what, model in (read_record(open_storage(root)).get("models") or {}).items():
        owner = "model" if what == "checkpoint" else what
        sentence = f"the {owner}'s licence: {describe_licence(model.get('licence'))}"
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    lines = {"images": "images", "labels": "masks", "table": "manifest.parquet"}
    for what, name in lines.items():
        console.print(f"{what:<8}{root}/{name}", highlight=False, soft_wrap=True)
    console.print(f"{'open':<8}{report}", highlight=False, soft_wrap=True)


def describe_found_parts(manifest: pd.DataFrame) -> list[str]:
    """Return sentences on where the parts of a run's photos were found; [] for drawn surfaces.

    Only photos that a defect was drawn on were looked at. Older runs say nothing of parts.
    """
    if not {"part_finding", "part", "photo"} <= set(manifest):
        return []
    known = manifest["part_finding"].fillna("") != ""
    is_photo = manifest["photo"].fillna("") != ""
    rows = manifest[known & is_photo].drop_duplicates("source_id").sort_values("source_id")
    entries = [
        SourceEntry(str(source_id), "", str(photo), "")
        for source_id, photo in zip(rows["source_id"], rows["photo"], strict=True)
    ]
    findings = []
    for name, finding, outline in zip(
        name_photos(entries), rows["part_finding"], rows["part"].fillna(""), strict=True
    ):
        mask = read_outline(str(outline))
        fraction = float("nan") if mask is None else float(np.mean(mask))
        findings.append(Finding(name=name, finding=str(finding), part_fraction=fraction))
    return tell_findings(findings, len(findings))
