"""A burn: heat has tinted or scorched the surface."""

from __future__ import annotations

import numpy as np
from pydantic.dataclasses import dataclass

from synthgen.defects.drawing.checks import STRICT, Contrast, Fraction, Positive, Ratio
from synthgen.defects.drawing.drawing import (
    Drawing,
    Rng,
    Scene,
    draw_size,
    draw_strength,
    mix_hues,
)
from synthgen.defects.drawing.shapes import radial_field
from synthgen.sources.surfaces.noise import fractal_noise

__all__ = ["Burn"]

# How dark, and of what RGB, a surface is from where it stayed cold to where it was hottest.
TEMPER = ((0, 0.4, 0.75, 1, 0.8), ((230, 215, 180), (205, 170, 100), (160, 100, 60), (110, 65, 105),
                                   (70, 90, 140)))  # fmt: skip  # straw, brown, purple, blue
SCORCH = ((0, 0.3, 0.6, 0.85, 1), ((200, 180, 150), (165, 130, 90), (110, 80, 50), (65, 48, 36),
                                   (32, 28, 26)))  # fmt: skip
VISIBLE = 0.06  # of the photo's range: a weaker change is a halo


@dataclass(frozen=True, config=STRICT)
class Burn:
    """Heat tint or scorch: smooth, darkest in the middle, or rings of straw, brown and blue.

    ``tint_fraction`` of the burns are tints, which are rings of colour; the others are scorched.
    """

    radius_fraction: Fraction = (0.02, 0.16)
    radius_px: Positive | None = None
    tint_fraction: Ratio = 0.5
    contrast: Contrast = (0.15, 0.8)

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw a field of heat, and what it made of the surface: tone and colour, no relief.

        Texture goes where it was hottest.
        """
        radius = draw_size(rng, self.radius_px, self.radius_fraction, scene)
        strength = draw_strength(self.contrast, severity)
        ragged = rng.uniform(0, 0.1)
        field = radial_field(rng, radius, rng.uniform(1, 2.2), rng.uniform(0, 0.12), ragged, 1.6)
        # How hot it was, 0..1: it falls off smoothly, a little unevenly.
        rise = np.clip((1.1 - field) / rng.uniform(0.6, 1), 0, 1)
        even = rise * rise * (3 - 2 * rise)
        uneven = fractal_noise(rng, field.shape, max(8.0, radius * 0.8), octaves=3)
        heat = np.asarray(np.clip(even * (0.93 + 0.1 * uneven), 0, 1), np.float32)
        tempered = rng.random() < self.tint_fraction
        darkness, colours = TEMPER if tempered else SCORCH
        stages = np.linspace(0, 1, 5)
        profile = np.interp(heat, stages, darkness).astype(np.float32)
        # Its label ends where it is clearly seen; the weaker it is, the sooner.
        cut = float(np.clip(VISIBLE / strength, 0.12, 0.45))
        coloured = rng.uniform(0.25, 0.6) * min(1.0, 0.3 + 1.5 * strength)
        return Drawing.of(
            rng,
            np.clip((profile - cut) * 10 + 0.5, 0, 1),
            strength,
            scene,
            tone=-profile,
            gone=heat**3 * (0.1 if tempered else rng.uniform(0.1, 0.5)),
            tint=mix_hues(heat, stages.tolist(), colours),
            tinted=np.clip(heat * 1.3, 0, 1) * coloured,
            grit=fractal_noise(rng, field.shape, 5, octaves=2) * profile * 0.04,
        )
