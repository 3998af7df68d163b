"""Write a labelled set in several formats, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from synthgen.errors import ConfigError, RunError
from synthgen.exporting.datasheet import write_datasheet
from synthgen.exporting.formats.croissant import NO_CROISSANT, write_croissant
from synthgen.exporting.labels import LabelledSet
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media
from synthgen.exporting.numbering import write_class_ids
from synthgen.progress import stage
from synthgen.storage.files import is_left, name_beside

__all__ = ["ExportResult", "Format", "export"]


class Format(Protocol):
    """A way to lay out a dataset; one module in ``formats`` each.

    Writes the same bytes for the same set, and nothing outside the folder that it is given.
    """

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one; tell ``loss`` what it cannot hold."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class ExportResult:
    """What was written, what each format lost, by its name, and notes for the user."""

    path: Path
    labels: LabelledSet
    losses: Mapping[str, LabelLoss]
    notes: Sequence[str]

    @property
    def formats(self) -> list[str]:
        """The formats, which are also the folders in ``path``."""
        return sorted(self.losses)

    def __repr__(self) -> str:
        return f"<ExportResult {self.path}: {len(self.labels)} images as {', '.join(self.formats)}>"


def export(
    labels: LabelledSet,
    formats: Mapping[str, Format],
    out: Path,
    media: Media,
    notes: Sequence[str] = (),
) -> ExportResult:
    """Write ``out/<format>/`` for each format and the sidecars beside them.

    Everything is written beside ``out`` and moved there at the end. ``notes`` on the data
    go into the datasheet.
    Raises ConfigError where there is no format; RunError where ``out`` exists (it is never
    touched), where an image is gone or the disk refuses.
    """
    if not formats:
        raise ConfigError("format names none; give at least one, e.g. format=[coco,yolo]")
    if out.exists():
        raise RunError(f"{out} exists already; give a new out=<folder>, or delete that one")
    remove_old_parts(out)
    beside = name_beside(out)
    losses = {name: LabelLoss() for name in formats}
    try:
        beside.mkdir(parents=True)
        with media.checking():
            for name, layout in sorted(formats.items()):
                (beside / name).mkdir()
                with stage(f"writing {name}", len(labels), unit="images") as at:
                    counting = replace(media, placed=at.add)
                    layout.write(labels, beside / name, counting, losses[name])
        write_class_ids(labels, beside)
        with stage("writing the datasheet"):
            write_datasheet(labels, beside, sorted(formats), losses, notes)
            told = [] if write_croissant(labels, beside) else [NO_CROISSANT]
        os.replace(beside, out)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return ExportResult(out, labels, losses, [*notes, *told])


def remove_old_parts(out: Path) -> None:
    """Remove what an export to ``out`` left behind when it was killed.

    What a process that still runs is writing stays.
    """
    for path in out.parent.glob(f".{out.stem}.*.tmp{out.suffix}"):
        if is_left(path):
            shutil.rmtree(path, ignore_errors=True)
