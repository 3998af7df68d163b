"""The realised mask: where the finished image visibly differs from its source. The label."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["delta_e", "realise_mask", "to_lab"]

LOW_DELTA_E = 4.0  # over 2.3, the just noticeable difference on even patches (Mahy et al. 1994)
HIGH_DELTA_E = 7.0
LEAST_PART_PX = 4


def to_lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return CIELAB (D65; L 0..100) of RGB uint8, (H, W, 3) float32."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def delta_e(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the CIELAB difference of two RGB images per pixel (CIE 1976), (H, W) float32."""
    return np.asarray(np.linalg.norm(to_lab(one) - to_lab(other), axis=2), np.float32)


def realise_mask(
    source: NDArray[np.uint8],
    finished: NDArray[np.uint8],
    repaint_mask: NDArray[np.bool_],
    close_px: int = 0,
    low: float = LOW_DELTA_E,
    high: float = HIGH_DELTA_E,
) -> NDArray[np.bool_]:
    """Return the (H, W) mask of visible change, inside the repaint mask only.

    Hysteresis (Canny 1986, III.D): connected pixels that differ by ``low`` (Delta E), where at
    least one of them differs by ``high``. Parts under 4 px are dropped; gaps of up to ``close_px``
    are closed.
    """
    difference = delta_e(source, finished)
    weak = (difference >= low) & repaint_mask
    count, labels = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    areas = np.bincount(labels.ravel(), minlength=count)
    is_strong = np.zeros(count, bool)
    is_strong[labels[weak & (difference >= high)]] = True
    keep = is_strong & (areas >= LEAST_PART_PX)
    keep[0] = False
    mask = keep[labels]
    if close_px and mask.any():
        size = (2 * close_px + 1,) * 2
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, size)
        padded = np.pad(mask.astype(np.uint8), close_px + 1)  # so that the border does not erode
        closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)
        inner = slice(close_px + 1, -close_px - 1)
        mask = (closed[inner, inner] > 0) & repaint_mask
    return np.asarray(mask, bool)
