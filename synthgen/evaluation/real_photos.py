"""Photos of real defects beside their masks, which painted ones are measured against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.errors import SourceError
from synthgen.images import to_rgb8
from synthgen.sources import FolderSources

__all__ = ["RealDefects", "read_defects"]


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class RealDefects:
    """Photos of real defects, and masks under the same relative names (white = defect)."""

    path: Annotated[str, Field(min_length=1)]
    masks: Annotated[str, Field(min_length=1)]


def read_defects(defects: RealDefects) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield image (H, W, 3) and mask (H, W) of each photo that has a mask.

    Raises SourceError where there is none, ShapeError for a mask of another size.
    """
    catalogue = FolderSources(defects.path, legal=defects.masks, foreground="all")
    is_empty = True
    for entry in catalogue.entries:
        source = catalogue.read(entry.source_id)
        mask = catalogue.part(source).mask
        if mask is not None and mask.any() and not mask.all():
            is_empty = False
            yield to_rgb8(source.pixels, source.window), mask
    if is_empty:
        raise SourceError(
            f"no photo in {Path(defects.path)} has a mask in {Path(defects.masks)}; masks need the "
            "photos' own relative names"
        )
