"""Every conversion between mask, box, RLE, polygon and grids. Boxes are half-open, in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from synthgen.samples.arrays import Mask
from synthgen.samples.sample import BoxXYWH

__all__ = [
    "grow_mask",
    "grow_to_cells",
    "mask_to_box",
    "mask_to_outline",
    "mask_to_rle",
    "mask_window",
    "nearest_instance",
    "outline_to_mask",
    "overlap",
    "read_characters",
    "read_run_lengths",
    "rle_to_mask",
    "union_box",
]

CONTINUES, SIGN = 0x20, 0x10  # of the 6 bits of each character of compressed run lengths
MAX_PIXELS = 1 << 28  # of one mask
MAX_CHARACTERS = 7  # of one run length


def mask_to_box(mask: Mask) -> BoxXYWH:
    """Return the tight box (x, y, width, height); raises ValueError for an empty mask.

    >>> tuple(mask_to_box(np.array([[0, 0, 0, 0], [0, 1, 1, 1]], dtype=bool)))
    (1, 1, 3, 1)
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError("an empty mask has no box")
    x, y = int(columns[0]), int(rows[0])
    return BoxXYWH(x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)


def union_box(boxes: Sequence[BoxXYWH]) -> BoxXYWH:
    """Return the smallest box around all of them.

    >>> tuple(union_box([BoxXYWH(1, 1, 2, 2), BoxXYWH(5, 0, 1, 1)]))
    (1, 0, 5, 3)
    """
    x, y = min(b.x for b in boxes), min(b.y for b in boxes)
    right, bottom = max(b.x + b.width for b in boxes), max(b.y + b.height for b in boxes)
    return BoxXYWH(x, y, right - x, bottom - y)


def mask_to_rle(mask: Mask) -> dict[str, Any]:
    """Return a mask (H, W) as COCO's compressed run lengths, column by column.

    ``size`` is [height, width], ``counts`` ASCII text.
    """
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(v) for v in rle["size"]], "counts": rle["counts"].decode("ascii")}


def rle_to_mask(rle: dict[str, Any]) -> Mask:
    """Undo ``mask_to_rle``; raises ValueError for run lengths that are not those of such a mask.

    >>> bool(rle_to_mask(mask_to_rle(np.eye(3, dtype=bool)))[2, 2])
    True
    """
    size, counts = rle["size"], rle["counts"]
    read_run_lengths(counts, size)  # the decoder itself reads beyond the end of a broken text
    return np.asarray(coco_mask.decode({"size": size, "counts": counts}), bool)


def read_run_lengths(counts: str, size_hw: Sequence[int]) -> NDArray[np.int64]:
    """Return COCO's compressed run lengths as numbers, column by column: those of pixels that are
    not in the mask and of those that are, in turn.

    Raises ValueError where ``counts`` holds none, or they do not fill a mask of that height and
    width.

    >>> read_run_lengths("0120", (2, 2)).tolist()
    [0, 1, 2, 1]
    """
    height, width = size_hw
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise ValueError(f"a mask of {height} x {width} pixels is not possible")
    if not counts or not counts.isascii():
        raise ValueError("it holds no run lengths")
    parts = read_characters(counts)
    if parts.min() < 0 or parts.max() > 63 or parts[-1] & CONTINUES:
        raise ValueError("it holds characters that are no run lengths, or is cut off")
    values, _ = join_characters(parts)
    if values is None:
        raise ValueError("one of its run lengths is longer than any mask")
    lengths = values.copy()  # from the third on, what is told is the difference to the one but last
    for first in (1, 2):
        lengths[first::2] = np.cumsum(values[first::2])
    if lengths.min() < 0 or int(lengths.sum()) != height * width:
        raise ValueError(f"its run lengths do not fill {height} x {width} pixels")
    return lengths


def read_characters(counts: str) -> NDArray[np.int64]:
    """Return the 6 bits of each character of compressed run lengths.

    A character that is not part of such a text gives a number that is not in 0..63.
    """
    return np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48


def join_characters(
    parts: NDArray[np.int64],
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Return the values that characters of 5 bits each make, and where each ends.

    None in place of the values where one has more characters than any mask needs.
    """
    ends = np.flatnonzero((parts & CONTINUES) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    count = ends - starts + 1
    if count.max() > MAX_CHARACTERS:
        return None, ends
    shift = 5 * (np.arange(len(parts)) - np.repeat(starts, count))
    values = np.add.reduceat((parts & 31) << shift, starts)
    values -= ((parts[ends] & SIGN) != 0).astype(np.int64) << (5 * count)
    return values, ends


def grow_mask(mask: Mask, margin_px: int) -> Mask:
    """Return the mask grown by a disc of ``margin_px``; 0 gives it back.

    >>> int(grow_mask(np.eye(1, 5, 2, dtype=bool), 1).sum())
    3
    """
    if margin_px <= 0 or not mask.any():
        return mask.copy()
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin_px + 1,) * 2)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def nearest_instance(instance_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return, for every pixel (H, W), the id of the nearest asked defect; 0 in the map is none.

    A map of one defect, or of none, gives 1 everywhere.
    """
    if int(instance_map.max()) <= 1:
        return np.ones_like(instance_map)
    away = (instance_map == 0).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(
        away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner_of_label = np.zeros(int(labels.max()) + 1, np.uint8)
    inside = instance_map > 0
    owner_of_label[labels[inside]] = instance_map[inside]
    return np.asarray(owner_of_label[labels], np.uint8)


def overlap(one: Mask, other: Mask) -> float:
    """Return the intersection over the union of two masks of one shape, 0..1; 1 for empty ones."""
    union = int((one | other).sum())
    return float((one & other).sum() / union) if union else 1.0


def mask_window(mask: Mask, margin_px: int) -> tuple[slice, slice]:
    """Return the (rows, columns) that hold the mask and ``margin_px`` around, inside the image.

    >>> mask_window(np.eye(5, dtype=bool), 1)
    (slice(0, 5, None), slice(0, 5, None))
    """
    spans = []
    for axis in (1, 0):
        used = np.flatnonzero(mask.any(axis=axis))
        first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
        length = mask.shape[1 - axis]
        spans.append(slice(max(0, first - margin_px), min(length, last + margin_px)))
    return spans[0], spans[1]


def grow_to_cells(mask: Mask, cell_px: int) -> Mask:
    """Return the mask grown to whole cells of a grid that starts at the top left pixel.

    >>> int(grow_to_cells(np.eye(5, dtype=bool), 4).sum())
    17
    """
    if cell_px <= 1:
        return mask.copy()
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % cell_px), (0, -width % cell_px)))
    cells = padded.reshape(padded.shape[0] // cell_px, cell_px, -1, cell_px).any(axis=(1, 3))
    return np.asarray(cells.repeat(cell_px, 0).repeat(cell_px, 1)[:height, :width])


def mask_to_outline(mask: Mask, at_edges: bool = False) -> NDArray[np.float64]:
    """Return one closed line (N, 2) of x, y around all parts and holes of a mask, not empty.

    Parts and holes are joined by cuts of no width, there and back, as one polygon cannot hold them
    otherwise. Its points are pixel centres, counted from (0, 0) at the centre of the first pixel,
    as OpenCV fills them; ``at_edges``: corners of pixels, from (0, 0) at the image's corner, as
    COCO's own rasteriser wants them.

    >>> mask_to_outline(np.array([[0, 1, 1]], dtype=bool), at_edges=True).tolist()
    [[1.0, 0.0], [1.0, 1.0], [3.0, 1.0], [3.0, 0.0]]
    """
    rows, columns = mask_window(mask, 0)
    inside = mask[rows, columns].astype(np.uint8)
    scale = 3 if at_edges else 1  # so that even one pixel has four corners
    large = np.kron(inside, np.ones((scale, scale), np.uint8))
    rings, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    line = _join_rings([ring[:, 0] for ring in rings])
    points = line // 3 + (line % 3) / 2 if at_edges else line.astype(np.float64)
    return np.asarray(points + np.array([columns.start, rows.start]), np.float64)


def _join_rings(rings: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """Return closed lines (N, 2) as one: the nearest is cut in, there and back, until none is left.

    Cuts are those of Prim's minimum spanning tree over the rings.
    """
    if len(rings) == 1:
        return rings[0]
    from scipy.spatial import cKDTree  # half a second: loaded where it is used

    points = np.concatenate(rings)
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    first = np.concatenate([[0], np.cumsum([len(ring) for ring in rings])[:-1]])
    after: dict[int, list[int]] = {}  # at which point which other points are cut in
    distance, nearest = np.full(len(points), np.inf), np.zeros(len(points), int)
    is_waiting = owner != 0
    joined = 0
    while is_waiting.any():
        own = np.flatnonzero(owner == joined)
        found, at = cKDTree(points[own]).query(points)
        is_nearer = found < distance
        distance[is_nearer], nearest[is_nearer] = found[is_nearer], own[at[is_nearer]]
        start = int(np.where(is_waiting, distance, np.inf).argmin())
        after.setdefault(int(nearest[start]), []).append(start)
        joined = int(owner[start])
        is_waiting &= owner != joined
    order: list[int] = []
    todo: list[tuple[int, bool]] = [(n, True) for n in reversed(range(len(rings[0])))]
    while todo:
        point, is_new = todo.pop()
        order.append(point)
        for start in after.pop(point, []) if is_new else []:
            base, length = int(first[owner[start]]), len(rings[owner[start]])
            turn = [base + (start - base + n) % length for n in range(length)]
            todo += [(point, False), (start, False), *((n, True) for n in reversed(turn))]
    return points[order]


def outline_to_mask(outline: NDArray[np.float64], size_hw: tuple[int, int]) -> Mask:
    """Return what OpenCV fills of a closed line of pixel centres x, y (N, 2), its edge included.

    It undoes ``mask_to_outline``; the mask has ``size_hw`` (height, width).
    """
    filled = np.zeros(size_hw, np.uint8)
    cv2.fillPoly(filled, [np.rint(outline).astype(np.int32)], 1)
    return filled > 0
