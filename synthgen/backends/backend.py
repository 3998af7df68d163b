"""The one seam of painting: a Backend turns conditions into images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from synthgen.sample import Condition

__all__ = ["Backend", "SketchBackend"]


class Backend(Protocol):
    """Paints defects. One image per condition, same order, same size; no state between calls."""

    name: str
    checkpoint: str  # id and digest of its weights, '' where it has none
    cell_px: int  # its mask grid: the repaint mask is grown to whole cells

    def paint(self, conditions: Sequence[Condition]) -> list[NDArray[np.uint8]]: ...


class SketchBackend:
    """Paints nothing: the sketch is the image. For comparison, and for tests without a model."""

    name = "sketch"
    checkpoint = ""
    cell_px = 1

    def paint(self, conditions: Sequence[Condition]) -> list[NDArray[np.uint8]]:
        return [
            np.where(c.repaint_mask[..., None], c.sketch, c.image).astype(np.uint8)
            for c in conditions
        ]
