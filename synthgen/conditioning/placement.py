"""Where a defect goes: inside the allowed region, apart from the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.defects.drawing.drawing import AXIS_OF, Side
from synthgen.errors import PlacementError
from synthgen.sources.parts import edge_band

__all__ = ["Edge", "Room", "choose_edge", "place"]

TRIES = 80
BAND_PX = 2  # of the edge: where the centre of what broke out of it may lie
SPOT_FRACTION = 0.06  # of the longer side: how much of an edge counts as one place
SLOPE_PX = 4.0  # deviation of the blur in which an edge's direction is measured


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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Edge:
    """A place at an edge. ``near`` (H, W): its pixels. ``along_deg``: 0 = along x, 90 = up.

    ``is_border``: it is the picture's border, which the part is taken to end at.
    """

    near: NDArray[np.bool_]
    along_deg: float
    is_border: bool

    def room(self, free: NDArray[np.bool_], least: float) -> Room:
        """Return the room of a defect of which at least the fraction ``least`` is seen here."""
        if self.is_border:
            return Room(free=free, near=self.near, on_image_fraction=least)
        return Room(free=free, near=self.near, on_part_fraction=least)


def choose_edge(
    rng: np.random.Generator,
    free: NDArray[np.bool_],
    asked: NDArray[np.bool_],
    is_border: bool,
) -> Edge | None:
    """Return a random place at the edge of the part, ``free`` (H, W), within ``asked`` (H, W).

    Where the part fills the picture, it is one at the picture's border if ``is_border``. None where
    there is no edge.
    """
    if free.all():
        if not is_border:
            return None
        band = free.copy()
        band[2 * BAND_PX : -2 * BAND_PX, 2 * BAND_PX : -2 * BAND_PX] = False
    else:
        band = edge_band(free, BAND_PX)
    rows, columns = np.nonzero(band & asked)
    if not len(rows):
        return None
    pick = int(rng.integers(len(rows)))
    # Where the part fills the picture, it is taken to end at the border.
    inside = np.pad(free, BAND_PX, mode="constant" if free.all() else "edge").astype(np.float32)
    soft = cv2.GaussianBlur(inside, (0, 0), SLOPE_PX, borderType=cv2.BORDER_REPLICATE)
    across_y, across_x = np.gradient(soft)
    at = rows[pick] + BAND_PX, columns[pick] + BAND_PX
    along = np.rad2deg(np.arctan2(across_x[at], across_y[at])) % 180  # y downward, turned by 90
    away = np.hypot(rows - rows[pick], columns - columns[pick])
    spot = away <= max(4.0, SPOT_FRACTION * max(free.shape))
    near = np.zeros_like(free)
    near[rows[spot], columns[spot]] = True
    return Edge(near=near, along_deg=float(along), is_border=bool(free.all()))


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
            for side, fraction in room.cut_at.items():
                axis = AXIS_OF[side]
                border = 0 if side in ("top", "left") else room.free.shape[axis]
                corner[axis] = border - round(fraction * shape.shape[axis])
            if room.holds(rows + corner[0], columns + corner[1]):
                return int(corner[0]), int(corner[1])
    raise PlacementError(
        f"sample {sample_id!r}: a defect of {shape.shape[0]} x {shape.shape[1]} px (height, width) "
        f"finds no room in the {int(room.free.sum())} allowed pixels of an image of "
        f"{room.free.shape}; make the defect smaller or the allowed region larger"
    )
