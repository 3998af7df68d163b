"""Find the strongest edges of a field and measure how wide each is, to fractions of a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.samples.arrays import Map, Mask

__all__ = [
    "Edges",
    "find_edges",
    "grain_floor",
    "measure_variances",
    "measure_widths",
    "sample_across",
    "slope_profiles",
]

Floats = NDArray[np.float64]

HALF_WIDTH = 1.1774  # of a Gaussian at half its height, in deviations
REACH_PX, STEP_PX = 16.0, 0.5  # of profiles across edges
MAX_EDGES = 200
WEAKEST = 0.3  # of the strongest slopes: less is an edge of something else
BORDER_PX = 4  # a photo's border is not an edge
# What slopes by central differences, smoothed and sampled between pixels, add to the variance of
# an edge, in square pixels (the difference alone: 1/3; measured on exact edges at all angles).
OPERATORS = 0.50


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Places (N,) on the crests of a field's slope, the direction up the slope, and the slope."""

    x: Floats
    y: Floats
    up_x: Floats  # unit vectors in the image: y runs down
    up_y: Floats
    strength: Floats  # levels per pixel


def grain_floor(grain: float, smooth_px: float) -> float:
    """Return the deviation of the slopes that white grain leaves after a Gaussian of some pixels.

    That of a derivative of a Gaussian: grain / (sqrt(8 pi) s^2); + the operator's own width.
    """
    return grain / (math.sqrt(8 * math.pi) * (smooth_px**2 + 0.3))


def find_edges(grey: Map, where: Mask, min_slope: float, smooth_px: float) -> Edges:
    """Return at most 200 crests of the slope of a field (H, W), strongest first.

    They lie on ``where`` (H, W), 4 px or more from the border, and are steeper than ``min_slope``
    (levels per pixel) and than 0.3 of the steepest. ``smooth_px``: the Gaussian before the slope
    is taken, 0 = none.
    """
    slope_x, slope_y = _slopes(grey, smooth_px)
    slope = cv2.magnitude(slope_x, slope_y)
    top = float(np.partition(slope.ravel(), -min(20, slope.size))[-min(20, slope.size) :].mean())
    crest = (slope > max(min_slope, WEAKEST * top)) & where
    crest &= slope >= 0.8 * cv2.dilate(slope, np.ones((3, 3), np.uint8))
    crest[:BORDER_PX] = crest[-BORDER_PX:] = False
    crest[:, :BORDER_PX] = crest[:, -BORDER_PX:] = False
    rows, columns = np.nonzero(crest)
    order = np.argsort(-slope[rows, columns], kind="stable")[: 8 * MAX_EDGES]
    rows, columns = rows[order], columns[order]
    strength = slope[rows, columns].astype(np.float64) + 1e-9
    edges = Edges(
        x=columns.astype(np.float64),
        y=rows.astype(np.float64),
        up_x=slope_x[rows, columns] / strength,
        up_y=slope_y[rows, columns] / strength,
        strength=strength,
    )
    if not rows.size:
        return edges
    beside = sample_across(slope, edges, np.array([-1.0, 1.0]))
    on_top = np.flatnonzero((strength[:, None] >= beside).all(axis=1))[:MAX_EDGES]
    return Edges(**{name: getattr(edges, name)[on_top] for name in Edges.__slots__})


def sample_across(field: Map, edges: Edges, along: Floats) -> Floats:
    """Return the field at these distances up the slope of each edge: (N, T), bilinear."""
    map_x = (edges.x[:, None] + along * edges.up_x[:, None]).astype(np.float32)
    map_y = (edges.y[:, None] + along * edges.up_y[:, None]).astype(np.float32)
    sampled = cv2.remap(field, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(sampled, np.float64)


def slope_profiles(grey: Map, edges: Edges, smooth_px: float) -> Floats:
    """Return the slope along a line of 33 px across each edge: (N, 65), middle = its crest.

    Samples are half a pixel apart; the slope is in levels per pixel, positive up the edge.
    """
    if not edges.x.size:
        return np.zeros((0, round(2 * REACH_PX / STEP_PX) + 1))
    slope_x, slope_y = _slopes(grey, smooth_px)
    along = np.arange(-REACH_PX, REACH_PX + STEP_PX, STEP_PX)
    profiles = sample_across(slope_x, edges, along) * edges.up_x[:, None]
    return profiles + sample_across(slope_y, edges, along) * edges.up_y[:, None]


def measure_widths(grey: Map, edges: Edges, smooth_px: float) -> Floats:
    """Return the variance (N,) in square pixels of the Gaussian that blurred each edge.

    ``grey`` (H, W) and ``smooth_px`` are those that ``find_edges`` had. NaN and values below 0 are
    as in ``measure_variances``.
    """
    return measure_variances(slope_profiles(grey, edges, smooth_px), smooth_px)


def measure_variances(profiles: Floats, smooth_px: float) -> Floats:
    """Return the variance in square pixels of the Gaussian that blurred each edge; NaN for none.

    The slope across a step that a Gaussian blurred is that Gaussian (Elder & Zucker 1998, Local
    scale control for edge detection, PAMI 20, 699-716): its width at half height, less what was
    added here. The sharpest may come out below 0: not clipped, so that a median stays fair.

    ``profiles`` (N, T) as of ``slope_profiles``. The slope across a line has two lobes of opposite
    sign; where they meet they narrow each other (a line much thinner than its blur: by a fifth on
    its outer side, by two fifths on its inner one). So the outer side of a line is measured, and
    corrected by how much narrower the inner one is.
    """
    count, length = profiles.shape
    if not count:
        return np.zeros(0)
    rows, middle = np.arange(count), length // 2
    peak = middle - 2 + profiles[:, middle - 2 : middle + 3].argmax(axis=1)
    # The crest, by a parabola through three samples: where between them it is, -0.5 .. 0.5, and
    # how high.
    left, top, right = (profiles[rows, peak + step] for step in (-1, 0, 1))
    bend = np.minimum(left - 2 * top + right, -1e-9)
    shift = np.clip(0.5 * (left - right) / bend, -0.5, 0.5)
    top = top - 0.25 * (left - right) * shift
    heights = profiles / np.maximum(top, 1e-9)[:, None]
    steps = np.arange(length) - peak[:, None]
    half = np.stack([_first_below_half(heights, peak, side) - side * shift for side in (-1, 1)])
    lobes = [-np.where(steps * side > 0, heights, np.inf).min(axis=1) for side in (-1, 1)]
    depth = np.clip(np.stack(lobes), 0.0, 1.0)
    inner = depth.argmax(axis=0)  # the side of the other lobe
    outer_half, inner_half = half[1 - inner, rows], half[inner, rows]
    narrowed = np.interp(inner_half / np.maximum(outer_half, 1e-6), LINE_RATIO, LINE_HALF_WIDTH)
    lobe = depth[inner, rows]
    line = outer_half / (HALF_WIDTH + (narrowed - HALF_WIDTH) * lobe)
    step = half.mean(axis=0) / HALF_WIDTH
    widths = np.asarray(np.where(lobe > 0.3, line, step) * STEP_PX, np.float64)
    return widths**2 - smooth_px**2 - OPERATORS


def _slopes(grey: Map, smooth_px: float) -> tuple[Map, Map]:
    smooth = cv2.GaussianBlur(grey, (0, 0), smooth_px) if smooth_px > 0 else grey
    slope_x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    slope_y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    return slope_x, slope_y


def _first_below_half(heights: Floats, peak: NDArray[np.int_], side: int) -> Floats:
    """Return how many steps from its peak each profile falls below half; NaN for never."""
    count, length = heights.shape
    rows = np.arange(count)
    steps = np.arange(length // 2 - 3)
    walk = heights[rows[:, None], peak[:, None] + side * steps]
    below = walk < 0.5
    first = below.argmax(axis=1)
    before, after = walk[rows, first - 1], walk[rows, first]
    fraction = (before - 0.5) / np.maximum(before - after, 1e-9)
    width = np.where(below.any(axis=1) & (first > 0), first - 1 + fraction, np.nan)
    return np.asarray(width, np.float64)


def _tabulate_lines() -> tuple[Floats, Floats]:
    """Return inner / outer half width, rising, and the outer one in kernels, for lines.

    The slope of a line is G(x) - G(x - width), here for widths of 0.8 to 7 kernels. Lines below
    that can hardly be told apart, and need not be: their half widths differ by 3 percent.
    """
    x = np.arange(-6, 12, 0.005)
    ratios, halves = [], []
    for width in np.arange(0.8, 7.0, 0.2):
        slope = np.exp(-x * x / 2) - np.exp(-((x - width) ** 2) / 2)
        slope /= slope.max()
        crest = int(slope.argmax())
        outer = float(np.interp(0.5, slope[: crest + 1], x[crest] - x[: crest + 1]))
        trough = int(slope.argmin())
        inner = float(np.interp(-0.5, -slope[crest:trough], x[crest:trough] - x[crest]))
        ratios.append(inner / outer)
        halves.append(outer)
    return np.maximum.accumulate(ratios), np.array(halves)


LINE_RATIO, LINE_HALF_WIDTH = _tabulate_lines()
