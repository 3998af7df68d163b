"""Where a defect goes: inside the allowed region, apart from the others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from synthgen.defects.drawing import AXIS_OF, Side
from synthgen.errors import PlacementError

__all__ = ["place"]

TRIES = 80


def place(
    rng: np.random.Generator,
    shape: NDArray[np.bool_],
    free: NDArray[np.bool_],
    near: NDArray[np.bool_],
    sample_id: str,
    least_inside: float = 1.0,
    cut_at: Mapping[Side, float] | None = None,
) -> tuple[int, int]:
    """Return the (row, column) of the shape's top left corner on an image.

    ``shape`` (h, w) is the defect's mask in its own frame, ``free`` (H, W) is True where a defect
    may go. The defect's centre is drawn evenly over the pixels of ``near`` (H, W).
    ``least_inside``: the share of its pixels that must lie on the image; those that do must be
    free. ``cut_at`` (a Drawing's): borders that it has to reach. Raises PlacementError where
    ``TRIES`` draws find no place that holds it.
    """
    rows, columns = np.nonzero(shape)
    candidates = np.flatnonzero(near)
    if len(rows) and len(candidates):
        middle = np.array([np.median(rows), np.median(columns)]).astype(int)
        for pick in rng.choice(candidates, TRIES):
            corner = np.array(divmod(int(pick), free.shape[1])) - middle
            for side, share in (cut_at or {}).items():
                axis = AXIS_OF[side]
                border = 0 if side in ("top", "left") else free.shape[axis]
                corner[axis] = border - round(share * shape.shape[axis])
            if _is_inside(rows + corner[0], columns + corner[1], free, least_inside):
                return int(corner[0]), int(corner[1])
    raise PlacementError(
        f"sample {sample_id!r}: a defect of {shape.shape[0]} x {shape.shape[1]} px (height, width) "
        f"finds no room in the {int(free.sum())} allowed pixels of an image of {free.shape}; "
        "make the defect smaller or the allowed region larger"
    )


def _is_inside(
    rows: NDArray[np.int_], columns: NDArray[np.int_], free: NDArray[np.bool_], least: float
) -> bool:
    height, width = free.shape
    inside = (rows >= 0) & (columns >= 0) & (rows < height) & (columns < width)
    if inside.mean() < least:
        return False
    return bool(free[rows[inside], columns[inside]].all())
