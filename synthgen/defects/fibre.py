"""A fibre: a hair or a thread that lies on the surface."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from pydantic.dataclasses import dataclass

from synthgen.defects.drawing.checks import STRICT, Contrast, Fraction, Positive, Ratio, Span
from synthgen.defects.drawing.drawing import (
    SCALE,
    Drawing,
    Rng,
    Scene,
    draw_range,
    draw_size,
    draw_strength,
)
from synthgen.defects.drawing.lines import MIN_WIDTH, heading_deviation
from synthgen.defects.drawing.shapes import stroke
from synthgen.sources.surfaces.noise import fractal_noise

__all__ = ["Fibre"]

BEND = 0.7  # deviation of a fibre's heading, in its curl


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Fibre:
    """A hair or thread lying on the surface: smoothly curled, even width, with a thin shadow.

    ``curl`` is the deviation of how much it bends, in radians over a quarter of its length.
    """

    length_fraction: Fraction = (0.06, 0.45)
    length_px: Positive | None = None
    width_fraction: Fraction = (0.003, 0.014)
    width_px: Positive | None = None
    curl: Span = (0.2, 1.6)
    contrast: Contrast = (0.2, 0.75)
    dark_fraction: Ratio = 0.5

    def as_long(self, length_px: float) -> Fibre:
        """Return the same class with one length, in pixels, in place of its range."""
        return replace(self, length_px=(length_px, length_px))

    def as_straight(self, straightness: float) -> Fibre:
        """Return one, no more curled than this one, as straight as that.

        ``straightness`` 0..1 is about the distance of its ends over its length.
        """
        most = heading_deviation(straightness) / BEND
        return replace(self, curl=(min(self.curl[0], most), min(self.curl[1], most)))

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw a thread of even width that hides the surface, stands above it and casts a shadow.

        It is at most an eighth as wide as it is long.
        """
        length = draw_size(rng, self.length_px, self.length_fraction, scene)
        width = draw_size(rng, self.width_px, self.width_fraction, scene, MIN_WIDTH)
        width = min(width, length / 8)
        count = max(16, int(length / 4))
        bends = np.interp(
            np.linspace(0, 4, count), np.arange(5), rng.normal(0, draw_range(rng, self.curl), 5)
        )
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(bends) * 4 / count
        path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * length / count, axis=0)
        widths = np.full(count, width, np.float32)
        cover, _ = stroke(path.astype(np.float32), widths, np.ones(count, np.float32))
        sign = -1 if rng.random() < self.dark_fraction else 1
        # A thread is round: lit along its upper side, and its shadow falls beside it.
        inside = cv2.distanceTransform((cover > 0.3).astype(np.uint8), cv2.DIST_L2, 3)
        round_ = np.sqrt(np.clip(inside / max(width / 2, 1), 0, 1)).astype(np.float32)
        relief = round_ * width / SCALE * rng.uniform(0.02, 0.12)
        lift = cover * np.float32(width / SCALE * rng.uniform(0.3, 0.9))
        # Its hue is grey mostly, or that of any dye.
        colour = rng.normal(0, 0.08 if rng.random() < 0.7 else 0.35, 3)
        return Drawing.of(
            rng,
            cover,
            draw_strength(self.contrast, severity),
            scene,
            tone=sign * cover,
            height=relief,
            gone=cover,
            lift=lift,
            tint=np.clip(1 + colour, 0.3, 1.8).astype(np.float32),
            tinted=cover * rng.uniform(0.5, 1),
            grit=fractal_noise(rng, cover.shape, 4, octaves=1) * cover * 0.08,
        )
