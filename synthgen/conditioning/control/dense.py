"""Controls other than edges: a value everywhere (depth, normals), and the asked mask itself."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.conditioning.control.controls import Annotator, fit_map

__all__ = ["DenseControl", "MaskControl"]


@dataclass(frozen=True, slots=True)
class DenseControl:
    """A map of the sketch: the part as it would look with the defect on it."""

    annotate: Annotator

    def draw(
        self,
        image: NDArray[np.uint8],
        sketch: NDArray[np.uint8],
        defect_mask: NDArray[np.bool_],
        repaint_mask: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        """Return the map of the sketch, stretched to its size where it has another."""
        height, width = image.shape[:2]
        drawn = fit_map(self.annotate(sketch), (height, width), cv2.INTER_LINEAR)
        return drawn if drawn.ndim == 3 else np.repeat(drawn[..., None], 3, axis=2)


class MaskControl:
    """The asked defect mask, white on black; black for a good image."""

    def draw(
        self,
        image: NDArray[np.uint8],
        sketch: NDArray[np.uint8],
        defect_mask: NDArray[np.bool_],
        repaint_mask: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        """Return the mask as levels 0 and 255."""
        return np.repeat(defect_mask.astype(np.uint8)[..., None] * 255, 3, axis=2)
