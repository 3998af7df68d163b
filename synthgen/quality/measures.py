"""Measures of a finished image. Each is a pure function; none of them decides."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.geometry import grow_mask
from synthgen.quality.realised import delta_e, to_lab
from synthgen.sample import Candidate, Measurement

__all__ = [
    "border_step",
    "fill_fraction",
    "leak_fraction",
    "measure",
    "measure_mask",
    "ring_contrast",
    "seam_step",
]

LEAK_TOLERANCE_PX = 2  # a soft edge of this width is no leak: a 1 px line would be all leak
RING_PX = 6


def fill_fraction(realised: NDArray[np.bool_], asked: NDArray[np.bool_]) -> float:
    """Return the share of the asked mask that really changed, 0..1; NaN where none was asked."""
    return float(realised[asked].mean()) if asked.any() else float("nan")


def leak_fraction(realised: NDArray[np.bool_], asked: NDArray[np.bool_]) -> float:
    """Return the share of the change that lies more than 2 px outside the asked mask, 0..1."""
    if not realised.any():
        return float("nan")
    near = grow_mask(asked, LEAK_TOLERANCE_PX)
    return float((realised & ~near).sum() / realised.sum())


def ring_contrast(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    """Return how much more the mask's pixels differ from the ring's colour than the ring's do.

    Mean CIELAB difference (CIE 1976) to the median colour of a 6 px ring around the mask, less the
    ring's own: the texture's. About 0 or below = the defect is lost in the texture.
    """
    near = grow_mask(mask, 2)
    ring = grow_mask(near, RING_PX) & ~near
    if not mask.any() or not ring.any():
        return float("nan")
    lab = to_lab(image)
    middle = np.median(lab[ring], axis=0)
    inside = np.linalg.norm(lab[mask] - middle, axis=1).mean()
    return float(inside - np.linalg.norm(lab[ring] - middle, axis=1).mean())


def seam_step(
    source: NDArray[np.uint8], finished: NDArray[np.uint8], repaint_mask: NDArray[np.bool_]
) -> float:
    """Return the mean CIELAB step across the repaint border, less the same step in the source."""
    if not repaint_mask.any() or repaint_mask.all():
        return float("nan")
    return border_step(finished, repaint_mask) - border_step(source, repaint_mask)


def border_step(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    """Return the mean CIELAB difference of neighbours on the two sides of the mask's border."""
    lab = to_lab(image)
    down = mask[1:] != mask[:-1]
    across = mask[:, 1:] != mask[:, :-1]
    steps = np.concatenate(
        [
            np.linalg.norm(lab[1:] - lab[:-1], axis=2)[down],
            np.linalg.norm(lab[:, 1:] - lab[:, :-1], axis=2)[across],
        ]
    )
    return float(steps.mean())


def measure_mask(
    candidate: Candidate, realised: NDArray[np.bool_], asked: NDArray[np.bool_]
) -> tuple[Measurement, ...]:
    """Return what says how well one mask, of an image or of one defect, agrees with the image."""
    changed = delta_e(candidate.condition.image, candidate.image)
    change = float(changed[realised].mean()) if realised.any() else 0.0
    return (
        Measurement("area_px", float(realised.sum())),
        Measurement("fill_fraction", fill_fraction(realised, asked)),
        Measurement("leak_fraction", leak_fraction(realised, asked)),
        Measurement("change_delta_e", change),
        Measurement("contrast_delta_e", ring_contrast(candidate.image, realised)),
    )


def measure(candidate: Candidate) -> tuple[Measurement, ...]:
    """Return every measurement of a finished image; none for a good one."""
    condition = candidate.condition
    if condition.spec.is_defect_free:
        return ()
    outside = np.any(candidate.image != condition.image, axis=2) & ~condition.repaint_mask
    return (
        *measure_mask(candidate, candidate.realised_mask, condition.defect_mask),
        Measurement(
            "seam_delta_e", seam_step(condition.image, candidate.image, condition.repaint_mask)
        ),
        Measurement("changed_outside_px", float(outside.sum())),
        Measurement("sharpness_ratio", _sharpness_ratio(candidate)),
    )


def _sharpness_ratio(candidate: Candidate) -> float:
    """Return the Laplacian's deviation in the repaint band over that of the source there."""
    condition = candidate.condition
    band = condition.repaint_mask & ~candidate.realised_mask
    if band.sum() < 16:
        return float("nan")
    sides = [
        cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F)[band].std()
        for image in (candidate.image, condition.image)
    ]
    return float(sides[0] / max(float(sides[1]), 1e-3))
