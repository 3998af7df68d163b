"""A stain: a film that has been spilled and has dried."""

from __future__ import annotations

import colorsys

import numpy as np
from pydantic.dataclasses import dataclass

from synthgen.defects.drawing.checks import STRICT, Contrast, Fraction, Positive, Ratio
from synthgen.defects.drawing.drawing import Drawing, Rng, Scene, draw_size, draw_strength
from synthgen.defects.drawing.shapes import cover_within, radial_field, scatter
from synthgen.imaging.images import LUMA
from synthgen.samples.arrays import Map
from synthgen.sources.surfaces.noise import fractal_noise

__all__ = ["Stain"]


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Stain:
    """A film: see-through, uneven, often with a rim where it dried; now and then a pale deposit.

    ``bright_fraction`` of the stains are such a deposit. ``raggedness`` 0..1 is the most that
    fractal noise tears the outline.
    """

    radius_fraction: Fraction = (0.027, 0.27)
    radius_px: Positive | None = None
    raggedness: Ratio = 0.35
    rim_fraction: Ratio = 0.5
    bright_fraction: Ratio = 0.15
    contrast: Contrast = (0.24, 0.95)

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw a film: it darkens or, now and then, brightens, and tints; it has no relief.

        Most of the texture stays. Its mask ends where its edge has faded to about a third.
        """
        radius = draw_size(rng, self.radius_px, self.radius_fraction, scene)
        # One puddle, or one with smaller ones run into it.
        spots = [
            radial_field(
                rng,
                radius * (rng.uniform(0.2, 0.6) if number else 1),
                rng.uniform(1, 2.2),
                rng.uniform(0, 0.35),
                rng.uniform(0.03, max(0.03, self.raggedness)) * 0.4,
            )
            for number in range(1 + int(rng.integers(0, 4)) * int(rng.random() < 0.5))
        ]
        field = spots[0]
        if len(spots) > 1:
            field = scatter(rng, spots, radius * rng.uniform(1, 1.8))
        edge = radius * float(np.exp(rng.uniform(np.log(0.03), np.log(0.5))))
        cover = cover_within(field, radius, max(edge, 1.5))
        # The film is thicker here than there, and has drawn its matter to the rim as it dried.
        film = 0.8 + 0.2 * fractal_noise(rng, field.shape, radius * 0.7, octaves=4)
        film = np.clip(film, 0.3, 1.4)
        if rng.random() < self.rim_fraction:
            film = film * rng.uniform(0.45, 0.9) + _rims(rng, field) * rng.uniform(0.3, 0.9)
        film = film * cover
        bright = rng.random() < self.bright_fraction
        # Its hue is that of oil and coffee mostly, or of any dye; RGB of luma 1.
        hue = rng.uniform(0.05, 0.15) if rng.random() < 0.8 else rng.random()
        saturation = rng.uniform(0, 0.15) if bright else 0.8 * rng.beta(1.5, 2.5)
        colour = np.array(colorsys.hsv_to_rgb(hue, saturation, 1), np.float32)
        colour = np.asarray(colour / (colour @ LUMA), np.float32)
        crust = fractal_noise(rng, field.shape, 6, octaves=2) * film
        strength = draw_strength(self.contrast, severity)
        return Drawing.of(
            rng,
            np.clip((cover - 0.3) * 8 + 0.5, 0, 1),
            strength * (0.6 if bright else 1),  # a film is thin: it is never white
            scene,
            tone=film if bright else -film,
            gone=np.clip(film, 0, 1) * (rng.uniform(0.3, 0.6) if bright else rng.uniform(0, 0.3)),
            tint=colour,
            tinted=np.clip(film, 0, 1) * min(0.05 + 0.4 * float(np.ptp(colour)), 0.5),
            grit=crust * (0.2 if bright else 0.04),
        )


def _rims(rng: Rng, field: Map) -> Map:
    """Return the line that a drying film leaves at its edge, broken here and there, and at times
    an older one within."""
    # Sharp outward, where the puddle ended, and thinning inward.
    line = np.exp(-np.clip(0.98 - field, 0, None) / rng.uniform(0.05, 0.16))
    if rng.random() < 0.35:
        within = rng.uniform(0.5, 0.8)
        line = line + rng.uniform(0.2, 0.6) * np.exp(-(((field - within) / 0.04) ** 2))
    broken = fractal_noise(rng, field.shape, max(6.0, field.shape[0] / 5), octaves=2)
    return np.asarray(line * np.clip(0.8 + 0.4 * broken, 0.1, 1.4), np.float32)
