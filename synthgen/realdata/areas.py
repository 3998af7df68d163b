"""What the areas of a mask's values are: classes, parts, soft edges, or background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.decoding import Pixels
from synthgen.realdata.mask_encodings import FEW, MaskPixels, used_values
from synthgen.samples.arrays import Mask

__all__ = [
    "LOW",
    "SOFT_LEVEL",
    "find_faint",
    "find_plateaus",
    "is_flat",
    "is_rim",
    "is_soft",
    "seems_inverted",
]

RIM_PX = 6  # reach of a soft edge of many levels; of one level it is 2 px
SOFT_LEVEL = 64  # a mask whose highest level is lower has ids of classes, not soft edges
PLATEAU_PX = 5  # side of a flat square between background and top: a class of its own
FLAT, LOW, HIGH = 0.05, 0.15, 0.85  # shares of the highest level
TRACE = 0.3  # of the highest level: what JPEG leaves around an edge is weaker
BORDER, MAX = 0.9, 0.5  # shares of the border and of all pixels that a background covers


def is_soft(encoded: MaskPixels) -> bool:
    """Say whether the values between 0 and the highest are soft edges, not classes of their own."""
    levels, values = encoded.levels, encoded.values
    top = values[-1]
    if not encoded.is_lossy and is_flat(levels):
        return False  # each part has a value of its own: instances, or classes
    if values[0] > 0 and not encoded.is_lossy:
        return False  # no background
    if len(values) <= FEW + 1 and not encoded.is_lossy:
        reach_px = min(RIM_PX, len(values) - 1)
        return top >= SOFT_LEVEL and not _far_from(levels == top, levels, reach_px).any()
    return top >= SOFT_LEVEL and not find_plateaus(levels, top)


def is_flat(levels: Pixels) -> bool:
    """Say whether each connected part (8 neighbours) has one value, as numbered instances have."""
    _, parts = cv2.connectedComponents((levels > 0).astype(np.uint8), connectivity=8)
    highest, lowest = _extremes(levels, parts)
    return bool((highest == lowest).all())


def find_faint(levels: Pixels, is_lossy: bool) -> list[int]:
    """Return the highest level, rising, of each part that a cut at half the top would lose.

    What is weaker than the traces of JPEG, or than 15 % of the top, is not a part.
    """
    top = int(levels.max())
    seen = (levels > (TRACE if is_lossy else LOW) * top).astype(np.uint8)
    _, parts = cv2.connectedComponents(seen, connectivity=8)
    highest, _ = _extremes(levels, parts)
    return sorted(int(level) for level in highest if level <= top // 2)


def _extremes(
    levels: Pixels, parts: NDArray[np.int32]
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return the highest and the lowest level of each part 1.. of a labelled image."""
    inside = parts > 0
    highest = np.zeros(int(parts.max()) + 1, np.uint16)
    lowest = np.full_like(highest, np.iinfo(np.uint16).max)
    np.maximum.at(highest, parts[inside], levels[inside])
    np.minimum.at(lowest, parts[inside], levels[inside])
    return highest[1:], lowest[1:]


def seems_inverted(mask: Mask) -> bool:
    """Say whether a mask of defects marks its border and most of its pixels.

    >>> seems_inverted(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool))
    True
    """
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(border.mean() >= BORDER and mask.mean() > MAX)


def _far_from(core: Mask, levels: Pixels, reach_px: int) -> Mask:
    """Return the marked pixels that lie further than ``reach_px`` from ``core``."""
    kernel = np.ones((2 * reach_px + 1, 2 * reach_px + 1), np.uint8)
    near = cv2.dilate(core.astype(np.uint8), kernel) > 0
    return np.asarray((levels > 0) & ~near)


def find_plateaus(levels: Pixels, top: int) -> list[int]:
    """Return the levels, rising, between background and ``top`` that fill a square of 5 px."""
    kernel = np.ones((PLATEAU_PX, PLATEAU_PX), np.uint8)
    low, high = cv2.erode(levels, kernel), cv2.dilate(levels, kernel)
    is_even = (low > LOW * top) & (high < HIGH * top) & (high - low <= FLAT * top)
    return [value for value in used_values(np.where(is_even, levels, 0)) if value]


def is_rim(levels: Pixels, value: int, values: list[int], named: set[int]) -> bool:
    """Say whether a value is only the soft edge of the highest one, which no class has.

    ``values``: those of the mask, rising. ``named``: those that classes have.
    """
    top = values[-1]
    if top < SOFT_LEVEL or value not in values or value >= top or top in named:
        return False
    own = np.asarray(levels == value, np.uint8)
    ground = cv2.dilate((levels == 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    if not ground[own > 0].any():
        return False  # inside of the other value, as a class with a border in PASCAL VOC
    return not _far_from(levels == top, own, RIM_PX).any()
