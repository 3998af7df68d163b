"""Which grey levels a photo uses: a camera's 12 bits, stored in 16, leave most of them out.

A pixel on a level that the camera never gives tells a detector where something was painted.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Levels", "find_levels"]

DEPTHS = (8, 10, 12, 14, 16)  # bits of cameras
LEAST_LEVELS = 16  # fewer are a drawing, or a flat picture: they do not show a camera's step


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """The levels that a camera gives: ``first``, ``first + step``, .. ``last``; or a ``table``."""

    step: int
    first: int
    last: int
    table: NDArray[np.uint16] | None = None  # rising; of levels that are not evenly apart

    def snap(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return values of any shape, each at the nearest level.

        >>> Levels(16, 0, 65520).snap(np.array([7.0, 9.0, 1e6], np.float32)).tolist()
        [0.0, 16.0, 65520.0]
        """
        if self.table is not None:
            middles = (self.table[1:].astype(np.float32) + self.table[:-1]) / 2
            return self.table[np.searchsorted(middles, values)].astype(np.float32)
        steps = np.rint((values - self.first) / self.step) * self.step + self.first
        return np.asarray(np.clip(steps, self.first, self.last), np.float32)


def find_levels(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Levels:
    """Return the levels of the camera behind a photo (H, W) or (H, W, 3).

    >>> left_aligned = (np.arange(4096, dtype=np.uint16) * 16).reshape(64, 64)
    >>> find_levels(left_aligned).step, find_levels(left_aligned).last
    (16, 65520)
    """
    most = int(np.iinfo(pixels.dtype).max)
    flat = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    counts = cv2.calcHist([flat], [0], None, [most + 1], [0, most + 1])
    used = np.flatnonzero(counts)
    step = int(np.gcd.reduce(np.diff(used))) if len(used) >= LEAST_LEVELS else 1
    first = int(used[0]) % step
    if step == 1 and most > 255 and len(used) >= LEAST_LEVELS:
        for table in _spread_levels():
            if np.isin(used, table).all():
                return Levels(1, 0, most, table)
    bits = next(bits for bits in DEPTHS if used[-1] // step < 2**bits)
    steps = min(2**bits - 1, (most - first) // step)
    return Levels(step, first, first + steps * step)


def _spread_levels() -> list[NDArray[np.uint16]]:
    """Return the levels of 8 to 14 bits spread over 16: bits repeated, or scaled and rounded."""
    tables = []
    for bits in DEPTHS[:-1]:
        codes = np.arange(2**bits)
        repeated = codes << (16 - bits) | codes >> (2 * bits - 16)
        scaled = codes * 65535 / (2**bits - 1)
        tables += [repeated, np.rint(scaled), np.floor(scaled)]
    return [table.astype(np.uint16) for table in tables]
