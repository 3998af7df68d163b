"""Outlines that defects are made of: lines, irregular blobs, clusters of spots."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.samples.arrays import Map
from synthgen.sources.surfaces.noise import fractal_noise

__all__ = ["Points", "cover_within", "merge", "radial_field", "scatter", "stroke"]

Rng = np.random.Generator
Points = NDArray[np.float32]
SUPERSAMPLING = 2  # of a stroke, in each direction, on top of a map's points
MARGIN = 4  # points around a line
FAR = 9.0  # of a radial field where no spot is


def stroke(points: Points, widths: Points, weights: Points) -> tuple[Map, Points]:
    """Rasterise a line with a width and a weight at each place, anti-aliased.

    ``points`` (n, 2) are x, y. Return the (h, w) coverage 0..1 in a tight frame and the (x, y) of
    that frame's corner.
    """
    margin = MARGIN + float(widths.max())
    corner = np.floor(points.min(axis=0) - margin).astype(np.float32)
    size = np.ceil(points.max(axis=0) + margin - corner).astype(int)
    canvas = np.zeros((size[1] * SUPERSAMPLING, size[0] * SUPERSAMPLING), np.float32)
    pixels = np.rint((points - corner) * SUPERSAMPLING).astype(int)
    for first, last, width, weight in zip(
        pixels[:-1], pixels[1:], widths[:-1], weights[:-1], strict=True
    ):
        thickness = max(1, round(float(width) * SUPERSAMPLING))
        cv2.line(canvas, first.tolist(), last.tolist(), float(weight), thickness)
    frame = (int(size[0]), int(size[1]))
    return cv2.resize(canvas, frame, interpolation=cv2.INTER_AREA).astype(np.float32), corner


def merge(parts: list[tuple[Map, Points]]) -> Map:
    """Return strokes laid over one another, the strongest winning, in one tight frame (h, w).

    ``parts`` are what ``stroke`` gives, at least one.
    """
    low = np.min([corner for _, corner in parts], axis=0)
    high = np.max([corner + layer.shape[::-1] for layer, corner in parts], axis=0)
    canvas = np.zeros((int(high[1] - low[1]), int(high[0] - low[0])), np.float32)
    for layer, corner in parts:
        x, y = (corner - low).astype(int)
        view = canvas[y : y + layer.shape[0], x : x + layer.shape[1]]
        np.maximum(view, layer, out=view)
    return canvas


def cover_within(field: Map, radius: float, edge: float = 1.5) -> Map:
    """Return 1 inside the outline of a radial field, 0 outside, over an edge of ``edge`` points.

    ``radius`` in points is that of the field, which tells how fast it grows.
    """
    return np.asarray(np.clip((1 - field) * radius / edge + 0.5, 0, 1), np.float32)


def radial_field(
    rng: Rng, radius: float, aspect: float, lobes: float, ragged: float, margin: float = 1.35
) -> Map:
    """Return a (s, s) field that is 0 at the centre, 1 on an irregular outline, and grows on.

    ``aspect`` >= 1 stretches it along a random direction; ``lobes`` (0..0.5) waves the outline;
    ``ragged`` (0..0.6) adds fractal noise to it.
    """
    half = int(np.ceil(radius * aspect**0.5 * (margin + lobes + ragged))) + 4
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    turn = rng.uniform(0, np.pi)
    along = (x * np.cos(turn) + y * np.sin(turn)) / aspect**0.5
    across = (-x * np.sin(turn) + y * np.cos(turn)) * aspect**0.5
    theta = np.arctan2(across, along)
    outline = np.ones_like(theta)
    for order in range(2, 6):
        phase = rng.uniform(0, 2 * np.pi)
        outline += lobes * rng.normal(0, 0.6) / order**0.5 * np.cos(order * theta + phase)
    field = np.hypot(along, across) / (radius * np.clip(outline, 0.35, 2))
    if ragged > 0:
        blobs = max(3.0, radius * 0.7)
        field = field + ragged * fractal_noise(rng, field.shape, blobs, octaves=4, persistence=0.6)
    return np.asarray(field, np.float32)


def scatter(rng: Rng, spots: list[Map], spread: float) -> Map:
    """Return radial fields strewn around a point, the nearest spot deciding each place: (s, s).

    The first spot lies at the point, the others up to ``spread`` points away along each axis. Where
    no spot reaches, the field is far outside of all.
    """
    reach = int(max(spot.shape[0] for spot in spots) / 2 + spread) + 2
    canvas = np.full((2 * reach + 1, 2 * reach + 1), FAR, np.float32)
    for number, spot in enumerate(spots):
        shift = rng.normal(0, spread / 2, 2) if number else np.zeros(2)
        row, column = (reach - spot.shape[0] // 2 + np.clip(shift, -spread, spread)).astype(int)
        row, column = max(row, 0), max(column, 0)
        view = canvas[row : row + spot.shape[0], column : column + spot.shape[1]]
        np.minimum(view, spot[: view.shape[0], : view.shape[1]], out=view)
    return canvas
