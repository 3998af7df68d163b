"""What a person sees of a run at its end, and of work that reports by itself."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from synthgen.backends.checkpoints.licences import describe_licence
from synthgen.progress import stage
from synthgen.progress.stages import Stage
from synthgen.runs.outlines import read_outline
from synthgen.runs.record import read_record
from synthgen.runs.reviews.decide import explain_shortfall
from synthgen.sources.catalogue import SourceEntry
from synthgen.sources.findings import Finding, name_photos, tell_findings
from synthgen.storage.places import StoredFile, open_storage

__all__ = ["TaskProgress", "describe_found_parts", "summarise"]


class TaskProgress:
    """Shows as stages what work reports that is given ``report``: a stage for each name."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Stage, ExitStack]] = {}

    def __enter__(self) -> TaskProgress:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._open):
            self._end(name)

    def report(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done; what was done before the first report stays."""
        if what not in self._open:
            whole = ExitStack()
            self._open[what] = whole.enter_context(stage(what, total, done=done - 1)), whole
        at, _ = self._open[what]
        at.add(done - at.at)
        if done >= total:
            self._end(what)

    def _end(self, name: str) -> None:
        _, whole = self._open.pop(name)
        whole.close()


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
    record = read_record(open_storage(root))
    for what, model in (record.get("models") or {}).items():
        owner = "model" if what == "checkpoint" else what
        sentence = f"the {owner}'s licence: {describe_licence(model.get('licence'))}"
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    in_tars = (record["config"].get("run") or {}).get("storage") == "tar"
    media = {"tars": "tars"} if in_tars else {"images": "images", "labels": "masks"}
    lines = media | {"table": "manifest.parquet"}
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
