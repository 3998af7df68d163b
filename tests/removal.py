"""Removes a real defect from its photo: what the surface looks like without it.

The best-fitting piece of good surface, of the same photo or of good ones, is laid over the defect,
and its levels are bent to meet the surroundings (Perez et al. 2003, "Poisson image editing",
section 3: membrane of the difference at the border).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.geometry import grow_mask, mask_window

__all__ = ["GOOD_PHOTOS", "MARGIN_PX", "near_weights", "remove_defects"]

GOOD_PHOTOS = 8  # at most, that pieces are taken from
MARGIN_PX = 3  # beyond a mask, where a defect still shows in the photo
RING_PX = 6  # of surroundings that a piece has to fit
BLOCK_PX = 48  # larger holes are filled in pieces, from their border inward
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def remove_defects(
    image: Image, mask: Mask, good: Sequence[Image] = (), grow_px: int = MARGIN_PX
) -> Image:
    """Return the image (H, W, 3) with the mask, grown by ``grow_px``, filled with good surface.

    ``good``: further images that pieces may be taken from. Where nothing fits, because all is
    defect, OpenCV's smooth filling (Telea 2004) stays.
    """
    hole = grow_mask(mask, grow_px)
    filled = np.asarray(cv2.inpaint(image, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8)
    for part in _parts(hole):
        filled = _fill(filled, part, hole, image, good)
    return filled


def _parts(hole: Mask) -> list[Mask]:
    """Return the connected parts of a hole, large ones in blocks."""
    count, labels = cv2.connectedComponents(hole.astype(np.uint8), connectivity=8)
    parts = []
    for number in range(1, count):
        rows, columns = mask_window(labels == number, 0)
        for row in range(rows.start, rows.stop, BLOCK_PX):
            for column in range(columns.start, columns.stop, BLOCK_PX):
                part = np.zeros_like(hole)
                block = np.s_[row : row + BLOCK_PX, column : column + BLOCK_PX]
                part[block] = labels[block] == number
                if part.any():
                    parts.append(part)
    return parts


def _fill(filled: Image, part: Mask, hole: Mask, image: Image, good: Sequence[Image]) -> Image:
    """Lay the best piece over one part of the hole."""
    window = mask_window(part, RING_PX + 1)
    inside = part[window]
    ring = grow_mask(inside, RING_PX) & ~inside
    best, piece = np.inf, None
    for number, other in enumerate([image, *good]):
        blocked = hole if number == 0 else None
        cost, found = _best_piece(other, blocked, filled[window], ring, inside)
        if cost < best:
            best, piece = cost, found
    if piece is None:
        return filled
    result = filled.copy()
    result[window] = _blend(filled[window], piece, inside)
    return result


def _best_piece(
    other: Image, blocked: Mask | None, target: Image, ring: Mask, inside: Mask
) -> tuple[float, Image | None]:
    """Return how badly the best piece fits at the ring (mean squared levels), and the piece."""
    height, width = target.shape[:2]
    if other.shape[0] < height or other.shape[1] < width:
        return np.inf, None
    weight = ring.astype(np.float32)
    costs = cv2.matchTemplate(_flat(other), _flat(target), cv2.TM_SQDIFF, mask=weight) / max(
        1.0, float(weight.sum())
    )
    if blocked is not None:
        needed = (ring | inside).astype(np.float32)
        touched = cv2.matchTemplate(blocked.astype(np.float32), needed, cv2.TM_CCORR)
        costs = np.where(touched > 0.5, np.inf, costs)
    row, column = np.unravel_index(int(np.argmin(costs)), costs.shape)
    return float(costs[row, column]), other[row : row + height, column : column + width]


def _flat(image: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def _blend(target: Image, piece: Image, inside: Mask) -> Image:
    """Return the target with the piece inside, bent to its levels at the border."""
    difference = target.astype(np.float32) - piece
    bend = _membrane(difference, inside)
    mixed = np.where(inside[..., None], piece + bend, target)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def _membrane(values: NDArray[np.float32], inside: Mask) -> NDArray[np.float32]:
    """Return values (h, w, 3) with those inside replaced by the solution of Laplace's equation."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import spsolve

    height, width = inside.shape
    numbers = np.full(inside.shape, -1)
    numbers[inside] = np.arange(inside.sum())
    rows, columns = np.nonzero(inside)
    own = numbers[inside]
    right = np.zeros((len(own), values.shape[2]))
    degree = np.zeros(len(own))
    links = []
    for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        r, c = rows + down, columns + across
        exists = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        degree += exists
        r, c = r[exists], c[exists]
        other, mine = numbers[r, c], own[exists]
        right_of = other < 0
        np.add.at(right, mine[right_of], values[r[right_of], c[right_of]])
        links.append((mine[~right_of], other[~right_of]))
    i = np.concatenate([own, *(a for a, _ in links)])
    j = np.concatenate([own, *(b for _, b in links)])
    data = np.concatenate([degree, -np.ones(sum(len(a) for a, _ in links))])
    solved = spsolve(coo_matrix((data, (i, j))).tocsc(), right)
    result = values.copy()
    result[inside] = np.asarray(solved).reshape(len(own), -1)
    return result


def near_weights(mask: Mask) -> NDArray[np.float32]:
    """Return (H, W, 1) weights: 1 on the mask, falling to 0 over the margin around it."""
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(np.clip(1 - (away[..., None] - 1) / MARGIN_PX, 0, 1), np.float32)
