"""A dent: something blunt has pressed the surface in."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic.dataclasses import dataclass

from synthgen.defects.drawing.checks import STRICT, Contrast, Fraction, Positive
from synthgen.defects.drawing.drawing import SCALE, Drawing, Rng, Scene, draw_size, draw_strength
from synthgen.defects.drawing.shapes import cover_within, radial_field

__all__ = ["Dent"]


@dataclass(frozen=True, config=STRICT)
class Dent:
    """A smooth hollow: the flank away from the light bright, the near one dark; texture stays."""

    radius_fraction: Fraction = (0.02, 0.12)
    radius_px: Positive | None = None
    contrast: Contrast = (0.12, 0.36)

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw a bowl with a low rim: relief, and a tone that is a little darker in the middle.

        Its depth is a quarter to a half of its radius; colour and texture stay.
        """
        radius = draw_size(rng, self.radius_px, self.radius_fraction, scene)
        lobes = rng.uniform(0, 0.07)
        field = radial_field(rng, radius, rng.uniform(1, 1.7), lobes, 0, margin=1.5)
        # The flank begins at the outline and ends at the floor; a pointed tool leaves no floor.
        floor = rng.uniform(0.05, 0.6)
        down = np.clip((1 - field) / (1 - floor), 0, 1)
        bowl = down * down * (3 - 2 * down)
        bowl = cv2.GaussianBlur(bowl, (0, 0), 0.12 * radius)  # bent metal has no kink
        rim = np.exp(-(((field - 1) / 0.13) ** 2)) * rng.uniform(0, 0.08)
        depth = radius / SCALE * rng.uniform(0.25, 0.5)
        # Under light from everywhere a hollow sees less of it, most of all in its middle.
        dull = bowl * rng.uniform(0.06, 0.18)
        return Drawing.of(
            rng,
            cover_within(field, radius),
            draw_strength(self.contrast, severity),
            scene,
            tone=-dull,
            height=depth * (rim - bowl),
        )
