"""How a finished image differs from its source. Each is a pure function; none of them decides.

Images (H, W, 3) uint8 RGB, CIELAB (H, W, 3) float32, masks (H, W) bool, of one size.
"""

from __future__ import annotations

import cv2
import numpy as np

from synthgen.conditioning.control.edges import canny_edges
from synthgen.imaging.geometry import grow_mask, overlap
from synthgen.samples.arrays import Image, Lab, Mask
from synthgen.samples.sample import Candidate

__all__ = [
    "black_fraction",
    "border_step",
    "change_strength",
    "changed_outside",
    "clipped_fraction",
    "edge_agreement",
    "fill_fraction",
    "leak_fraction",
    "mask_iou",
    "off_object_fraction",
    "seam_step",
    "sharpness_ratio",
    "size_ratio",
]


LEAK_TOLERANCE_PX = 2  # a soft edge this wide does not count: else a 1 px line would be all leak
LEAK_KERNELS = 2.0  # nor does one that the photo's own blur makes
BLACK_LEVEL = 1  # and below: what a safety checker paints, after saving and scaling


def fill_fraction(realised: Mask, asked: Mask) -> float:
    """Return the share of the asked mask that really changed, 0..1; NaN where none was asked."""
    return float(realised[asked].mean()) if asked.any() else float("nan")


def leak_fraction(realised: Mask, asked: Mask, kernel_px: float = 0.0) -> float:
    """Return the share of the change that lies more than 2 px outside the asked mask, 0..1.

    On a photo that is softer than that, outside twice its kernel.
    """
    if not realised.any():
        return float("nan")
    near = grow_mask(asked, max(LEAK_TOLERANCE_PX, round(LEAK_KERNELS * kernel_px)))
    return float((realised & ~near).sum() / realised.sum())


def mask_iou(realised: Mask, asked: Mask) -> float:
    """Return the label's and the asked mask's intersection over union; NaN where none was asked."""
    return overlap(realised, asked) if asked.any() else float("nan")


def size_ratio(realised: Mask, asked: Mask) -> float:
    """Return the label's area over the asked one's; NaN where none was asked."""
    return float(realised.sum() / asked.sum()) if asked.any() else float("nan")


def off_object_fraction(realised: Mask, allowed: Mask | None) -> float:
    """Return the share of the label that lies over 2 px off where a defect may, 0..1.

    NaN without a rule or a label.
    """
    if allowed is None or not realised.any():
        return float("nan")
    return float((~grow_mask(allowed, LEAK_TOLERANCE_PX)[realised]).mean())


def seam_step(source_lab: Lab, finished_lab: Lab, repaint_mask: Mask) -> float:
    """Return the mean CIELAB step across the repaint border, less the same step in the source."""
    if not repaint_mask.any() or repaint_mask.all():
        return float("nan")
    return border_step(finished_lab, repaint_mask) - border_step(source_lab, repaint_mask)


def border_step(lab: Lab, mask: Mask) -> float:
    """Return the mean CIELAB difference of neighbours on the two sides of the mask's border."""
    down = mask[1:] != mask[:-1]
    across = mask[:, 1:] != mask[:, :-1]
    pairs = (lab[1:][down], lab[:-1][down]), (lab[:, 1:][across], lab[:, :-1][across])
    steps = [np.linalg.norm(one - other, axis=1) for one, other in pairs]
    return float(np.concatenate(steps).mean())


def clipped_fraction(source: Image, finished: Image, realised: Mask) -> float:
    """Return the share of the label that became pure black or white and was not, 0..1.

    NaN where there is no label.
    """
    if not realised.any():
        return float("nan")
    now, before = finished[realised], source[realised]
    ends = [np.all(pixels == level, axis=1) for pixels in (now, before) for level in (0, 255)]
    return float(((ends[0] | ends[1]) & ~(ends[2] | ends[3])).mean())


def black_fraction(source: Image, finished: Image, repaint_mask: Mask) -> float:
    """Return the share of the repaint mask that became black (level 1 or less) and was not, 0..1.

    That of its worst connected part, as each is painted by itself. NaN where there is none.
    """
    if not repaint_mask.any():
        return float("nan")
    is_black = (finished <= BLACK_LEVEL).all(axis=2) & ~(source <= BLACK_LEVEL).all(axis=2)
    _, parts = cv2.connectedComponents(repaint_mask.astype(np.uint8), connectivity=8)
    black, sizes = np.bincount(parts.ravel(), is_black.ravel()), np.bincount(parts.ravel())
    return float((black[1:] / sizes[1:]).max())


def sharpness_ratio(source: Image, finished: Image, repaint_mask: Mask, realised: Mask) -> float:
    """Return the Laplacian's deviation in the repaint band over that of the source there.

    Below 1 = smoothed. The band keeps 2 px away from the label, whose edge is sharp by itself. NaN
    under 16 px of band.
    """
    band = repaint_mask & ~grow_mask(realised, 2)
    if band.sum() < 16:
        return float("nan")
    sides = [
        cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F)[band].std()
        for image in (finished, source)
    ]
    return float(sides[0] / max(float(sides[1]), 1e-3))


def changed_outside(candidate: Candidate) -> Mask:
    """Return the pixels that differ from the clean image though they are outside the repaint mask.

    A blur or a JPEG after painting spreads a change: up to ``spread_px`` from the mask it does not
    count.
    """
    condition = candidate.condition
    free = ~condition.repaint_mask
    outside = np.any(candidate.image != condition.image, axis=2) & free
    if condition.spread_px and outside.any():
        away_px = cv2.distanceTransform(free.astype(np.uint8), cv2.DIST_L2, 5)
        outside &= away_px > condition.spread_px
    return np.asarray(outside, bool)


def change_strength(source_lab: Lab, finished_lab: Lab, realised: Mask) -> float:
    """Return the mean CIELAB change of the label's pixels; 0 where there is no label."""
    if not realised.any():
        return 0.0
    change = finished_lab[realised] - source_lab[realised]
    return float(np.linalg.norm(change, axis=1).mean())


def edge_agreement(
    control_image: Image,
    source: Image,
    painted: Image,
    repaint_mask: Mask,
    tolerance_px: int = 2,
) -> float:
    """Return F1 of the control image's edges and Canny's in the painted image, 0..1.

    Both inside the repaint mask; an edge is met where the other has one within ``tolerance_px``
    (as in the boundary measure of Martin et al. 2004, https://doi.org/10.1109/TPAMI.2004.1273918).
    Edges that the source has there anyway are not held against the painting. NaN where the control
    image has no edge.
    """
    asked = (control_image.max(axis=2) > 127) & repaint_mask
    if not asked.any():
        return float("nan")
    found = (canny_edges(painted) > 0) & repaint_mask
    recall = float(grow_mask(found, tolerance_px)[asked].mean())
    near = grow_mask(asked, tolerance_px)
    found &= near | ~grow_mask(canny_edges(source) > 0, tolerance_px)
    precision = float(near[found].mean()) if found.any() else 0.0
    return 2 * recall * precision / max(recall + precision, 1e-9)
