"""Defects that are lines: scratch, crack, fibre."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from synthgen.defects.checks import Fraction, Positive, Ratio, Span
from synthgen.defects.drawing import (
    Drawing,
    Rng,
    draw_range,
    draw_size,
    draw_strength,
    stroke,
)
from synthgen.surfaces.noise import Field, fractal_noise

__all__ = ["Crack", "Fibre", "Line", "Scratch"]

STRICT = ConfigDict(extra="forbid")
Points = NDArray[np.float32]
PULL = 0.15  # of a crack's heading toward where it goes, a step
SWAY = (1 - (1 - PULL) ** 2) ** -0.5  # deviation of a crack's heading, in its jaggedness
BEND = 0.7  # deviation of a fibre's heading, in its curl


def _spread(straightness: float) -> float:
    """Return the deviation of a line's heading, in radians, at which its ends are apart by that
    share of its length: the mean cosine of a normal deviation."""
    return float(np.sqrt(-2 * np.log(np.clip(straightness, 0.1, 0.995))))


def _merge(parts: list[tuple[Field, Points]]) -> Field:
    """Return strokes laid over one another (the strongest wins) in one tight frame."""
    low = np.min([corner for _, corner in parts], axis=0)
    high = np.max([corner + field.shape[::-1] for field, corner in parts], axis=0)
    canvas = np.zeros((int(high[1] - low[1]), int(high[0] - low[0])), np.float32)
    for field, corner in parts:
        x, y = (corner - low).astype(int)
        view = canvas[y : y + field.shape[0], x : x + field.shape[1]]
        np.maximum(view, field, out=view)
    return canvas


@dataclass(frozen=True, config=STRICT)
class Scratch:
    """A groove: straight or slightly bent, tapered, with a bright and a dark flank."""

    length_px: Positive = (18.0, 90.0)
    length_fraction: Fraction | None = None
    width_px: Positive = (0.9, 2.8)
    curvature: Span = (-0.25, 0.25)
    count: tuple[int, int] = (1, 3)
    contrast: Positive = (26.0, 95.0)
    bright_share: Ratio = 0.6

    def as_straight(self, straightness: float) -> Scratch:
        """Return itself: as straight as lines are."""
        return self

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        length = draw_size(rng, self.length_px, self.length_fraction, short_side_px)
        angle = rng.uniform(0, np.pi)
        lines = max(1, int(rng.integers(self.count[0], self.count[1] + 1) * rng.random() + 0.5))
        cover = _merge([self._line(rng, length, angle, n) for n in range(lines)])
        strength = draw_strength(self.contrast, severity)
        sign = 1 if rng.random() < self.bright_share else -1
        groove = cv2.GaussianBlur(cover, (0, 0), 0.9)
        flake = fractal_noise(rng, cover.shape, 3, octaves=2) * cover
        return Drawing.build(
            cover > 0.3,
            strength,
            tone=sign * cover * strength * rng.uniform(0.55, 1),
            relief=-groove * strength * rng.uniform(1.0, 3.0),
            opacity=cover * rng.uniform(0.1, 0.5),
            pigment=np.full(3, 128 + sign * 70, np.float32),
            grain=flake * strength * 0.28,
        )

    def _line(self, rng: Rng, length: float, angle: float, number: int) -> tuple[Field, Points]:
        length *= 1.0 if number == 0 else rng.uniform(0.3, 0.9)
        t = np.linspace(-1, 1, max(8, int(length / 2)), dtype=np.float32)
        turn = angle + (rng.normal(0, 0.06) if number else 0)
        along = t * length / 2
        across = draw_range(rng, self.curvature) * length / 2 * t * t
        across = across + np.cumsum(rng.normal(0, 0.12, t.size))
        if number:
            along, across = along + rng.normal(0, length / 8), across + rng.normal(0, 5)
        x = along * np.cos(turn) - across * np.sin(turn)
        y = along * np.sin(turn) + across * np.cos(turn)
        taper = np.clip(np.minimum(1 - t, 1 + t) * rng.uniform(2, 6), 0.25, 1)
        width = draw_range(rng, self.width_px) * taper
        skips = np.clip(
            1
            + rng.uniform(0, 0.5)
            * np.interp(np.linspace(0, 5, t.size), np.arange(6), rng.standard_normal(6)),
            0.45,
            1,
        )
        points = np.stack([x, y], axis=1).astype(np.float32)
        return stroke(points, width.astype(np.float32), (skips * taper**0.4).astype(np.float32))


@dataclass(frozen=True, config=STRICT)
class Crack:
    """A jagged dark line that branches and thins out toward its tips."""

    length_px: Positive = (20.0, 100.0)
    length_fraction: Fraction | None = None
    width_px: Positive = (1.0, 3.2)
    jaggedness: Ratio = 0.35
    branch_probability: Ratio = 0.07
    contrast: Positive = (35.0, 120.0)

    def as_straight(self, straightness: float) -> Crack:
        """Return one, no more jagged or branched than this, whose ends are apart by about that
        share of its length, 0..1."""
        jaggedness = min(self.jaggedness, _spread(straightness) / SWAY)
        share = jaggedness / max(self.jaggedness, 1e-6)
        return replace(
            self,
            jaggedness=jaggedness,
            branch_probability=self.branch_probability * share**2,
        )

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        length = draw_size(rng, self.length_px, self.length_fraction, short_side_px)
        width = draw_range(rng, self.width_px)
        branches: list[tuple[Field, Points]] = []
        self._walk(rng, branches, np.zeros(2), rng.uniform(0, 2 * np.pi), length, width)
        cover = _merge(branches)
        strength = draw_strength(self.contrast, severity)
        lip = cv2.GaussianBlur(cover, (0, 0), 1.0)
        return Drawing.build(
            cover > 0.3,
            strength,
            tone=-cover * strength * 0.7,
            relief=-lip * strength * rng.uniform(0.3, 1.4),
            opacity=cover * 0.75,
            pigment=rng.uniform(8, 40) + rng.normal(0, 4, 3).astype(np.float32),
            grain=fractal_noise(rng, cover.shape, 3, octaves=2) * cover * strength * 0.2,
        )

    def _walk(
        self,
        rng: Rng,
        branches: list[tuple[Field, Points]],
        start: NDArray[np.float64],
        heading: float,
        length: float,
        width: float,
    ) -> None:
        step = 2.5
        count = max(4, int(length / step))
        goal = heading
        points = [start]
        for number in range(count):
            heading += rng.normal(0, self.jaggedness) + PULL * (goal - heading)
            points.append(points[-1] + step * np.array([np.cos(heading), np.sin(heading)]))
            if len(branches) < 5 and count - number > 6 and rng.random() < self.branch_probability:
                side = heading + rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
                rest = (count - number) * step * rng.uniform(0.3, 0.7)
                self._walk(rng, branches, points[-1], side, rest, width * 0.7)
        taper = np.linspace(1, 0.3, len(points)) * np.exp(rng.normal(0, 0.2, len(points)))
        widths = np.clip(width * taper, 0.6, None).astype(np.float32)
        weights = np.clip(np.linspace(1.1, 0.7, len(points)), 0, 1).astype(np.float32)
        branches.append(stroke(np.array(points, np.float32), widths, weights))


@dataclass(frozen=True, config=STRICT)
class Fibre:
    """A hair or thread lying on the surface: smoothly curled, even width, with a thin shadow."""

    length_px: Positive = (20.0, 90.0)
    length_fraction: Fraction | None = None
    width_px: Positive = (1.0, 2.4)
    curl: Span = (0.2, 1.6)
    contrast: Positive = (35.0, 110.0)

    def as_straight(self, straightness: float) -> Fibre:
        """Return one, no more curled than this, whose ends are apart by about that share of its
        length, 0..1."""
        most = _spread(straightness) / BEND
        return replace(self, curl=(min(self.curl[0], most), min(self.curl[1], most)))

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        length = draw_size(rng, self.length_px, self.length_fraction, short_side_px)
        count = max(12, int(length / 2))
        bends = np.interp(
            np.linspace(0, 4, count), np.arange(5), rng.normal(0, draw_range(rng, self.curl), 5)
        )
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(bends) * 4 / count
        path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * length / count, axis=0)
        widths = np.full(count, draw_range(rng, self.width_px), np.float32)
        cover, _ = stroke(path.astype(np.float32), widths, np.ones(count, np.float32))
        strength = draw_strength(self.contrast, severity)
        level = rng.choice([rng.uniform(10, 60), rng.uniform(190, 250)])
        colour = level + rng.normal(0, 14, 3)
        return Drawing.build(
            cover > 0.35,
            strength,
            relief=cv2.GaussianBlur(cover, (0, 0), 1.1) * rng.uniform(20, 70),
            opacity=cover * rng.uniform(0.75, 0.95),
            pigment=np.clip(colour, 0, 255).astype(np.float32),
            grain=fractal_noise(rng, cover.shape, 2.5, octaves=1) * cover * 6,
        )


Line = Crack | Fibre | Scratch
