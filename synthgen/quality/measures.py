"""Measures of a finished image. Each is a pure function; none of them decides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.colour import ring_contrast, to_lab
from synthgen.geometry import grow_mask, mask_window, overlap
from synthgen.quality.belonging import edge_width_ratio, grain_ratio, range_fraction
from synthgen.sample import Candidate, Measurement, Part
from synthgen.sources.parts import off_part_fraction

__all__ = [
    "View",
    "black_fraction",
    "border_step",
    "changed_outside",
    "clipped_fraction",
    "fill_fraction",
    "leak_fraction",
    "mask_iou",
    "measure",
    "measure_mask",
    "off_object_fraction",
    "ring_contrast",
    "seam_step",
    "sharpness_ratio",
    "size_ratio",
    "view_change",
]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Lab = NDArray[np.float32]

LEAK_TOLERANCE_PX = 2  # a soft edge of this width is no leak: a 1 px line would be all leak
LEAK_KERNELS = 2.0  # nor is one that the photo's own blur makes
BLACK_LEVEL = 1  # and below: what a safety checker paints, after saving and scaling
WINDOW_PX = 16


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The part of a Candidate that its measures look at: the repaint mask and 16 px around.

    Images (h, w, 3) uint8 RGB and their CIELAB, masks (h, w) bool. ``allowed``: where a defect may
    lie, None = everywhere.
    """

    source: Image
    finished: Image
    source_lab: Lab
    finished_lab: Lab
    asked: Mask
    repaint: Mask
    realised: Mask
    allowed: Mask | None
    window: tuple[slice, slice]  # rows and columns of the image
    kernel_px: float = 0.0  # of the photo's blur

    def of(self, realised: Mask, asked: Mask) -> View:
        """Return the same view of one defect among several, its masks given (H, W)."""
        return replace(self, realised=realised[self.window], asked=asked[self.window])


def view_change(candidate: Candidate) -> View:
    """Return what the measures of a candidate look at."""
    condition = candidate.condition
    window = mask_window(condition.repaint_mask, WINDOW_PX)
    source, finished = condition.image[window], candidate.image[window]
    return View(
        source,
        finished,
        to_lab(source),
        to_lab(finished),
        condition.defect_mask[window],
        condition.repaint_mask[window],
        candidate.realised_mask[window],
        None if condition.allowed is None else condition.allowed[window],
        window,
        condition.optics.kernel_px,
    )


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


def measure_mask(view: View) -> tuple[Measurement, ...]:
    """Return what says how well one mask, of an image or of one defect, agrees with the image."""
    realised, asked = view.realised, view.asked
    off = None if view.allowed is None else ~view.allowed  # the table is no ring of surface
    change = view.finished_lab[realised] - view.source_lab[realised]
    strength = float(np.linalg.norm(change, axis=1).mean()) if realised.any() else 0.0
    return (
        Measurement("area_px", float(realised.sum())),
        Measurement("fill_fraction", fill_fraction(realised, asked)),
        Measurement("leak_fraction", leak_fraction(realised, asked, view.kernel_px)),
        Measurement("mask_iou", mask_iou(realised, asked)),
        Measurement("size_ratio", size_ratio(realised, asked)),
        Measurement("off_object_fraction", off_object_fraction(realised, view.allowed)),
        Measurement("change_delta_e", strength),
        Measurement("contrast_delta_e", ring_contrast(view.finished_lab, realised, off)),
        Measurement("clipped_fraction", clipped_fraction(view.source, view.finished, realised)),
    )


def changed_outside(candidate: Candidate) -> Mask:
    """Return the pixels that differ from the clean image though they are outside the repaint mask.

    A blur or a JPEG after painting carries a change on: up to ``spread_px`` it is no change there.
    """
    condition = candidate.condition
    free = ~condition.repaint_mask
    outside = np.any(candidate.image != condition.image, axis=2) & free
    if condition.spread_px and outside.any():
        away_px = cv2.distanceTransform(free.astype(np.uint8), cv2.DIST_L2, 5)
        outside &= away_px > condition.spread_px
    return np.asarray(outside, bool)


def measure(candidate: Candidate, view: View) -> tuple[Measurement, ...]:
    """Return every measurement of a finished image; none for a good one."""
    condition = candidate.condition
    if condition.spec.is_defect_free:
        return ()
    return (
        *measure_mask(view),
        Measurement("seam_delta_e", seam_step(view.source_lab, view.finished_lab, view.repaint)),
        Measurement("black_fraction", black_fraction(view.source, view.finished, view.repaint)),
        Measurement("changed_outside_px", float(changed_outside(candidate).sum())),
        Measurement(
            "sharpness_ratio",
            sharpness_ratio(view.source, view.finished, view.repaint, view.realised),
        ),
        *_measure_belonging(candidate, view),
    )


def _measure_belonging(candidate: Candidate, view: View) -> tuple[Measurement, ...]:
    """Return what says whether the defect lies on the part and looks as its photo does."""
    condition = candidate.condition
    pictures, optics = (view.source, view.finished, view.realised), condition.optics
    part = Part(finding="surface") if condition.part is None else condition.part
    return (
        Measurement("off_part_fraction", off_part_fraction(candidate.realised_mask, part)),
        Measurement("edge_width_ratio", edge_width_ratio(*pictures, optics.kernel_px)),
        Measurement("grain_ratio", grain_ratio(*pictures, view.allowed)),
        Measurement("range_fraction", range_fraction(*pictures, optics)),
    )
