"""Measure how soft the edges of a painted change are, near the outline of its label."""

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
from synthgen.imaging.grain import IMMERKAER
from synthgen.samples.arrays import Map, Mask

__all__ = ["IMMERKAER", "depth_inside", "disc", "measure_blur", "measure_flank"]


SMOOTH_PX = 0.7  # against grain; more where grain asks for it
SHARPEST_SQUARE = 0.06  # square pixels: a little below that of a pixel itself
# Slopes of edges over those of grain. Below CLEAR it pays to smooth more: the steepest places are
# those where grain helps, and look narrow. Below FAINT the width is that of grain.
CLEAR, FAINT = 14.0, 7.0
FEWEST_EDGES = 10
MIN_CHANGE = 4.0  # grey levels across an edge: below it there is nothing to measure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outline:
    """The change, smoothed, on ``finer`` times the pixels, and its strongest edges there."""

    field: Map
    edges: Edges
    finer: int


def measure_blur(change: Map, label: Mask, kernel_px: float) -> float:
    """Return the deviation in pixels of the Gaussian that a change's edges look blurred by.

    ``change`` (H, W) in grey levels, ``label`` (H, W) where it is, ``kernel_px`` what is expected.
    From 0.25; a pixel's own width (0.29) is in it. A line that a Gaussian blurred measures as a
    step does, whatever its width. NaN where too few edges stand out of the grain.
    """
    noise = _noise(change, label)
    # Half the kernel hardly widens edges that belong, and takes most of repainted grain away.
    for smooth_px in (max(0.5 * kernel_px, SMOOTH_PX), max(min(kernel_px, 3.0), 2 * SMOOTH_PX)):
        outline = _find_outline(change, label, kernel_px, smooth_px)
        edges, floor = outline.edges, grain_floor(max(noise, 0.05), smooth_px) / outline.finer
        clear = float(np.median(edges.strength)) / floor if edges.x.size >= FEWEST_EDGES else 0.0
        if clear > CLEAR:
            break
    if clear < FAINT:
        return float("nan")
    # The mean over all edges: grain does not narrow it, as it does the single one.
    mean = slope_profiles(outline.field, edges, 0.0).mean(axis=0, keepdims=True)
    square = float(measure_variances(mean, outline.finer * smooth_px)[0]) / outline.finer**2
    return float(np.sqrt(max(square, SHARPEST_SQUARE)))


def measure_flank(change: Map, label: Mask) -> float:
    """Return the 10-90 % width in pixels of a change's flanks, as it is; NaN for unmeasurable.

    From foot to crest of the mean profile across the strongest edges, each aligned at its steepest
    place: 2.563 deviations for a step, 1.69 for a line much thinner than its blur.
    """
    outline = _find_outline(change, label, 2.0, SMOOTH_PX)
    edges = outline.edges
    floor = grain_floor(_noise(change, label), SMOOTH_PX) / outline.finer
    if edges.x.size < FEWEST_EDGES or np.median(edges.strength) < FAINT * floor:
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
    if not rise[-1] > 0:
        return float("nan")
    low, high = np.interp([0.1, 0.9], rise / rise[-1], along[start : end + 1])
    return float(high - low)


def _find_outline(change: Map, label: Mask, kernel_px: float, smooth_px: float) -> _Outline:
    """Return the strongest edges of the change near the label's outline."""
    finer = 2 if kernel_px < 2.5 else 1  # soft edges need no finer grid, and longer profiles
    size = change.shape[1] * finer, change.shape[0] * finer
    field: Map = np.asarray(cv2.GaussianBlur(change, (0, 0), smooth_px), np.float32)
    if finer > 1:  # after smoothing, which thin lines need to survive it
        field = np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_CUBIC), np.float32)
    reach = disc(round(2 * max(kernel_px, 1.0)) + 1)
    own = label.astype(np.uint8)
    deep = cv2.erode(own, reach, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    near = cv2.resize(cv2.dilate(own, reach) - deep, size, interpolation=cv2.INTER_NEAREST) > 0
    least = MIN_CHANGE / (np.sqrt(2 * np.pi) * np.hypot(kernel_px, smooth_px)) / finer
    edges = find_edges(field, np.asarray(near, np.bool_), float(least), 0.0)
    return _Outline(field=field, edges=edges, finer=finer)


def _noise(change: Map, label: Mask) -> float:
    """Return the deviation of the change's grain: what was repainted; 0 where it was kept.

    Edges are few pixels: the quieter third of the label's surroundings tells it.
    """
    around = cv2.dilate(label.astype(np.uint8), disc(3)) > 0
    response = np.abs(cv2.filter2D(change, cv2.CV_32F, IMMERKAER))[around]
    # The 30th percentile of |x| of a normal x of deviation 1 is 0.385; the mask answers with 6.
    return float(np.percentile(response, 30)) / 0.385 / 6 if response.size else 0.0


def depth_inside(mask: Mask, precision: int = cv2.DIST_MASK_5) -> Map:
    """Return how far each pixel of a mask (H, W) lies from its border, in pixels; 0 outside.

    The end of the picture is not a border: the mask goes on beyond. ``precision``: one of
    OpenCV's DIST_MASK.
    """
    padded = np.pad(mask, 1, mode="edge").astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, precision)
    return np.asarray(depth[1:-1, 1:-1], np.float32)


def disc(radius_px: int) -> NDArray[np.uint8]:
    """Return a filled circle (2 r + 1, 2 r + 1) of ones."""
    side = 2 * radius_px + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
