"""The middle line of a mask, one pixel wide, and its length."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["axis_deg", "line_length", "thin"]

# The neighbours of a pixel, clockwise from above, as bits 1, 2, 4 .. 128.
NEIGHBOURS = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the middle lines of a mask (H, W), 8-connected (Zhang and Suen 1984).

    >>> thin(np.ones((3, 7), bool)).any(axis=1).tolist()
    [False, True, False]
    """
    line = np.pad(mask, 1).astype(np.uint8)
    while True:
        before = int(line.sum())
        for removable in _removable():
            bits = cv2.filter2D(line, cv2.CV_32F, NEIGHBOURS).astype(np.uint8)
            line[removable[bits]] = 0
        if int(line.sum()) == before:
            return np.asarray(line[1:-1, 1:-1] > 0)


@cache
def _removable() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return, for each of the two half steps, which of the 256 neighbourhoods lose their pixel."""
    around = (np.arange(256)[:, None] >> np.arange(8)) & 1  # north, north east, east, ...
    count = around.sum(axis=1)
    rises = ((around == 0) & (np.roll(around, -1, axis=1) == 1)).sum(axis=1)
    is_edge = (count >= 2) & (count <= 6) & (rises == 1)  # neither an end nor a link of the line
    north, east, south, west = around[:, 0], around[:, 2], around[:, 4], around[:, 6]
    first = (north * east * south == 0) & (east * south * west == 0)
    second = (north * east * west == 0) & (north * south * west == 0)
    return is_edge & first, is_edge & second


def line_length(line: NDArray[np.bool_]) -> float:
    """Return the length of middle lines in px: 1 a step along an axis, 1.41 a diagonal one.

    1 is added, so that a line of one pixel has the length 1.

    >>> line_length(np.eye(4, dtype=bool))
    5.2
    """
    straight = int((line[1:] & line[:-1]).sum() + (line[:, 1:] & line[:, :-1]).sum())
    # A diagonal step counts only where no pixel beside it makes two straight steps of it.
    corners = line[1:, :-1] | line[:-1, 1:], line[1:, 1:] | line[:-1, :-1]
    falling = line[1:, 1:] & line[:-1, :-1] & ~corners[0]
    rising = line[1:, :-1] & line[:-1, 1:] & ~corners[1]
    return round(straight + 2**0.5 * int(falling.sum() + rising.sum()) + 1, 1)


def axis_deg(mask: NDArray[np.bool_]) -> float:
    """Return the direction of a mask's long axis, 0..180: 0 = level, 45 = rising to the right.

    >>> axis_deg(np.eye(5, dtype=bool))
    135.0
    """
    rows, columns = np.nonzero(mask)
    if len(rows) < 2:
        return 0.0
    spread = np.cov(np.stack([columns, -rows]))
    angle = 0.5 * np.arctan2(2 * spread[0, 1], spread[0, 0] - spread[1, 1])
    return round(float(np.degrees(angle)) % 180, 1)
