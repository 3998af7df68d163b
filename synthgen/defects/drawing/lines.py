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
        """Return the same class with one length, in pixels, in place of its range."""
        ...

    def as_straight(self, straightness: float) -> Self:
        """Return one, no more crooked than this one, as straight as that.

        ``straightness`` 0..1 is about the distance of its ends over its length.
        """
        ...


def heading_deviation(straightness: float) -> float:
    """Return the deviation of a line's heading, in radians, that makes it as straight as that.

    ``straightness``, the distance of its ends over its length, is taken for the mean cosine of a
    normal deviation s, which is exp(-s^2 / 2); it is clipped to 0.1..0.995.
    """
    return float(np.sqrt(-2 * np.log(np.clip(straightness, 0.1, 0.995))))
