"""A chip: a flake has broken out, mostly at the part's edge."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic.dataclasses import dataclass

from synthgen.defects.drawing.checks import STRICT, Contrast, Count, Fraction, Positive, Ratio
from synthgen.defects.drawing.drawing import SCALE, Drawing, Rng, Scene, draw_size, draw_strength
from synthgen.samples.arrays import Map
from synthgen.sources.surfaces.noise import fractal_noise

__all__ = ["Chip"]

MIN_KERNELS = 1.5  # of a radius
EDGE_SWAY_DEG = 6.0  # by which the long side of a chip deviates from its edge


@dataclass(frozen=True, config=STRICT)
class Chip:
    """A flake broken out: an angular outline, tilted fresh facets, a sharp lip.

    At an edge it is a shell that is longer along the edge than it is deep, by ``elongation``.
    ``corners`` is how many its outline has.
    """

    radius_fraction: Fraction = (0.035, 0.2)
    radius_px: Positive | None = None
    elongation: Positive = (1.0, 4.0)
    corners: Count = (5, 9)
    contrast: Contrast = (0.2, 0.75)
    bright_fraction: Ratio = 0.3

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw a hollow of rough facets with a dark scarp; nothing of the surface is left in it.

        It lies along ``scene.edge_deg``, where that is given.
        """
        radius = draw_size(rng, self.radius_px, self.radius_fraction, scene, MIN_KERNELS)
        cover = self._outline(rng, radius, scene.edge_deg)
        sign = 1 if rng.random() < self.bright_fraction else -1
        # Fresh fracture: each facet has its own shade and tilt, is rough, and falls off inward.
        # A point belongs to the nearest of a few random centres.
        number, middle = int(rng.integers(2, 6)), cover.shape[0] / 2
        centres = rng.normal(middle, radius * 0.6, (number, 2))
        y, x = np.mgrid[: cover.shape[0], : cover.shape[1]].astype(np.float32)
        facet = np.stack([np.hypot(y - cy, x - cx) for cy, cx in centres]).argmin(axis=0)
        shade = rng.uniform(-1, 1, number).astype(np.float32)[facet]
        tilt = rng.normal(0, 1, (number, 2)).astype(np.float32)[facet]
        plane = ((y - middle) * tilt[..., 0] + (x - middle) * tilt[..., 1]) / radius
        relief = np.asarray(plane, np.float32)
        rough = fractal_noise(rng, cover.shape, max(4.0, radius / 4), octaves=3)
        inward = cv2.distanceTransform((cover > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        depth = np.clip(inward / (0.5 * radius), 0, 1) + 0.35 * relief
        scarp = np.exp(-inward / (0.07 * radius + 1.5))  # little light gets into the broken edge
        return Drawing.of(
            rng,
            cover,
            draw_strength(self.contrast, severity),
            scene,
            tone=cover * (0.6 * sign + 0.55 * shade - 0.7 * scarp),
            height=-(depth * 0.35 * radius / SCALE - 0.03 * rough * radius / SCALE) * cover,
            gone=cover,
            grit=fractal_noise(rng, cover.shape, 4, octaves=3) * cover * 0.2,
        )

    def _outline(self, rng: Rng, radius: float, edge_deg: float | None) -> Map:
        """Return the cover of a conchoidal outline: few corners, bowed and torn edges between."""
        number = int(rng.integers(self.corners[0], self.corners[1] + 1))
        theta = (np.arange(number) + rng.uniform(-0.35, 0.35, number)) / number * 2 * np.pi
        reach = radius * rng.uniform(0.7, 1.1, number)
        if edge_deg is None:
            longer, angle = 1 / rng.uniform(0.45, 1), rng.uniform(0, 2 * np.pi)
        else:
            longer = float(np.exp(rng.uniform(*np.log(self.elongation))))
            angle = np.deg2rad(edge_deg + rng.normal(0, EDGE_SWAY_DEG))  # turned with y upward
        stretch = np.array([np.sqrt(longer), 1 / np.sqrt(longer)])
        half = int(radius * 1.3 * stretch[0]) + 6
        corners = np.stack([np.cos(theta) * reach, np.sin(theta) * reach], 1)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = corners * stretch @ turn
        bowed = []
        for first, last in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            t = np.linspace(0, 1, 12, endpoint=False)[:, None]
            out = (first + last) / 2 * rng.uniform(-0.12, 0.3)
            bowed.append(first * (1 - t) + last * t + out * 4 * t * (1 - t))
        line = np.concatenate(bowed) + rng.normal(0, 0.02 * radius, (12 * number, 2))
        canvas = np.zeros((4 * half, 4 * half), np.float32)
        cv2.fillPoly(canvas, [np.rint((line + half) * 2).astype(np.int32)], 1.0)
        size = (2 * half, 2 * half)
        return np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.float32)
