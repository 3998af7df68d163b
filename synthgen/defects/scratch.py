"""A scratch: a groove that something hard has drawn."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from pydantic.dataclasses import dataclass

from synthgen.defects.drawing.checks import STRICT, Contrast, Count, Fraction, Positive, Ratio, Span
from synthgen.defects.drawing.drawing import (
    SCALE,
    Drawing,
    Rng,
    Scene,
    draw_range,
    draw_size,
    draw_strength,
)
from synthgen.defects.drawing.lines import MIN_WIDTH
from synthgen.defects.drawing.shapes import Points, merge, stroke
from synthgen.samples.arrays import Map
from synthgen.sources.surfaces.noise import fractal_noise

__all__ = ["Scratch"]

SLENDER = 16.0  # least length over width: what is wider is a rub, not a scratch
LINE_KERNELS = 2.0  # of the photo's blur: the width of one line; wider grooves are of several
MAX_LINES = 12  # in one groove
FADED = 0.06  # of full pressure: less leaves no trace, and the line is broken there


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Scratch:
    """Parallel grooves: long, nearly straight, each of the fine lines that the grains of something
    hard have drawn. Pressure changes along a line: it fades in and out, and where it skips, the
    line is broken. A burr stands beside it.

    ``curvature`` is the sagitta over half the length, its sign the side; ``count`` is how many
    grooves at most; ``width_fraction`` is that of a whole groove.
    """

    length_fraction: Fraction = (0.45, 1.0)
    length_px: Positive | None = None
    width_fraction: Fraction = (0.01, 0.1)
    width_px: Positive | None = None
    curvature: Span = (-0.06, 0.06)
    count: Count = (1, 4)
    contrast: Contrast = (0.35, 0.95)
    bright_fraction: Ratio = 0.85

    def as_long(self, length_px: float) -> Scratch:
        """Return the same class with one length, in pixels, in place of its range."""
        return replace(self, length_px=(length_px, length_px))

    def as_straight(self, straightness: float) -> Scratch:
        """Return itself: a scratch is as straight as lines are, whatever is asked."""
        return self

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw the lines of all grooves as one cover, with the burr as its relief.

        It is at most a sixteenth as wide as it is long, and follows the surface's streaks, where
        it has such.
        """
        length = draw_size(rng, self.length_px, self.length_fraction, scene)
        width = draw_size(rng, self.width_px, self.width_fraction, scene, MIN_WIDTH)
        width = min(width, length / SLENDER)
        least = max(LINE_KERNELS * scene.kernel_px, 1.0) * SCALE
        angle = scene.draw_heading(rng)
        bend = draw_range(rng, self.curvature)
        grooves = max(1, int(rng.integers(self.count[0], self.count[1] + 1) * rng.random() + 0.5))
        cover = merge(
            [
                line
                for number in range(grooves)
                for line in self._groove(rng, length, width, least, angle, bend, number)
            ]
        )
        sign = 1 if rng.random() < self.bright_fraction else -1
        fine = min(width, least)
        burr = cv2.GaussianBlur(cover, (0, 0), 0.35 * fine + 1) - cover * 0.8
        return Drawing.of(
            rng,
            cover,
            draw_strength(self.contrast, severity),
            scene,
            tone=sign * cover * rng.uniform(0.7, 1),
            height=burr * fine / SCALE * rng.uniform(0.02, 0.25),
            gone=cover * rng.uniform(0.6, 1),
            grit=fractal_noise(rng, cover.shape, 4, octaves=2) * cover * 0.15,
        )

    def _groove(
        self,
        rng: Rng,
        length: float,
        width: float,
        least: float,
        angle: float,
        bend: float,
        number: int,
    ) -> list[tuple[Map, Points]]:
        """Return the lines of one groove, each at least about ``least`` points wide; all but the
        first groove are shorter and beside it."""
        beside = along = 0.0
        if number:
            beside = rng.normal(0, 4 * width + 4 * SCALE)
            along = rng.normal(0, length / 5)
            length *= rng.uniform(0.2, 0.8)
            width *= rng.uniform(0.3, 0.9)
            angle += rng.normal(0, 0.015)
        lines = int(np.clip(round(width / least * rng.uniform(0.5, 1.2)), 1, MAX_LINES))
        return [
            _line(
                rng,
                length * (rng.uniform(0.5, 1) if line else 1.0),
                min(width, least) * rng.uniform(0.6, 1.4),
                angle,
                bend,
                along + (rng.normal(0, length / 10) if line else 0.0),
                beside + (rng.uniform(-0.5, 0.5) * width if lines > 1 else 0.0),
            )
            for line in range(lines)
        ]


def _line(
    rng: Rng, length: float, width: float, angle: float, bend: float, along: float, beside: float
) -> tuple[Map, Points]:
    """Return one line, ``along`` and ``beside`` points from the middle; ``bend``: its sagitta over
    half its length."""
    t = np.linspace(-1, 1, max(16, int(length / 4)), dtype=np.float32)
    reach = along + t * length / 2
    across = beside + bend * length / 2 * t * t
    across += _wander(rng, t.size, 5) * 0.1 * width  # no hand and no roller runs quite true
    x = reach * np.cos(angle) - across * np.sin(angle)
    y = reach * np.sin(angle) + across * np.cos(angle)
    # It comes and goes over a share of the length at either end, and unevenly between, the more so
    # the lighter the touch.
    start, end = rng.uniform(0.08, 0.5, 2)
    ends = np.clip((1 + t) / start, 0, 1) ** 0.6 * np.clip((1 - t) / end, 0, 1) ** 0.6
    uneven = rng.uniform(0.2, 0.8)
    slow = _wander(rng, t.size, max(3, t.size // 40))
    quick = _wander(rng, t.size, max(4, t.size // 8))
    touch = ends * np.exp(uneven * (slow + 0.6 * quick))
    pressure = np.asarray(np.clip(touch / np.quantile(touch, 0.9), 0, 1), np.float32)
    points = np.stack([x, y], axis=1).astype(np.float32)
    widths = np.clip(width * pressure**0.6, 1, None).astype(np.float32)
    return stroke(points, widths, np.where(pressure < FADED, 0, pressure).astype(np.float32))


def _wander(rng: Rng, size: int, knots: int) -> Points:
    """Return a smooth random line of ``size`` places, of mean 0 and deviation about 1."""
    places = np.linspace(0, knots - 1, size)
    return np.interp(places, np.arange(knots), rng.standard_normal(knots)).astype(np.float32)
