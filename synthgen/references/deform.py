"""New shapes of real defects: mirrored, turned, scaled, bent along their length, pulled about."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.references.skeleton import axis_deg
from synthgen.samples.arrays import Mask

__all__ = ["Deformation", "deform"]

Rng = np.random.Generator
Layer = NDArray[np.float32]
MARGIN_PX = 8  # around what the shape reaches, where the change fades
GRID = 5  # points a side of the elastic field


def _check_scale(scale: tuple[float, float]) -> tuple[float, float]:
    if not 0.2 <= scale[0] <= scale[1] <= 5:
        raise ValueError("it must run upward between 0.2 and 5")
    return scale


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Deformation:
    """How far a real defect's shape may be changed; each draw takes a part of it."""

    turn_deg: Annotated[float, Field(ge=0, le=180)] = 20.0  # at most, either way
    scale: Annotated[tuple[float, float], AfterValidator(_check_scale)] = (0.7, 1.4)
    bend: Annotated[float, Field(ge=0, le=0.5)] = 0.12  # of its length, across its long axis
    elastic: Annotated[float, Field(ge=0, le=0.2)] = 0.05  # of its length: deviation of the field


def deform(
    rng: Rng, change: Layer, mask: Mask, how: Deformation, mirrored: tuple[bool, bool]
) -> tuple[Layer, Mask, Layer]:
    """Return change (h, w, C) and mask (h, w) in a new shape, and where each pixel comes from.

    The results have a frame of their own. The third is (h, w, 2): row and column in the frame that
    was given. C is 1 to 4. ``mirrored``: top to bottom, left to right. The long axis is bent by a
    bow and a wave, as the middle line of a thin defect bends; the elastic field is smooth over a
    quarter of its length, so that thin lines stay whole. Where the new shape has no pixel, change
    and mask come back as they were.
    """
    rows, columns = np.nonzero(mask)
    centre = np.array([columns.mean(), rows.mean()])
    reach = float(np.hypot(columns - centre[0], rows - centre[1]).max()) + 1
    scale = float(np.exp(rng.uniform(*np.log(how.scale))))
    pull = rng.normal(0, how.elastic * 2 * reach, (GRID, GRID, 2))
    bow, wave = rng.uniform(-1, 1, 2) * how.bend * 2 * reach
    most = abs(bow) + abs(wave) / 2 + float(np.abs(pull).max())
    half = int(np.ceil((reach + most) * scale)) + MARGIN_PX
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    turn = np.deg2rad(rng.uniform(-1, 1) * how.turn_deg)
    y, x = (-axis if flip else axis for axis, flip in zip((y, x), mirrored, strict=True))
    own_x = (np.cos(turn) * x + np.sin(turn) * y) / scale
    own_y = (-np.sin(turn) * x + np.cos(turn) * y) / scale
    axis = np.deg2rad(-axis_deg(mask))
    along = (own_x * np.cos(axis) + own_y * np.sin(axis)) / reach  # -1..1 over its length
    bent = bow * (along**2 - 0.5) + 0.5 * wave * np.sin(np.pi * along)
    field = cv2.resize(pull.astype(np.float32), x.shape[::-1], interpolation=cv2.INTER_CUBIC)
    at_x = (own_x - bent * np.sin(axis) + field[..., 0] + centre[0]).astype(np.float32)
    at_y = (own_y + bent * np.cos(axis) + field[..., 1] + centre[1]).astype(np.float32)
    moved = cv2.remap(change, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    shape = cv2.remap(mask.astype(np.float32), at_x, at_y, cv2.INTER_LINEAR) > 0.5
    at: Layer = np.stack([at_y, at_x], axis=2)
    if not shape.any():
        return change, mask, np.moveaxis(np.indices(mask.shape, np.float32), 0, 2)
    low = np.maximum(np.argwhere(shape).min(axis=0) - MARGIN_PX, 0)
    high = np.argwhere(shape).max(axis=0) + 1 + MARGIN_PX
    window = np.s_[low[0] : high[0], low[1] : high[1]]
    return np.asarray(moved[window], np.float32), np.asarray(shape[window]), at[window]
