"""Square crops around a defect: what the classifier and the distance look at."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CROP_PX", "crop_around"]

CROP_PX = 96


def crop_around(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], size_px: int = CROP_PX
) -> NDArray[np.uint8]:
    """Return the (S, S, 3) crop around the mask's box, at native pixels.

    It stays inside the image; a smaller image is mirrored, a larger defect is shrunk to fit.
    """
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        rows, columns = (np.array([length // 2]) for length in mask.shape)
    reach = max(int(np.ptp(rows)), int(np.ptp(columns))) + 1
    side = max(size_px, reach + 8)
    top = int(rows.min() + rows.max() + 1 - side) // 2
    left = int(columns.min() + columns.max() + 1 - side) // 2
    height, width = mask.shape
    top = min(max(top, 0), height - side) if side <= height else top
    left = min(max(left, 0), width - side) if side <= width else left
    pad = max(0, -top, -left, top + side - height, left + side - width)
    padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REFLECT)
    cut = padded[top + pad : top + pad + side, left + pad : left + pad + side]
    if side == size_px:
        return np.ascontiguousarray(cut)
    return np.asarray(cv2.resize(cut, (size_px, size_px), interpolation=cv2.INTER_AREA), np.uint8)
