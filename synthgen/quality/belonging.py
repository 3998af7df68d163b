"""Measure whether a painted defect belongs to its photo: its sharpness, grain and levels.

All take a small window around the defect: images (H, W, 3) uint8 RGB, masks (H, W) bool.
"""

from __future__ import annotations

import cv2
import numpy as np

from synthgen.imaging.optics import Optics
from synthgen.imaging.outline import IMMERKAER, disc, measure_blur, measure_flank
from synthgen.samples.arrays import Image, Map, Mask

__all__ = ["edge_width_px", "edge_width_ratio", "grain_ratio", "range_fraction"]


FEWEST_PX = 24  # fewer pixels give no deviation
RING_PX = 8
UNSEEN = 0.7  # grey levels of grain that nobody sees: rounding alone makes 0.3
MIN_ROOM = 24.0  # grey levels: a defect must differ by some to be seen at all
EDGE_PX = 3  # from the label: there the change itself is fine structure


def edge_width_ratio(source: Image, finished: Image, realised: Mask, kernel_px: float) -> float:
    """Return how soft the change's edges are, over how soft the photo is; NaN for unmeasurable.

    1 = as sharp as the photo allows, below = a sticker, above = softer than its photo. Both are
    10-90 % widths of a step, 2.563 deviations of the Gaussian: a thin line that exactly the kernel
    blurred has narrower flanks, and a ratio of 1 as well. The kernel includes a pixel's own width,
    as ``estimate_optics`` tells it.
    """
    return measure_blur(_change(source, finished), realised, kernel_px) / kernel_px


def edge_width_px(source: Image, finished: Image, realised: Mask) -> float:
    """Return the 10-90 % width in pixels of the change's flanks, as it is; NaN for unmeasurable.

    2.563 deviations of the blur for a step, 1.69 for a line much thinner than its blur.
    """
    return measure_flank(_change(source, finished), realised)


def grain_ratio(
    source: Image, finished: Image, realised: Mask, allowed: Mask | None = None
) -> float:
    """Return the grain inside the label over that of the surface around it; NaN for too few pixels.

    Fine structure: the robust deviation of Immerkaer's high pass (1996), which planes and soft
    edges leave at zero. Edges of the label are left out, as the change itself is fine there.
    ``allowed`` (H, W): the part, whose surface alone counts as around.
    """
    label = realised.astype(np.uint8)
    inside = cv2.erode(label, disc(2), borderValue=0) > 0  # 0: the picture's border is an edge too
    ring = cv2.dilate(label, disc(EDGE_PX + RING_PX)) > cv2.dilate(label, disc(EDGE_PX))
    if allowed is not None:
        ring &= allowed
    untouched = ring & ~(source != finished).any(axis=2)
    ring = untouched if untouched.sum() >= FEWEST_PX else ring
    if inside.sum() < FEWEST_PX or ring.sum() < FEWEST_PX:
        return float("nan")
    fine = np.asarray(cv2.filter2D(_grey(finished), cv2.CV_32F, IMMERKAER), np.float32)
    within, around = _deviation(fine[inside]), _deviation(fine[ring])
    # Both are widened by what nobody sees, so that two unseen grains have a ratio of about 1.
    return float(np.hypot(within, UNSEEN) / np.hypot(around, UNSEEN))


def range_fraction(source: Image, finished: Image, realised: Mask, optics: Optics) -> float:
    """Return the mean change over the room to the photo's black or white level; NaN for no label.

    1 = as dark or bright as anything in the photo, above = darker or brighter than that.
    """
    if not realised.any():
        return float("nan")
    change = _change(source, finished)[realised]
    level = float(_grey(source)[realised].mean())
    is_darker = float(change.mean()) < 0
    room = level - optics.gloom_level if is_darker else optics.glint_level - level
    return float(np.abs(change).mean()) / max(room, MIN_ROOM)


def _change(source: Image, finished: Image) -> Map:
    return _grey(finished) - _grey(source)


def _grey(image: Image) -> Map:
    # Floats: whole levels would add noise of their own to a small change.
    return np.asarray(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY), np.float32)


def _deviation(response: Map) -> float:
    """Return the deviation of white noise, in grey levels, by the response of Immerkaer's mask.

    The mask's own gain on white noise is 6. The median of the absolute response is 0.6745
    deviations of a Gaussian, and a few strong edges do not move it.
    """
    return float(np.median(np.abs(response))) / 0.6745 / 6
