"""Where a defect goes: inside the allowed region, apart from the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from synthgen.defects.drawing import AXIS_OF, Side
from synthgen.errors import PlacementError

__all__ = ["Room", "place"]

TRIES = 80


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Room:
    """Where a defect may go. ``free`` (H, W): its pixels; ``near`` (H, W): its centre.

    ``on_image_fraction`` of its pixels must lie on the image, and of those ``on_part_fraction``
    must be free: the rest is cut off. ``cut_at`` (a Drawing's): borders that it has to reach.
    """

    free: NDArray[np.bool_]
    near: NDArray[np.bool_]
    on_image_fraction: float = 1.0
    on_part_fraction: float = 1.0
    cut_at: Mapping[Side, float] = field(default_factory=dict)

    def holds(self, rows: NDArray[np.int_], columns: NDArray[np.int_]) -> bool:
        """Whether a defect of these pixels has room."""
        height, width = self.free.shape
        inside = (rows >= 0) & (columns >= 0) & (rows < height) & (columns < width)
        if inside.mean() < self.on_image_fraction:
            return False
        free = self.free[rows[inside], columns[inside]]
        return bool(free.mean() >= self.on_part_fraction)


def place(
    rng: np.random.Generator, shape: NDArray[np.bool_], room: Room, sample_id: str
) -> tuple[int, int]:
    """Return the (row, column) of the shape's top left corner on an image.

    ``shape`` (h, w) is the defect's mask in its own frame. Its centre is drawn evenly over the
    places that the room has for it. Raises PlacementError where ``TRIES`` draws find none that
    holds it.
    """
    rows, columns = np.nonzero(shape)
    candidates = np.flatnonzero(room.near)
    if len(rows) and len(candidates):
        middle = np.array([np.median(rows), np.median(columns)]).astype(int)
        for pick in rng.choice(candidates, TRIES):
            corner = np.array(divmod(int(pick), room.free.shape[1])) - middle
            for side, share in room.cut_at.items():
                axis = AXIS_OF[side]
                border = 0 if side in ("top", "left") else room.free.shape[axis]
                corner[axis] = border - round(share * shape.shape[axis])
            if room.holds(rows + corner[0], columns + corner[1]):
                return int(corner[0]), int(corner[1])
    raise PlacementError(
        f"sample {sample_id!r}: a defect of {shape.shape[0]} x {shape.shape[1]} px (height, width) "
        f"finds no room in the {int(room.free.sum())} allowed pixels of an image of "
        f"{room.free.shape}; make the defect smaller or the allowed region larger"
    )
