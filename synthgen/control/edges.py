"""The default control image: Canny edges of the part outside, the defect's own edges inside."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["canny_edges", "combine_edges", "outline"]


def canny_edges(
    image: NDArray[np.uint8], low: float = 100, high: float = 200, blur_px: float = 0
) -> NDArray[np.bool_]:
    """Return the (H, W) Canny edges of an RGB image; thresholds in Sobel units, as in OpenCV."""
    smooth = cv2.GaussianBlur(image, (0, 0), blur_px) if blur_px > 0 else image
    return cv2.Canny(smooth, low, high) > 0


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask's own pixels that touch its outside; a 1 px line is all outline."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    return mask & (inner == 0)


def combine_edges(
    part: NDArray[np.bool_],
    defect: NDArray[np.bool_],
    defect_mask: NDArray[np.bool_],
    repaint_mask: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Return the control image (H, W, 3), 255 on edges.

    ``part`` (edges of the source) counts outside the repaint mask; inside it, ``defect`` (edges of
    the sketch) counts on the defect mask, whose outline is added.
    """
    edges = (part & ~repaint_mask) | (defect & defect_mask) | outline(defect_mask)
    return np.repeat((edges.astype(np.uint8) * 255)[..., None], 3, axis=2)
