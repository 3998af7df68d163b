"""The good images of a finished run, as sources of another one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.errors import SourceError
from synthgen.imaging.images import decode_image, grey_window, to_rgb8
from synthgen.runs.manifest import photo_of
from synthgen.runs.reader import read_run
from synthgen.samples.sample import Part, SourceImage, Status
from synthgen.sources import SourceEntry
from synthgen.sources.folder import Foreground, check_foreground
from synthgen.sources.parts import PartFinder

__all__ = ["RunSources"]


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table by the names of their columns."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)]


class RunSources:
    """Good images that a run made, ``mode=vary`` mostly; each keeps group and photo of its source.

    So an image never meets the part that it was made from in another split, and is left out where
    that photo is a real test image. Raises RunError, SourceError.
    """

    skipped: Sequence[str] = ()

    def __init__(
        self, path: str, surface: str = "surface", foreground: Foreground = "auto"
    ) -> None:
        check_foreground(foreground)
        self._run, self._surface = read_run(path), surface
        rows = self._run.manifest
        good = rows[rows["status"] == Status.GOOD.value].sort_values("sample_id")
        if good.empty:
            raise SourceError(
                f"source.path={path!r}: the run holds no good images; make some with mode=vary"
            )
        self._rows = {str(row["sample_id"]): row for row in as_records(good)}
        self.entries: Sequence[SourceEntry] = [
            SourceEntry(name, row["group"], photo_of(row) or None, surface)
            for name, row in self._rows.items()
        ]
        photos = [partial(self._read_photo, entry.source_id) for entry in self.entries]
        self._finder = PartFinder(photos) if foreground == "auto" else None

    def read(self, source_id: str) -> SourceImage:
        """Return the image; raises RunError where it is gone."""
        row = self._rows[source_id]
        pixels = decode_image(self._run.read(row["image"]), str(row["image"]))
        return SourceImage(
            source_id=source_id,
            group=row["group"],
            pixels=pixels,
            window=grey_window(pixels),
            path=photo_of(row) or None,
            surface=self._surface,
            is_augmented=True,
        )

    def part(self, source: SourceImage) -> Part:
        """Return where the part is; with ``foreground`` other than "auto" it is not looked for."""
        if self._finder is None:
            return Part(finding="given")
        return self._finder.find(to_rgb8(source.pixels, source.window))

    def _read_photo(self, source_id: str) -> NDArray[np.uint8]:
        source = self.read(source_id)
        return to_rgb8(source.pixels, source.window)
