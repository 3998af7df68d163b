"""What scratch, crack and fibre share: how straight a line is."""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

import numpy as np

from synthgen.defects.drawing.drawing import DefectKind, Range

__all__ = ["MIN_WIDTH", "Line", "heading_deviation"]

MIN_WIDTH = 1.5  # kernels: what is thinner is drawn as wide and fainter by the blur


@runtime_checkable
class Line(DefectKind, Protocol):
    """A defect that is a line: long, of about one width, and it may run out at the part's edge."""

    length_px: Range | None
    length_fraction: Range

    def as_long(self, length_px: float) -> Self:
        """Return one of that length."""
        ...

    def as_straight(self, straightness: float) -> Self:
        """Return one, no more crooked than this, whose ends are apart by about that share of its
        length, 0..1."""
        ...


def heading_deviation(straightness: float) -> float:
    """Return the deviation of a line's heading, in radians, at which its ends are apart by that
    share of its length: the mean cosine of a normal deviation."""
    return float(np.sqrt(-2 * np.log(np.clip(straightness, 0.1, 0.995))))
