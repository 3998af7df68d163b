"""Spatter: drops that have stuck to the surface."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic.dataclasses import dataclass

from synthgen.defects.drawing.checks import STRICT, Contrast, Count, Fraction, Positive, Ratio
from synthgen.defects.drawing.drawing import (
    SCALE,
    Drawing,
    Rng,
    Scene,
    draw_range,
    draw_size,
    draw_strength,
)
from synthgen.defects.drawing.shapes import cover_within, radial_field, scatter
from synthgen.samples.arrays import Map
from synthgen.sources.surfaces.noise import fractal_noise

__all__ = ["Spatter"]

MIN_KERNELS = 1.5  # of a radius: a drop is three kernels across, at least


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Spatter:
    """Drops stuck on (weld spatter, dross, paint): domes with a glint, a shadow at their foot.

    A number is drawn from ``count``, then how many drops there are, from 1 to that.
    """

    radius_fraction: Fraction = (0.008, 0.05)
    radius_px: Positive | None = None
    count: Count = (1, 4)
    spread: Positive = (3.0, 9.0)  # of a cluster, in radii
    splashed_fraction: Ratio = 0.25  # of the drops, that came at an angle
    contrast: Contrast = (0.25, 0.85)
    dark_fraction: Ratio = 0.6

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw domes that hide the surface and cast a shadow; a glint lies toward the light.

        Their hue is that of metal with a little oxide, brown or blue.
        """
        radius = draw_size(rng, self.radius_px, self.radius_fraction, scene, MIN_KERNELS)
        field = self._scatter_drops(rng, radius, scene)
        cover = cover_within(field, radius, 1.2)
        dome = np.sqrt(np.clip(1 - field**2, 0, 1)) ** rng.uniform(0.7, 1.4)
        # How far the middle of a point's own drop is from its edge, in points: its radius.
        inside = (cover > 0.5).astype(np.uint8)
        count, labels = cv2.connectedComponents(inside)
        deepest = np.zeros(count, np.float32)
        np.maximum.at(deepest, labels, cv2.distanceTransform(inside, cv2.DIST_L2, 3))
        size = np.asarray(deepest[labels], np.float32)
        bump = fractal_noise(rng, cover.shape, max(6.0, radius), octaves=2) * 0.02
        relief = (dome + bump * cover) * size * rng.uniform(0.4, 0.8)
        relief = cv2.GaussianBlur(relief, (0, 0), 0.1 * radius)  # it was molten: smooth
        dark = rng.random() < self.dark_fraction
        facing, glint = _reflect(relief, scene.optics.light_deg, rng.uniform(12, 40))
        # A drop mirrors what is around it: its steep foot the dark, its top the light.
        body, shine = (-0.55, rng.uniform(0.4, 1.3)) if dark else (0.6, rng.uniform(0.3, 0.9))
        foot = rng.uniform(0.3, 0.9) * (1 - facing)
        tone = cover * (body - foot + glint * shine)
        heat = rng.normal(0.02, 0.05)  # oxide turns metal brown or blue
        return Drawing.of(
            rng,
            cover,
            draw_strength(self.contrast, severity) * (1 if dark else 0.7),
            scene,
            tone=tone,
            height=relief * np.float32(rng.uniform(0.12, 0.35) / SCALE),
            gone=cover,
            lift=np.asarray(dome * size * (rng.uniform(0.25, 0.5) / SCALE), np.float32),
            tint=np.array([1 + heat, 1, 1 - heat], np.float32),
            tinted=cover * rng.uniform(0.5, 1),
            grit=fractal_noise(rng, cover.shape, 5, octaves=2) * cover * 0.1,
        )

    def _scatter_drops(self, rng: Rng, radius: float, scene: Scene) -> Map:
        """Return the radial field of all drops, all but the first smaller, in a close frame."""
        spots = []
        number = int(rng.integers(self.count[0], self.count[1] + 1) * rng.random() + 1)
        for drop in range(min(number, self.count[1])):
            own = radius * (rng.uniform(0.3, 0.85) if drop else 1)
            splashed = rng.random() < self.splashed_fraction
            aspect = rng.uniform(1.6, 3) if splashed else rng.uniform(1, 1.25)
            lobes = rng.uniform(0.1, 0.3) if splashed else rng.uniform(0, 0.1)
            own = max(MIN_KERNELS * scene.kernel_px * SCALE, own)
            spots.append(radial_field(rng, own, aspect, lobes, rng.uniform(0, 0.06)))
        field = scatter(rng, spots, draw_range(rng, self.spread) * radius)
        # What is empty around them is cut off, but for a margin.
        margin = 1.5 * radius
        rows, columns = (np.flatnonzero((field < 1.1).any(axis=axis)) for axis in (1, 0))
        low, high = (int(end) for end in (rows[0] - margin, rows[-1] + margin))
        left, right = (int(end) for end in (columns[0] - margin, columns[-1] + margin))
        return field[max(0, low) : high + 1, max(0, left) : right + 1]


def _reflect(relief: Map, light_deg: float, gloss: float) -> tuple[Map, Map]:
    """Return how far a relief in points faces the camera, 0..1, and its glint, 0..1.

    The glint is Blinn's: where the normal lies half-way between the camera and a light that comes
    in at 45 degrees.
    """
    smooth = cv2.GaussianBlur(relief, (0, 0), 1.0)
    x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    facing = 1 / np.sqrt(1 + x * x + y * y)
    azimuth, half = np.deg2rad(light_deg), np.pi / 8
    toward = -x * np.cos(azimuth) + y * np.sin(azimuth)
    aligned = (toward * np.sin(half) + np.cos(half)) * facing
    return np.asarray(facing, np.float32), np.asarray(np.clip(aligned, 0, 1) ** gloss, np.float32)
