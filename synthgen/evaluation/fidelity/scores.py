"""Scores of one painted image against what was asked. All pure, images (H, W, 3) uint8 RGB."""

from __future__ import annotations

import cv2
import numpy as np

from synthgen.imaging.geometry import grow_mask
from synthgen.quality.changes import border_step
from synthgen.quality.realised import to_lab
from synthgen.samples.arrays import Image, Mask

__all__ = ["border_ratio", "in_mask_difference", "texture_deviation"]

MIN_BAND_PX = 24


def border_ratio(source: Image, painted: Image, repaint_mask: Mask) -> tuple[float, float]:
    """Return the mean CIELAB step across the repaint border: painted, and in the source.

    The source's own step says how much of the painted one is the surface itself.
    """
    return border_step(to_lab(painted), repaint_mask), border_step(to_lab(source), repaint_mask)


def texture_deviation(
    source: Image, painted: Image, repaint_mask: Mask, defect_mask: Mask
) -> dict[str, float]:
    """Return how far the band around a defect is from the source's, as fractions of the source's.

    The band is what might have been repainted though no defect was asked for, 2 px away from it,
    since a soft edge and the gradient reach that far. ``mean``, ``std`` and ``gradient`` (mean
    Sobel magnitude) of its grey levels; NaN under 24 px of band.
    """
    band = repaint_mask & ~grow_mask(defect_mask, 2)
    if band.sum() < MIN_BAND_PX:
        return {name: float("nan") for name in ("mean", "std", "gradient")}
    now, before = _statistics(painted, band), _statistics(source, band)
    return {name: abs(now[name] - before[name]) / max(before[name], 1.0) for name in now}


def _statistics(image: Image, band: Mask) -> dict[str, float]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8)
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8)
    inside = grey[band]
    return {
        "mean": float(inside.mean()),
        "std": float(inside.std()),
        "gradient": float(np.hypot(down, across)[band].mean()),
    }


def in_mask_difference(one: Image, other: Image, mask: Mask) -> float:
    """Return the mean absolute difference in grey levels inside the mask; NaN where it is empty."""
    if not mask.any():
        return float("nan")
    return float(np.abs(one[mask].astype(np.int16) - other[mask]).mean())
