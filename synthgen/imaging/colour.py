"""CIELAB: how far apart colours are, and how far a marked part stands out of what is around it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.geometry import grow_mask

__all__ = ["ring_contrast", "to_lab"]

RING_PX = 6


def to_lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return CIELAB (D65; L 0..100) of RGB uint8, (H, W, 3) float32."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def ring_contrast(
    lab: NDArray[np.float32],
    mask: NDArray[np.bool_],
    leave_out: NDArray[np.bool_] | None = None,
) -> float:
    """Return how much more the mask's pixels differ from the ring's colour than the ring's do.

    Mean CIELAB difference (CIE 1976) to the median colour of a 6 px ring around the mask, less the
    ring's own: the texture's. About 0 or below = the defect is lost in the texture. ``leave_out``:
    other defects, which are not part of the ring.
    """
    near = grow_mask(mask, 2)
    ring = grow_mask(near, RING_PX) & ~near
    if leave_out is not None:
        ring &= ~leave_out
    if not mask.any() or not ring.any():
        return float("nan")
    middle = np.median(lab[ring], axis=0)
    inside = np.linalg.norm(lab[mask] - middle, axis=1).mean()
    return float(inside - np.linalg.norm(lab[ring] - middle, axis=1).mean())
