"""Real defects that a model has seen: is a painted one a copy of one of them?"""

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
from synthgen.quality.twins import bits_between, look_of
from synthgen.sources import FolderSources

__all__ = ["DefectBank", "RealDefects", "read_defects"]


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class RealDefects:
    """Photos of real defects, and masks under the same relative names (white = defect)."""

    path: Annotated[str, Field(min_length=1)]
    masks: Annotated[str, Field(min_length=1)]


def read_defects(defects: RealDefects) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield image (H, W, 3) and mask (H, W) of each photo that has a mask.

    Raises SourceError where there is none, ShapeError for a mask of another size.
    """
    catalogue = FolderSources(defects.path, legal=defects.masks)
    is_empty = True
    for entry in catalogue.entries:
        source = catalogue.read(entry.source_id)
        mask = catalogue.region(source)
        if mask is not None and mask.any() and not mask.all():
            is_empty = False
            yield to_rgb8(source.pixels, source.window), mask
    if is_empty:
        raise SourceError(
            f"no photo in {Path(defects.path)} has a mask in {Path(defects.masks)}; masks need the "
            "photos' own relative names"
        )


class DefectBank:
    """The looks of real defects, mirrored and turned, too."""

    def __init__(self, defects: RealDefects) -> None:
        self._looks: list[str] = []
        for image, mask in read_defects(defects):
            for turn in range(4):
                one, its_mask = np.rot90(image, turn), np.rot90(mask, turn)
                self._looks.append(_look(one, its_mask))
                self._looks.append(_look(one[:, ::-1], its_mask[:, ::-1]))

    def nearest_bits(self, image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
        """Return in how many of 64 bits a look differs from the most alike real one; NaN for none.

        The perceptual hash of the 96 px around the label; see ``look_of``.
        """
        look = look_of(image, mask)
        if not look:
            return float("nan")
        return float(min(bits_between(look, real) for real in self._looks))


def _look(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> str:
    return look_of(np.ascontiguousarray(image), np.ascontiguousarray(mask))
