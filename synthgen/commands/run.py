"""A finished run as Python sees it: its tables, its numbers, its samples, read when asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.commands.call import translate_errors
from synthgen.commands.notebook import show_run, show_sample
from synthgen.errors import RunError
from synthgen.exporting.intact import check_tables
from synthgen.exporting.labels import (
    DefectLabel,
    LabelledImage,
    find_labelled,
    label_row,
    read_defects,
)
from synthgen.exporting.media import read_file
from synthgen.imaging.decoding import Pixels
from synthgen.imaging.images import IGNORED, decode_image
from synthgen.report.facts import RunFacts, collect_run_facts
from synthgen.report.first.leads import list_leads
from synthgen.runs.reader import RunTables, read_run
from synthgen.runs.reviews.reviewed import read_review
from synthgen.runs.schema import measure_names
from synthgen.samples.sample import Status
from synthgen.storage.places import StoredFile, hide_passwords

__all__ = ["Run", "Samples", "StoredSample", "open_run"]

REPORT = "report.html"


def open_run(folder: Path | str) -> Run:
    """Return a finished run in a folder or at an address (``s3://bucket/run``), to read only.

    Its tables are checked as an export checks them; files are checked when they are read. Raises
    RunError where it is not a finished run, or is damaged.
    """
    with translate_errors():
        run = Run.at(str(folder))
        read_review(run)
        if not (rows := run.manifest[find_labelled(run.manifest)]).empty:
            check_tables(run, rows)
        return run


@dataclass(frozen=True, eq=False, repr=False)
class Run(RunTables):
    """A finished run. ``manifest``, ``instances``, ``tries`` and ``timings`` are its tables.

    The manifest is as it was when the run was opened: open it again after ``inspect``.
    ``duration_s``: how long the call took that made it; None where it was only opened. In a
    notebook it shows a contact sheet.
    """

    duration_s: float | None = None

    @classmethod
    def at(cls, root: Path | str, duration_s: float | None = None) -> Run:
        """Return the run at ``root`` with its manifest; raises RunError where it is none."""
        found = read_run(root)
        run = cls(found.storage, found.record, duration_s)
        _ = run.manifest  # read now: a later inspect of the folder does not change it
        return run

    @cached_property
    def facts(self) -> RunFacts:
        """Its numbers: rates, classes, splits, seconds, what painted it."""
        return collect_run_facts(self)

    @property
    def counts(self) -> dict[str, int]:
        """How many samples are accepted, rejected and good."""
        found = self.manifest["status"].value_counts()
        return {status.value: int(found.get(status.value, 0)) for status in Status}

    @property
    def accepted(self) -> int:
        """How many defect images met the limits."""
        return self.counts[Status.ACCEPTED]

    @property
    def rejected(self) -> int:
        """How many samples did not, those that came to no image among them."""
        return self.counts[Status.REJECTED]

    @property
    def notes(self) -> list[str]:
        """Sentences on what could not come out as it was asked for, known before painting."""
        notes = self.record.get("notes") or []
        return [str(note) for note in notes] if isinstance(notes, list) else []

    @property
    def advice(self) -> list[str]:
        """Sentences on what needs attention, the most important first; report.html begins so."""
        return list_leads(self, self.facts)

    @property
    def report(self) -> StoredFile:
        """The file report.html."""
        return StoredFile(self.storage, REPORT)

    @cached_property
    def samples(self) -> Samples:
        """Its samples that have an image, in the order of the manifest."""
        return Samples(self, self.manifest[self.manifest["image"] != ""])

    @cached_property
    def defects(self) -> dict[str, list[DefectLabel]]:
        """The labels of its defects by sample_id."""
        return read_defects(self)

    def __repr__(self) -> str:
        told = ", ".join(f"{count} {status}" for status, count in self.counts.items())
        return f"<Run {hide_passwords(str(self.root))}: {told}>"

    def _repr_html_(self) -> str:
        return show_run(self)


class Samples(Sequence["StoredSample"]):
    """Samples of a run by place or by id: ``run.samples[0]``, ``run.samples["pit-000001"]``."""

    def __init__(self, run: Run, rows: pd.DataFrame) -> None:
        self.run, self.rows = run, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, key: int | str) -> StoredSample: ...
    @overload
    def __getitem__(self, key: slice) -> Samples: ...
    def __getitem__(self, key: int | str | slice) -> StoredSample | Samples:
        """Return a sample, or a slice of them; raises RunError for an id that is not there."""
        if isinstance(key, slice):
            return Samples(self.run, self.rows.iloc[key])
        if isinstance(key, str):
            places = np.flatnonzero(self.rows["sample_id"] == key)
            if not len(places):
                raise RunError(f"{self.run.root} has no sample {key!r} with an image")
            key = int(places[0])
        return StoredSample(self.run, self.rows.iloc[key])

    def __repr__(self) -> str:
        return f"<{len(self)} samples of {self.run.root}>"


@dataclass(frozen=True, eq=False, repr=False)
class StoredSample:
    """One sample of a finished run; its files are read when they are first asked for.

    ``row``: its row of the manifest. Reading raises RunError where a file is missing, or is not the
    one that was written. In a notebook it shows itself.
    """

    run: Run
    row: pd.Series

    @property
    def sample_id(self) -> str:
        """Its id, also the stem of its files."""
        return str(self.row["sample_id"])

    @property
    def status(self) -> str:
        """accepted, rejected or good."""
        return str(self.row["status"])

    @property
    def defect_class(self) -> str:
        """The class of its defect; '' for a good image."""
        return str(self.row["defect_class"])

    @property
    def split(self) -> str:
        """train, val or test, or as the plan calls it."""
        return str(self.row["split"])

    @property
    def group(self) -> str:
        """The physical part; it is never in two splits."""
        return str(self.row["group"])

    @property
    def reasons(self) -> list[str]:
        """Why it was rejected, a sentence per broken limit."""
        return [reason for reason in str(self.row["reasons"]).split("; ") if reason]

    @property
    def measures(self) -> dict[str, float]:
        """What was measured of it, by name; what does not apply is left out."""
        names = (*measure_names(of_mask=True), *measure_names(of_mask=False))
        found = {name: self.row.get(name) for name in dict.fromkeys(names)}
        return {name: float(value) for name, value in found.items() if pd.notna(value)}

    @cached_property
    def labels(self) -> LabelledImage:
        """Its label as every export gets it: defects with class, box and mask."""
        row: Mapping[Any, Any] = self.row.to_dict()
        return label_row(self.run, row, self.run.defects.get(self.sample_id, ()))

    @cached_property
    def image(self) -> Pixels:
        """The finished image, (H, W) or (H, W, 3) RGB, uint8 or uint16 as its source is."""
        return decode_image(read_file(self.labels), str(self.labels.path))

    @cached_property
    def label(self) -> NDArray[np.uint8]:
        """The class id of each pixel, (H, W) uint8; 0 = good, 255 = to be ignored."""
        return self.labels.label_map()

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where its defects are, (H, W) bool."""
        return np.isin(self.label, (0, IGNORED), invert=True)

    @property
    def instances(self) -> NDArray[np.uint16]:
        """The number of the defect of each pixel, (H, W) uint16; 0 = good."""
        return self.labels.instance_map()

    @cached_property
    def source(self) -> Pixels:
        """The clean image that it was made from, of the shape of ``image``."""
        return self._read("source_path")

    @cached_property
    def requested(self) -> NDArray[np.bool_]:
        """The mask that was asked for, (H, W) bool."""
        return self._read("requested") > 0

    @cached_property
    def control(self) -> Pixels:
        """The first control image, (H, W, 3) or (H, W) uint8."""
        return self._read("control")

    def _read(self, column: str) -> Pixels:
        name = str(self.row[column])
        return decode_image(self.run.read(name), str(self.run.stored(name)))

    def __repr__(self) -> str:
        size = f"{self.row['width']} x {self.row['height']} px"
        return f"<Sample {self.sample_id}: {self.status}, {size}>"

    def _repr_html_(self) -> str:
        return show_sample(self.run, self.row)
