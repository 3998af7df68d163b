"""A pit: a small hole, a pore or a blowhole."""

from __future__ import annotations

import numpy as np
from pydantic.dataclasses import dataclass

from synthgen.defects.drawing.checks import STRICT, Contrast, Count, Fraction, Positive
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
from synthgen.sources.surfaces.noise import fractal_noise

__all__ = ["Pit"]

MIN_KERNELS = 1.5  # of a radius: a pit is three kernels across, at least


@dataclass(frozen=True, config=STRICT)
class Pit:
    """Small holes (pores, blowholes): dark inside, the far wall lit, the rim a little raised.

    A number is drawn from ``count``, then how many there are, from 1 to that; all but the first are
    smaller.
    """

    radius_fraction: Fraction = (0.01, 0.06)
    radius_px: Positive | None = None
    count: Count = (1, 4)
    spread: Positive = (3.0, 8.0)  # of a cluster, in radii
    contrast: Contrast = (0.25, 0.8)

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw a cluster of holes as one mask: dark tone, a deep relief, most texture gone."""
        radius = draw_size(rng, self.radius_px, self.radius_fraction, scene, MIN_KERNELS)
        number = int(rng.integers(self.count[0], self.count[1] + 1) * rng.random() + 1)
        least = MIN_KERNELS * scene.kernel_px * SCALE
        spots = [
            radial_field(
                rng,
                max(least, radius * (rng.uniform(0.35, 0.9) if n else 1)),
                rng.uniform(1, 1.8),
                rng.uniform(0, 0.25),
                rng.uniform(0, 0.15),
            )
            for n in range(min(number, self.count[1]))
        ]
        field = scatter(rng, spots, draw_range(rng, self.spread) * radius)
        cover = cover_within(field, radius)
        # A bowl: deepest in the middle, steep walls; the rim stands a little above the surface.
        bowl = np.clip(1 - field**2, 0, 1) ** 0.6
        rim = np.exp(-(((field - 1.08) / 0.12) ** 2))
        depth = radius / SCALE * rng.uniform(0.25, 0.6)
        dark = cover * (0.55 + 0.45 * bowl)
        return Drawing.of(
            rng,
            cover,
            draw_strength(self.contrast, severity),
            scene,
            tone=-dark,
            height=depth * (0.12 * rim * rng.uniform(0, 1) - bowl),
            gone=cover * rng.uniform(0.7, 1),
            grit=fractal_noise(rng, cover.shape, 5, octaves=2) * cover * 0.14,
        )
