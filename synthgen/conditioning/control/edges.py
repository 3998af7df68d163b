"""Edge maps: edges of the part outside, the defect's own edges inside; by default Canny's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, validate_call

from synthgen.conditioning.control.controls import Annotator, fit_map
from synthgen.errors import ConfigError

__all__ = ["EdgeControl", "canny_control", "canny_edges", "combine_edges", "outline"]

Level = Annotated[float, Field(le=100_000)]  # more than any gradient has
Blur = Annotated[float, Field(ge=0, le=256)]  # the kernel's side is 6 times as large


@dataclass(frozen=True, slots=True)
class EdgeControl:
    """The part's edges outside the repaint mask, the defect's inside its own mask, with outline."""

    annotate: Annotator  # its edges are bright on black

    def draw(
        self,
        image: NDArray[np.uint8],
        sketch: NDArray[np.uint8],
        defect_mask: NDArray[np.bool_],
        repaint_mask: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        """Return the edges of the image and of the sketch, combined; see ``combine_edges``."""
        part = self._edges(image)
        defect = self._edges(sketch) if defect_mask.any() else part
        return combine_edges(part, defect, defect_mask, repaint_mask)

    def _edges(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        drawn = self.annotate(image)
        height, width = image.shape[:2]
        grey = drawn if drawn.ndim == 2 else drawn.max(axis=2)
        return fit_map(grey, (height, width), cv2.INTER_NEAREST)


@validate_call
def canny_control(low: float = 100, high: Level = 200, blur_px: Blur = 0) -> EdgeControl:
    """Return Canny edges as a control (Canny 1986); thresholds in Sobel units, as in OpenCV."""
    if not 0 <= low <= high:
        raise ConfigError(
            f"control.canny.low={low:g} must lie between 0 and control.canny.high={high:g}"
        )
    return EdgeControl(partial(canny_edges, low=low, high=high, blur_px=blur_px))


def canny_edges(
    image: NDArray[np.uint8], low: float = 100, high: float = 200, blur_px: float = 0
) -> NDArray[np.uint8]:
    """Return the (H, W) Canny edges, 0 or 255, of an RGB image (H, W, 3) uint8.

    ``low`` and ``high``: thresholds of the gradient in Sobel units; ``blur_px``: deviation of the
    Gaussian before it, 0 = none.
    """
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
