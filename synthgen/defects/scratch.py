"""A scratch: a groove that something hard has drawn."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from pydantic.dataclasses import dataclass

from synthgen.defects.checks import STRICT, Contrast, Fraction, Positive, Ratio, Span
from synthgen.defects.drawing import (
    SCALE,
    Drawing,
    Rng,
    Scene,
    draw_range,
    draw_size,
    draw_strength,
)
from synthgen.defects.lines import LEAST_WIDTH
from synthgen.defects.shapes import Points, merge, stroke
from synthgen.surfaces.noise import Field, fractal_noise

__all__ = ["Scratch"]


@dataclass(frozen=True, config=STRICT)
class Scratch:
    """A groove: straight or slightly bent, tapered, bare material in it, a burr beside it."""

    length_fraction: Fraction = (0.12, 0.9)
    length_px: Positive | None = None
    width_fraction: Fraction = (0.012, 0.14)
    width_px: Positive | None = None
    curvature: Span = (-0.15, 0.15)
    count: tuple[int, int] = (1, 4)
    contrast: Contrast = (0.2, 0.85)
    bright_share: Ratio = 0.7

    def as_long(self, length_px: float) -> Scratch:
        """Return one of that length."""
        return replace(self, length_px=(length_px, length_px))

    def as_straight(self, straightness: float) -> Scratch:
        """Return itself: as straight as lines are."""
        return self

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        length = draw_size(rng, self.length_px, self.length_fraction, scene)
        width = draw_size(rng, self.width_px, self.width_fraction, scene, LEAST_WIDTH)
        width = min(width, length / 4)
        angle = scene.draw_heading(rng)
        lines = max(1, int(rng.integers(self.count[0], self.count[1] + 1) * rng.random() + 0.5))
        cover = merge([self._line(rng, length, width, angle, n) for n in range(lines)])
        sign = 1 if rng.random() < self.bright_share else -1
        # The tool skips and chatters along its way: grooves of its own within the groove.
        marks = _along(rng, cover.shape, angle, max(width, 2.0))
        floor = np.clip(0.7 + 0.3 * marks, 0.15, 1.3) * cover
        burr = cv2.GaussianBlur(cover, (0, 0), 0.35 * width + 1) - cover * 0.8
        return Drawing.of(
            rng,
            cover,
            draw_strength(self.contrast, severity),
            scene,
            tone=sign * floor * rng.uniform(0.7, 1),
            height=burr * width / SCALE * rng.uniform(0.02, 0.25),
            gone=cover * rng.uniform(0.6, 1),
            grit=fractal_noise(rng, cover.shape, 4, octaves=2) * cover * 0.15,
        )

    def _line(
        self, rng: Rng, length: float, width: float, angle: float, number: int
    ) -> tuple[Field, Points]:
        """Return one groove; all but the first are shorter, thinner and beside it."""
        beside = rng.normal(0, 2.5 * width + 2 * SCALE) if number else 0.0
        length *= rng.uniform(0.3, 0.9) if number else 1.0
        width *= rng.uniform(0.35, 0.9) if number else 1.0
        t = np.linspace(-1, 1, max(12, int(length / 4)), dtype=np.float32)
        turn = angle + (rng.normal(0, 0.03) if number else 0)
        along = t * length / 2 + (rng.normal(0, length / 6) if number else 0)
        across = draw_range(rng, self.curvature) * length / 2 * t * t + beside
        x = along * np.cos(turn) - across * np.sin(turn)
        y = along * np.sin(turn) + across * np.cos(turn)
        taper = np.clip(np.minimum(1 - t, 1 + t) * rng.uniform(2, 8), 0.2, 1)
        press = np.interp(np.linspace(0, 6, t.size), np.arange(7), rng.uniform(0.55, 1, 7))
        points = np.stack([x, y], axis=1).astype(np.float32)
        widths = np.clip(width * taper * press**0.5, 1, None).astype(np.float32)
        return stroke(points, widths, (press * taper**0.3).astype(np.float32))


def _along(rng: Rng, shape: tuple[int, ...], angle: float, width: float) -> Field:
    """Return marks drawn out along a direction, of mean 0 and deviation 1."""
    side = int(np.hypot(shape[0], shape[1])) + 2
    coarse = rng.standard_normal((side, max(2, side // 40)), dtype=np.float32)
    lanes = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    lanes = cv2.GaussianBlur(lanes, (0, 0), sigmaX=1, sigmaY=max(1.0, width / 10))
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), -np.rad2deg(angle), 1.0)
    turn[:, 2] += (shape[1] / 2 - side / 2, shape[0] / 2 - side / 2)
    lanes = cv2.warpAffine(lanes, turn, shape[::-1], borderMode=cv2.BORDER_REFLECT)
    return np.asarray((lanes - lanes.mean()) / (lanes.std() + 1e-6), np.float32)
