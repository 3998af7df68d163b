"""Which grey levels a photo uses: a camera's 12 bits, stored in 16, leave most of them out.

A pixel on a level that the camera never gives tells a detector where something was painted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Levels", "find_levels"]

SPARSE = 8  # every so many rows and columns show a step of 1, if there is one
DEPTHS = (8, 10, 12, 14, 16)  # bits of cameras
MIN_LEVELS = 16  # fewer are a drawing, or a flat picture: they do not show a camera's step


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
    step, first, table = _find_step(flat[::SPARSE, ::SPARSE], most)
    if step != 1 or table is not None:  # what some pixels show, all have to
        step, first, table = _find_step(flat, most)
    if table is not None:
        return Levels(1, 0, most, table)
    step = max(step, 1)
    bits = next(bits for bits in DEPTHS if int(flat.max()) // step < 2**bits)
    steps = min(2**bits - 1, (most - first) // step)
    return Levels(step, first, first + steps * step)


def _find_step(flat: NDArray[Any], most: int) -> tuple[int, int, NDArray[np.uint16] | None]:
    """Return step, first level and table of levels (H, W); (0, 0, None) for too few of them."""
    counts = cv2.calcHist([np.ascontiguousarray(flat)], [0], None, [most + 1], [0, most + 1])
    used = np.flatnonzero(counts)
    if len(used) < MIN_LEVELS:
        return 0, 0, None
    step = int(np.gcd.reduce(np.diff(used)))
    if step == 1 and most > 255:
        for table, is_level in _spread_levels():
            if is_level[used].all():
                return 1, 0, table
    return step, int(used[0]) % step, None


@lru_cache(maxsize=1)
def _spread_levels() -> list[tuple[NDArray[np.uint16], NDArray[np.bool_]]]:
    """Return the levels of 8 to 14 bits spread over 16, by repeated bits or scaled and rounded;
    and which of all 65536 levels they are."""
    tables = []
    for bits in DEPTHS[:-1]:
        codes = np.arange(2**bits)
        repeated = codes << (16 - bits) | codes >> (2 * bits - 16)
        scaled = codes * 65535 / (2**bits - 1)
        tables += [repeated, np.rint(scaled), np.floor(scaled)]
    rising = [table.astype(np.uint16) for table in tables]
    return [(table, np.bincount(table, minlength=65536) > 0) for table in rising]
