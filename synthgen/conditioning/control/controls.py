"""What a control image is made by: one Protocol, and what all of its kinds share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Annotator", "Control", "fit_map"]

# Turns an (H, W, 3) RGB image into a map, (h, w) or (h, w, 3) uint8, of any size.
Annotator = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


class Control(Protocol):
    """Draws what a ControlNet reads; no state that changes what is drawn."""

    def draw(
        self,
        image: NDArray[np.uint8],
        sketch: NDArray[np.uint8],
        defect_mask: NDArray[np.bool_],
        repaint_mask: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        """Return the control image (H, W, 3) of a source (H, W, 3) and the sketch on it."""
        ...


def fit_map(
    drawn: NDArray[np.uint8], size_hw: tuple[int, int], interpolation: int
) -> NDArray[np.uint8]:
    """Return a map at the image's size; one of another size is stretched over the image."""
    if drawn.shape[:2] == size_hw:
        return drawn
    return np.asarray(cv2.resize(drawn, size_hw[::-1], interpolation=interpolation), np.uint8)
