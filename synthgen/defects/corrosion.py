"""Corrosion: rust that has eaten into the surface and crumbles."""

from __future__ import annotations

import numpy as np
from pydantic.dataclasses import dataclass

from synthgen.defects.drawing.checks import STRICT, Contrast, Fraction, Positive, Ratio
from synthgen.defects.drawing.drawing import (
    SCALE,
    Drawing,
    Rng,
    Scene,
    draw_size,
    draw_strength,
    mix_hues,
)
from synthgen.defects.drawing.shapes import cover_within, radial_field
from synthgen.samples.arrays import Map
from synthgen.sources.surfaces.noise import fractal_noise

__all__ = ["Corrosion"]

RUST = ((92, 60, 42), (140, 82, 46), (180, 112, 62))  # RGB: old, common and fresh rust


@dataclass(frozen=True, config=STRICT)
class Corrosion:
    """Rust: ragged brown to orange patches, crumbly, with specks around them.

    ``raggedness`` 0..1 is the most that fractal noise tears the outline.
    """

    radius_fraction: Fraction = (0.015, 0.11)
    radius_px: Positive | None = None
    raggedness: Ratio = 0.6
    contrast: Contrast = (0.2, 0.7)

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw a patch of rust, thicker inward: it darkens, tints, and takes the texture away.

        Crumbs stand up on it; the palest of them are fresh.
        """
        radius = draw_size(rng, self.radius_px, self.radius_fraction, scene)
        cover, inward = self._extent(rng, radius, scene)
        # Crumbs are of all sizes, from a third of the patch down to the photo's finest detail.
        finest = max(4.0, 2.5 * scene.kernel_px * SCALE)
        coarse = fractal_noise(rng, cover.shape, max(finest, radius * 0.6), 1, 5, 0.65)
        crumbs = fractal_noise(rng, cover.shape, finest * rng.uniform(1.5, 4), 1, 4, 0.7)
        thick = np.clip(0.6 + 0.3 * inward + 0.16 * coarse, 0.25, 1.1)
        pale = np.clip(crumbs - rng.uniform(0.5, 1.1), 0, 1.5) * rng.uniform(0.15, 0.5)
        tone = cover * (pale - thick * (1 - 0.18 * crumbs))
        rough = np.float32(finest / SCALE * rng.uniform(0.15, 0.5))
        mix = np.clip(rng.uniform(0.4, 1.2) + 0.45 * (coarse + 0.5 * crumbs), 0, 2)
        return Drawing.of(
            rng,
            cover,
            draw_strength(self.contrast, severity),
            scene,
            tone=tone,
            height=(0.25 * crumbs + 0.3 * coarse) * cover * rough,
            gone=cover * np.clip(0.55 + 0.35 * thick, 0, 0.9),
            tint=mix_hues(mix, (0, 1, 2), RUST),
            tinted=cover * np.clip(thick + 0.3, 0, 1) * rng.uniform(0.4, 0.75),
            grit=fractal_noise(rng, cover.shape, 4, octaves=2) * cover * 0.15,
        )

    def _extent(self, rng: Rng, radius: float, scene: Scene) -> tuple[Map, Map]:
        """Return the cover of a patch and the specks around it, and how far inside it a point is,
        0..1."""
        ragged = rng.uniform(0.25, max(0.25, self.raggedness))
        field = radial_field(
            rng, radius, rng.uniform(1, 1.9), rng.uniform(0, 0.3), ragged * 0.7, 1.5
        )
        grain = max(4.0, 3 * scene.kernel_px * SCALE)
        fine = fractal_noise(rng, field.shape, max(grain, radius * 0.25), 1, 4, 0.75)
        # Nothing reaches the frame, whatever the noise. Here 1 is the frame's edge, 0 its middle.
        y, x = np.mgrid[-1 : 1 : field.shape[0] * 1j, -1 : 1 : field.shape[1] * 1j]
        away = np.asarray(np.maximum(np.abs(y), np.abs(x)), np.float32)
        field = field + 5 * np.clip(away - 0.7, 0, None)
        patch = field + 0.2 * ragged * fine
        # Specks: fewer and smaller the further away.
        seeds = fractal_noise(rng, field.shape, grain * rng.uniform(0.8, 1.6), 1, 2, 0.6)
        far = np.clip(field - 0.9, 0, None)
        specks = (seeds - rng.uniform(1.2, 1.9) - 2.6 * far) * grain * 0.4
        specks = np.where(field < 1.75, specks, -1)
        cover = np.maximum(cover_within(patch, radius, 2.5), np.clip(specks, 0, 1))
        return np.asarray(cover, np.float32), np.clip(1 - patch, 0, 1)
