"""Measure whether a painted defect belongs to its photo: its sharpness, grain and levels.

All take a small window around the defect: images (H, W, 3) uint8 RGB, masks (H, W) bool.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.edges import (
    Edges,
    find_edges,
    grain_floor,
    measure_variances,
    sample_across,
    slope_profiles,
)
from synthgen.imaging.optics import Optics

__all__ = ["edge_width_px", "edge_width_ratio", "grain_ratio", "range_fraction"]

Image = NDArray[np.uint8]
Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

TEN_TO_NINETY = 2.563  # of a step that a Gaussian blurred, in its deviations
SMOOTH_PX = 0.7  # against grain; more where grain asks for it
SHARPEST_SQUARE = 0.06  # square pixels: a little below that of a pixel itself
CLEAR = 8  # times the slopes of grain, or an edge's width is that of grain
FEWEST_EDGES = 10
LEAST_CHANGE = 4.0  # grey levels across an edge: below it there is nothing to measure
FEWEST_PX = 24
RING_PX = 8
IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def edge_width_ratio(source: Image, finished: Image, realised: Mask, kernel_px: float) -> float:
    """Return how soft the change's edges are, over how soft the photo is; NaN for unmeasurable.

    1 = as sharp as the photo allows, below = a sticker, above = softer than its photo. 10-90 %
    widths (2.563 deviations of the Gaussian) as a step would have: a thin line that exactly the
    kernel blurred has narrower flanks, and a ratio of 1 as well. The kernel includes a pixel's own
    width, as ``estimate_optics`` tells it.
    """
    change = _change(source, finished)
    noise = _noise(change, realised)
    # Half the kernel hardly widens edges that belong, and takes most of repainted grain away.
    for smooth_px in np.clip([0.5 * kernel_px, kernel_px], SMOOTH_PX, 3.0):
        outline = _find_outline(change, realised, kernel_px, float(smooth_px))
        edges, floor = outline.edges, noise * grain_floor(1.0, float(smooth_px)) / outline.finer
        if edges.x.size >= FEWEST_EDGES and np.median(edges.strength) > CLEAR * floor:
            break
    else:
        return float("nan")
    # The mean over all edges: grain does not narrow it, as it does the single one.
    mean = slope_profiles(outline.field, edges, 0.0).mean(axis=0, keepdims=True)
    square = float(measure_variances(mean, outline.finer * float(smooth_px))[0]) / outline.finer**2
    return float(np.sqrt(max(square, SHARPEST_SQUARE))) / kernel_px


def edge_width_px(source: Image, finished: Image, realised: Mask) -> float:
    """Return the 10-90 % width in pixels of the change's flanks, as it is; NaN for unmeasurable.

    From foot to crest of the mean profile across the strongest edges, each aligned at its steepest
    place: 2.563 deviations for a step, 1.69 for a line much thinner than its blur.
    """
    change = _change(source, finished)
    outline = _find_outline(change, realised, 2.0, SMOOTH_PX)
    edges = outline.edges
    floor = _noise(change, realised) * grain_floor(1.0, SMOOTH_PX) / outline.finer
    if edges.x.size < FEWEST_EDGES or np.median(edges.strength) < CLEAR * floor:
        return float("nan")
    along = np.arange(-16.0, 16.25, 0.25)
    places = Edges(
        x=(edges.x + 0.5) / outline.finer - 0.5,
        y=(edges.y + 0.5) / outline.finer - 0.5,
        up_x=edges.up_x,
        up_y=edges.up_y,
        strength=edges.strength,
    )
    slopes = np.diff(sample_across(change, places, along).mean(axis=0))
    middle = len(slopes) // 2
    crest = middle - 4 + int(slopes[middle - 4 : middle + 4].argmax())
    flat = slopes < 0.02 * slopes[crest]
    start = int(np.flatnonzero(flat[:crest]).max(initial=-1)) + 1
    after = np.flatnonzero(flat[crest:])
    end = crest + int(after[0]) if after.size else len(slopes)
    rise = np.concatenate([[0.0], np.cumsum(slopes[start:end])])
    low, high = np.interp([0.1, 0.9], rise / rise[-1], along[start : end + 1])
    return float(high - low)


def grain_ratio(source: Image, finished: Image, realised: Mask) -> float:
    """Return the grain inside the label over that of the surface around it; NaN for too few pixels.

    Fine structure: the robust deviation of Immerkaer's high pass (1996), which planes and soft
    edges leave at zero. Edges of the label are left out, as the change itself is fine there.
    """
    inside = _erode(realised, 2)
    if inside.sum() < FEWEST_PX:
        inside = _erode(realised, 1)
    ring = cv2.dilate(realised.astype(np.uint8), _disc(RING_PX + 3)).astype(np.bool_)
    changed = (source != finished).any(axis=2)
    ring &= ~cv2.dilate(realised.astype(np.uint8), _disc(3)).astype(np.bool_)
    untouched = ring & ~changed
    ring = untouched if untouched.sum() >= FEWEST_PX else ring
    if inside.sum() < FEWEST_PX or ring.sum() < FEWEST_PX:
        return float("nan")
    fine = cv2.filter2D(_grey(finished), cv2.CV_32F, IMMERKAER)
    around = _robust_deviation(fine[ring])
    # Rounding alone gives 0.29 of a level: a photo without grain is compared at that.
    return _robust_deviation(fine[inside]) / max(around, float(np.sqrt(1 / 12)))


def range_fraction(source: Image, finished: Image, realised: Mask, optics: Optics) -> float:
    """Return the mean change over the room to the photo's black or white level; NaN for no label.

    1 = as dark or bright as anything in the photo, above = darker or brighter than that.
    """
    if not realised.any():
        return float("nan")
    change = _change(source, finished)[realised]
    level = float(_grey(source)[realised].mean())
    darker = float(change.mean()) < 0
    room = level - optics.black_level if darker else optics.white_level - level
    return float(np.abs(change).mean()) / max(room, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outline:
    """The change, smoothed, on ``finer`` times the pixels, and its strongest edges there."""

    field: Field
    edges: Edges
    finer: int


def _find_outline(change: Field, realised: Mask, kernel_px: float, smooth_px: float) -> _Outline:
    """Return the strongest edges of the change near the label's outline."""
    finer = 2 if kernel_px < 2.5 else 1  # soft edges need no finer grid, and longer profiles
    size = change.shape[1] * finer, change.shape[0] * finer
    field = cv2.GaussianBlur(change, (0, 0), smooth_px)
    field = field if finer == 1 else cv2.resize(field, size, interpolation=cv2.INTER_CUBIC)
    reach = round(2 * max(kernel_px, 1.0)) + 1
    label = realised.astype(np.uint8)
    deep = cv2.erode(label, _disc(reach), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    near = cv2.dilate(label, _disc(reach)) - deep
    near = cv2.resize(near, size, interpolation=cv2.INTER_NEAREST).astype(np.bool_)
    least = LEAST_CHANGE / (np.sqrt(2 * np.pi) * np.hypot(kernel_px, smooth_px)) / finer
    return _Outline(field=field, edges=find_edges(field, near, float(least), 0.0), finer=finer)


def _noise(change: Field, realised: Mask) -> float:
    """Return the deviation of the change's grain: what was repainted; 0 where it was kept.

    Edges are few pixels: the quieter third of the label's surroundings tells it.
    """
    around = cv2.dilate(realised.astype(np.uint8), _disc(3)).astype(np.bool_)
    response = np.abs(cv2.filter2D(change, cv2.CV_32F, IMMERKAER))[around]
    # The 30th percentile of |x| of a normal x of deviation 1 is 0.385; the mask answers with 6.
    return float(np.percentile(response, 30)) / 0.385 / 6 if response.size else 0.0


def _change(source: Image, finished: Image) -> Field:
    return _grey(finished) - _grey(source)


def _grey(image: Image) -> Field:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _robust_deviation(response: NDArray[np.float32]) -> float:
    """Return the deviation of white noise by the median of Immerkaer's mask: 6 times it."""
    return float(np.median(np.abs(response))) / 0.6745 / 6


def _erode(mask: Mask, radius_px: int) -> Mask:
    label = mask.astype(np.uint8)
    return cv2.erode(label, _disc(radius_px), borderValue=0).astype(np.bool_)


def _disc(radius_px: int) -> NDArray[np.uint8]:
    side = 2 * radius_px + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
