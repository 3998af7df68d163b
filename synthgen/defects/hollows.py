"""Defects that are relief: pit, dent, spatter, chip."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from synthgen.defects.checks import Fraction, Positive, Ratio
from synthgen.defects.drawing import (
    Drawing,
    Rng,
    cover_within,
    draw_range,
    draw_size,
    draw_strength,
    radial_field,
)
from synthgen.surfaces.noise import Field, fractal_noise

__all__ = ["Chip", "Dent", "Pit", "Spatter"]

STRICT = ConfigDict(extra="forbid")


def _scatter(rng: Rng, spots: list[Field], spread_px: float) -> Field:
    """Return radial fields strewn around a point, the nearest spot deciding each pixel."""
    reach = int(max(spot.shape[0] for spot in spots) / 2 + spread_px) + 2
    canvas = np.full((2 * reach + 1, 2 * reach + 1), 9.0, np.float32)
    for number, spot in enumerate(spots):
        shift = rng.normal(0, spread_px / 2, 2) if number else np.zeros(2)
        row, column = (reach - spot.shape[0] // 2 + np.clip(shift, -spread_px, spread_px)).astype(
            int
        )
        row, column = max(row, 0), max(column, 0)
        view = canvas[row : row + spot.shape[0], column : column + spot.shape[1]]
        np.minimum(view, spot[: view.shape[0], : view.shape[1]], out=view)
    return canvas


@dataclass(frozen=True, config=STRICT)
class Pit:
    """Small holes (pores, blowholes): dark inside, the far rim catching the light."""

    radius_px: Positive = (2.0, 8.0)
    radius_fraction: Fraction | None = None
    count: tuple[int, int] = (1, 5)
    spread_px: Positive = (6.0, 18.0)
    contrast: Positive = (35.0, 120.0)

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        radius = draw_size(rng, self.radius_px, self.radius_fraction, short_side_px)
        number = int(rng.integers(self.count[0], self.count[1] + 1))
        spots = [
            radial_field(
                rng,
                max(1.6, radius * (rng.uniform(0.45, 1) if n else 1)),
                rng.uniform(1, 1.7),
                rng.uniform(0, 0.3),
                rng.uniform(0, 0.2),
            )
            for n in range(number)
        ]
        field = _scatter(rng, spots, draw_range(rng, self.spread_px))
        cover = cover_within(field, radius, 1.6)
        strength = draw_strength(self.contrast, severity)
        depth = np.clip(1.15 - field, 0, 1) ** 0.7
        return Drawing.build(
            cover > 0.4,
            strength,
            tone=(-0.5 * strength * cover * (0.45 + 0.55 * np.clip(1 - field, 0, 1))),
            relief=-depth * radius * strength * rng.uniform(0.2, 0.7),
            opacity=cover * rng.uniform(0.55, 0.9),
            pigment=rng.uniform(12, 55) + rng.normal(0, 5, 3).astype(np.float32),
            grain=fractal_noise(rng, cover.shape, 3, octaves=2) * cover * strength * 0.16,
        )


@dataclass(frozen=True, config=STRICT)
class Dent:
    """A smooth hollow: the flank away from the light bright, the near one dark."""

    radius_px: Positive = (8.0, 26.0)
    radius_fraction: Fraction | None = None
    contrast: Positive = (26.0, 85.0)

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        radius = draw_size(rng, self.radius_px, self.radius_fraction, short_side_px)
        field = radial_field(rng, radius, rng.uniform(1, 1.8), rng.uniform(0, 0.2), 0, margin=1.9)
        strength = draw_strength(self.contrast, severity)
        bowl = np.exp(-((field / 0.72) ** rng.uniform(2, 4))).astype(np.float32)
        flat = bowl * strength * radius * rng.uniform(0.75, 1.1)
        return Drawing.build(
            field < 1.05,
            strength,
            tone=-bowl * strength * rng.uniform(-0.1, 0.4),
            relief=-flat,
            grain=fractal_noise(rng, field.shape, 4, octaves=2) * bowl * strength * 0.06,
        )


@dataclass(frozen=True, config=STRICT)
class Spatter:
    """Drops stuck on the surface (weld spatter, dross): raised, lit on one side, with a glint."""

    radius_px: Positive = (2.5, 8.0)
    radius_fraction: Fraction | None = None
    count: tuple[int, int] = (1, 4)
    spread_px: Positive = (8.0, 22.0)
    contrast: Positive = (35.0, 100.0)

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        radius = draw_size(rng, self.radius_px, self.radius_fraction, short_side_px)
        number = int(rng.integers(self.count[0], self.count[1] + 1))
        spots = [
            radial_field(
                rng,
                max(2.0, radius * (rng.uniform(0.4, 1) if n else 1)),
                rng.uniform(1, 1.4),
                rng.uniform(0, 0.15),
                0,
            )
            for n in range(number)
        ]
        field = _scatter(rng, spots, draw_range(rng, self.spread_px))
        cover = cover_within(field, radius, 1.6)
        strength = draw_strength(self.contrast, severity)
        dome = np.sqrt(np.clip(1.1 - field**2, 0, 1))
        glint = np.exp(-((field / 0.3) ** 2)) * strength * rng.uniform(0, 0.7)
        return Drawing.build(
            cover > 0.4,
            strength,
            tone=glint + cover * strength * rng.uniform(-0.5, 0.3),
            relief=dome * radius * strength * rng.uniform(0.5, 1.0),
            opacity=cover * rng.uniform(0.5, 0.9),
            pigment=rng.uniform(50, 190) + rng.normal(0, 10, 3).astype(np.float32),
            grain=fractal_noise(rng, cover.shape, 3, octaves=2) * cover * strength * 0.12,
        )


@dataclass(frozen=True, config=STRICT)
class Chip:
    """A flake broken out: an angular outline, tilted fresh facets, a sharp lip."""

    radius_px: Positive = (6.0, 20.0)
    radius_fraction: Fraction | None = None
    corners: tuple[int, int] = (5, 9)
    contrast: Positive = (30.0, 100.0)
    bright_share: Ratio = 0.5

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        radius = draw_size(rng, self.radius_px, self.radius_fraction, short_side_px)
        cover = self._outline(rng, radius)
        strength = draw_strength(self.contrast, severity)
        facets = self._facets(rng, cover.shape, radius)
        sign = 1 if rng.random() < self.bright_share else -1
        lip = cv2.GaussianBlur(cover, (0, 0), 1.0)
        rough = fractal_noise(rng, cover.shape, 5, octaves=3)
        level = 128 + sign * rng.uniform(20, 90)
        return Drawing.build(
            cover > 0.5,
            strength,
            tone=cover * facets * strength * 0.55 + sign * cover * strength * 0.15,
            relief=-lip * strength * rng.uniform(0.8, 2.2) + rough * cover * strength * 0.15,
            opacity=cover * rng.uniform(0.6, 0.95),
            pigment=level + rng.normal(0, 8, 3).astype(np.float32),
            grain=fractal_noise(rng, cover.shape, 2.5, octaves=2) * cover * strength * 0.2,
        )

    def _outline(self, rng: Rng, radius: float) -> Field:
        number = int(rng.integers(self.corners[0], self.corners[1] + 1))
        theta = np.sort(rng.uniform(0, 2 * np.pi, number) * 0.4 + np.arange(number) / number * 6.28)
        reach = radius * rng.uniform(0.6, 1.15, number)
        half = int(radius * 1.3) + 6
        scale = 4
        corners = np.stack([np.cos(theta) * reach, np.sin(theta) * reach * rng.uniform(0.5, 1)], 1)
        turn = rng.uniform(0, 6.28)
        spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        pixels = np.rint((corners @ spin + half) * scale).astype(np.int32)
        canvas = np.zeros((2 * half * scale, 2 * half * scale), np.float32)
        cv2.fillPoly(canvas, [pixels], 1.0)
        return np.asarray(
            cv2.resize(canvas, (2 * half, 2 * half), interpolation=cv2.INTER_AREA), np.float32
        )

    @staticmethod
    def _facets(rng: Rng, shape: tuple[int, ...], radius: float) -> NDArray[np.float32]:
        """Return a flat shade -1..1 per facet: the nearest of a few random centres."""
        y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        centres = rng.normal(shape[0] / 2, radius * 0.6, (int(rng.integers(2, 6)), 2))
        distance = np.stack([np.hypot(y - cy, x - cx) for cy, cx in centres])
        shades = rng.uniform(-1, 1, len(centres)).astype(np.float32)
        return np.asarray(
            cv2.GaussianBlur(shades[distance.argmin(axis=0)], (0, 0), 0.7), np.float32
        )
