"""Where a defect goes: inside the allowed region, apart from the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthgen.errors import PlacementError

__all__ = ["place"]

TRIES = 80
ENOUGH_INSIDE = 0.98  # share of the defect that has to lie in the region


def place(
    rng: np.random.Generator,
    shape: NDArray[np.bool_],
    free: NDArray[np.bool_],
    sample_id: str,
) -> tuple[int, int]:
    """Return the (row, column) of the shape's top left corner on an image.

    ``shape`` (h, w) is the defect's mask in its own frame, ``free`` (H, W) is True where a defect
    may go. The defect's centre is drawn evenly over the free pixels. Raises PlacementError where
    ``TRIES`` draws find no place that holds 98 % of it.
    """
    rows, columns = np.nonzero(shape)
    candidates = np.flatnonzero(free)
    if len(rows) and len(candidates):
        middle = np.array([np.median(rows), np.median(columns)]).astype(int)
        for pick in rng.choice(candidates, TRIES):
            corner = np.array(divmod(int(pick), free.shape[1])) - middle
            if _share_inside(rows + corner[0], columns + corner[1], free) >= ENOUGH_INSIDE:
                return int(corner[0]), int(corner[1])
    raise PlacementError(
        f"sample {sample_id!r}: a defect of {shape.shape[0]} x {shape.shape[1]} px (height, width) "
        f"finds no room in the {int(free.sum())} allowed pixels of an image of {free.shape}; "
        "make the defect smaller or the allowed region larger"
    )


def _share_inside(
    rows: NDArray[np.int_], columns: NDArray[np.int_], free: NDArray[np.bool_]
) -> float:
    height, width = free.shape
    is_on = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return float(free[rows[is_on], columns[is_on]].sum() / len(rows))
