"""The default control image: Canny edges of the part outside, the defect's own edges inside."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import validate_call

from synthgen.errors import ConfigError

__all__ = ["CannyControl", "Control", "canny_edges", "combine_edges", "draw_control", "outline"]


class Control(Protocol):
    """Turns a picture into what ControlNet reads from it."""

    def annotate(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the (H, W) map, 0..255, of an (H, W, 3) RGB image; aligned to the pixel."""
        ...


class CannyControl:
    """Canny edges (Canny 1986); thresholds in Sobel units, as in OpenCV."""

    @validate_call
    def __init__(self, low: float = 100, high: float = 200, blur_px: float = 0) -> None:
        if not 0 <= low <= high:
            raise ConfigError(f"control.low={low:g} must lie between 0 and control.high={high:g}")
        self.low, self.high, self.blur_px = low, high, blur_px

    def annotate(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return canny_edges(image, self.low, self.high, self.blur_px)


def canny_edges(
    image: NDArray[np.uint8], low: float = 100, high: float = 200, blur_px: float = 0
) -> NDArray[np.uint8]:
    """Return the (H, W) Canny edges, 0 or 255, of an RGB image."""
    smooth = cv2.GaussianBlur(image, (0, 0), blur_px) if blur_px > 0 else image
    return np.asarray(cv2.Canny(smooth, low, high), np.uint8)


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask's own pixels that touch its outside; a 1 px line is all outline."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(mask & (inner == 0))


def combine_edges(
    part: NDArray[np.uint8],
    defect: NDArray[np.uint8],
    defect_mask: NDArray[np.bool_],
    repaint_mask: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Return the control image (H, W, 3).

    ``part`` (edges of the source) counts outside the repaint mask; inside it, ``defect`` (edges of
    the sketch) counts on the defect mask, whose outline is added.
    """
    edges = np.where(repaint_mask, np.where(defect_mask, defect, 0), part)
    edges = np.where(outline(defect_mask), 255, edges).astype(np.uint8)
    return np.repeat(edges[..., None], 3, axis=2)


def draw_control(
    control: Control,
    image: NDArray[np.uint8],
    sketch: NDArray[np.uint8],
    defect_mask: NDArray[np.bool_],
    repaint_mask: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Return the control image (H, W, 3) of a source and the sketch of a defect on it."""
    part = control.annotate(image)
    defect = control.annotate(sketch) if defect_mask.any() else part
    return combine_edges(part, defect, defect_mask, repaint_mask)
