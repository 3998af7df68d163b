"""What every inspection model answers: a map of logits, and boxes where it draws some itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Boxes", "Prediction", "Predictor"]


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of one image: ``xyxy`` (N, 4) float32, half-open pixels; ``scores`` (N,) of any scale.

    True boxes have scores of 1.
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Prediction:
    """``logits`` (H, W) float32, higher = more of a defect; only their order counts.

    ``boxes``: None where the model marks pixels; boxes are then drawn around what its threshold
    marks.
    """

    logits: NDArray[np.float32]
    boxes: Boxes | None = None


class Predictor(Protocol):
    """A trained inspection model."""

    def __call__(self, pixels: NDArray[np.float32]) -> Prediction:
        """Look at one whole image (H, W, C), of mean 0 and deviation 1; C = 1 or 3."""
        ...
