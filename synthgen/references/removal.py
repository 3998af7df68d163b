"""Removes a real defect from its photo: what the surface looks like without it.

The best-fitting piece of good surface, of the same photo or of good ones, is laid over the defect,
and its levels are bent to meet the surroundings (Perez et al. 2003, "Poisson image editing",
section 3: membrane of the difference at the border). The thick of a defect is one piece: what
lies there cannot be put together from its border inward. What is thin is filled in blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.defects.drawing.render import without_texture
from synthgen.imaging.geometry import grow_mask, mask_window
from synthgen.imaging.images import LUMA, to_levels
from synthgen.samples.arrays import Image, Map, Mask

__all__ = [
    "GOOD_PHOTOS",
    "MARGIN_PX",
    "near_weights",
    "remove_defects",
    "to_fractions",
    "to_own_texture",
]

GOOD_PHOTOS = 8  # at most, that pieces are taken from
MARGIN_PX = 3  # beyond a mask, where a defect still shows in the photo
RING_PX = 6  # of surroundings that a piece has to fit
BLOCK_PX = 48  # what is thinner is filled in pieces of at most so much
SEARCH_PX = 400  # around a hole, or its own size, where pieces are looked for
MIN_LEVEL = 8.0  # that a change is a share of
MIN_FRACTION = 0.5  # of the level around, likewise
CLEAR_FRACTION = 0.2  # of the level: mean change of a defect that is dark, or bright, as a whole
ODD_FRACTION = 0.25  # of that mean: less at a pixel is odd
VEIL_PX = 0.7  # deviation of the edge between a defect's own texture and the surface's
MEMBRANE_PX = 20_000  # of a hole, that levels are bent for pixel by pixel; beyond, coarser


def remove_defects(
    image: Image, mask: Mask, good: Sequence[Image] = (), grow_px: int = MARGIN_PX
) -> Image:
    """Return the image (H, W, 3) with the mask, grown by ``grow_px``, filled with good surface.

    ``good``: further images that pieces may be taken from. Where nothing fits, because all is
    defect, OpenCV's smooth filling (Telea 2004) stays.
    """
    hole = grow_mask(mask, grow_px)
    filled = np.asarray(cv2.inpaint(image, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8)
    unknown = hole.copy()
    sources = [(image, hole), *((other, None) for other in good)]
    core = _away(hole) > BLOCK_PX / 2
    # What is thicker than a block, at its full width; the thinner rest is filled in blocks.
    thick = hole & (_away(~core) <= BLOCK_PX / 2) if core.any() else core
    for part in _parts(thick):
        _fill(filled, part, unknown, sources)
    for part in _parts(unknown):
        for block in _blocks(part):
            _fill(filled, block, unknown, sources)
    return filled


def _parts(mask: Mask) -> list[Mask]:
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [labels == number for number in range(1, count)]


def _away(mask: Mask) -> NDArray[np.float32]:
    """Return how far each pixel of a mask is from its outside, in pixels."""
    away = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(np.minimum(away, sum(mask.shape)), np.float32)  # also where all is mask


def _blocks(part: Mask) -> list[Mask]:
    """Return a connected part in blocks, from its border inward."""
    away = _away(part)
    rows, columns = mask_window(part, 0)
    blocks = []
    for row in range(rows.start, rows.stop, BLOCK_PX):
        for column in range(columns.start, columns.stop, BLOCK_PX):
            window = np.s_[row : row + BLOCK_PX, column : column + BLOCK_PX]
            if part[window].any():
                block = np.zeros_like(part)
                block[window] = part[window]
                blocks.append(block)
    return sorted(blocks, key=lambda block: float(away[block].mean()))


def _fill(
    filled: Image, part: Mask, unknown: Mask, sources: Sequence[tuple[Image, Mask | None]]
) -> None:
    """Lay the best piece over a part of what is unknown; the part then counts as known.

    Where no piece fits, nothing changes.
    """
    window = mask_window(part, RING_PX + 1)
    inside, is_unknown = part[window], unknown[window]
    ring = grow_mask(inside, RING_PX) & ~is_unknown
    if not ring.any():
        return
    best, piece = np.inf, None
    reach = max(SEARCH_PX, *inside.shape)
    near = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in window)
    for other, blocked in sources:
        kept = None if blocked is None else blocked[near]
        cost, found = _best_piece(other[near], kept, filled[window], ring, inside)
        if cost < best:
            best, piece = cost, found
    if piece is not None:
        filled[window] = _blend(filled[window], piece, inside, is_unknown & ~inside)
        is_unknown[inside] = False


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
        needed = (ring | inside).astype(np.float32)  # a piece must not hold a defect itself
        touched = cv2.matchTemplate(blocked.astype(np.float32), needed, cv2.TM_CCORR)
        costs = np.where(touched > 0.5, np.inf, costs)
    row, column = np.unravel_index(int(np.argmin(costs)), costs.shape)
    return float(costs[row, column]), other[row : row + height, column : column + width]


def _flat(image: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def _blend(target: Image, piece: Image, inside: Mask, unknown: Mask) -> Image:
    """Return the target with the piece inside, bent to its levels at the border that is known."""
    gap = target.astype(np.float32) - piece
    step = round((inside.sum() / MEMBRANE_PX) ** 0.5)
    if step > 1:  # solved on every ``step``-th pixel and enlarged: a membrane is smooth inside
        height, width = inside.shape
        small_wh = (-(-width // step), -(-height // step))  # rounded up
        known = (~inside & ~unknown).astype(np.float32)
        fraction = cv2.resize(known, small_wh, interpolation=cv2.INTER_AREA)
        sums = cv2.resize(gap * known[..., None], small_wh, interpolation=cv2.INTER_AREA)
        holds = cv2.resize(inside.astype(np.float32), small_wh, interpolation=cv2.INTER_AREA) > 0
        means = sums / np.maximum(fraction, 1e-6)[..., None]  # of the known pixels alone
        solved = _membrane(means, (fraction == 0) & holds, (fraction == 0) & ~holds)
        bend = np.asarray(cv2.resize(solved, (width, height)), np.float32)
    else:
        bend = _membrane(gap, inside, unknown)
    return to_levels(np.where(inside[..., None], piece + bend, target))


def _membrane(values: NDArray[np.float32], inside: Mask, unknown: Mask) -> NDArray[np.float32]:
    """Return values (h, w, 3) with those inside replaced by the solution of Laplace's equation.

    The solution meets the known values around it: each pixel inside is the mean of its 4
    neighbours, without those that are unknown or beyond the image.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import spsolve

    height, width = inside.shape
    numbers = np.full(inside.shape, -1)
    numbers[inside] = np.arange(inside.sum())
    rows, columns = np.nonzero(inside)
    own = numbers[inside]
    right = np.zeros((len(own), values.shape[2]))
    degree = np.full(len(own), 1e-6)  # where nothing around is known, it bends nothing
    links = []
    for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        r, c = rows + down, columns + across
        exists = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        exists[exists] = ~unknown[r[exists], c[exists]]
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


def to_fractions(change: NDArray[np.float32], clean: Image, mask: Mask) -> NDArray[np.float32]:
    """Return a defect's change (H, W, 3) as shares of the clean surface's grey level at each pixel.

    Laid on another surface by its levels, it dims the dark of a defect, texture and all. Shares are
    of at least half the level around. Where a defect that is clearly dark, or bright, as a whole
    seems to change nothing, or the opposite, ``clean`` may have a line or spot of the piece it was
    filled with: there the share is that of the level around, if that fits the defect better, and
    never the opposite.
    """
    ring = grow_mask(mask, RING_PX)
    around = clean[ring].mean(axis=0) if ring.any() else clean.mean(axis=(0, 1))
    typical = max(MIN_LEVEL, float(around @ LUMA))
    level = np.maximum(clean @ LUMA, max(MIN_LEVEL, MIN_FRACTION * typical))
    fractions = np.asarray(change / level[..., None], np.float32)
    if mask.any():
        mean = fractions[mask].mean(axis=0)
        side = np.sign(mean)
        own, other = side * fractions[mask], side * (change[mask] + clean[mask] - around) / typical
        likely = np.where(own < ODD_FRACTION * np.abs(mean), np.maximum(own, other), own)
        is_clear = np.abs(mean) > CLEAR_FRACTION
        fractions[mask] = np.where(is_clear, side * np.maximum(likely, 0), fractions[mask])
    return fractions


def to_own_texture(
    change: NDArray[np.float32], clean: Image, mask: Mask
) -> tuple[NDArray[np.float32], Map]:
    """Return a defect's change as ``to_fractions`` does, but within the mask with the texture of
    the defect alone, and the veil (H, W) under which the surface's own is gone.

    So looks what has broken out, or lies on the surface: nothing of it shows through.
    """
    veil = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), VEIL_PX)[..., None]
    ground = without_texture(clean.astype(np.float32))
    level = np.maximum(ground @ LUMA, MIN_LEVEL)[..., None]
    own = (change + clean - ground) / level
    fractions = to_fractions(change, clean, mask)
    return np.asarray(fractions + veil * (own - fractions), np.float32), veil[..., 0]


def near_weights(mask: Mask) -> NDArray[np.float32]:
    """Return (H, W, 1) weights: 1 on the mask, falling to 0 over the margin around it."""
    return np.clip(1 - (_away(~mask)[..., None] - 1) / MARGIN_PX, 0, 1)
