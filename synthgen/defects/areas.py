"""Areas of other colour or texture: stain, corrosion, burn, abrasion, inclusion."""

from __future__ import annotations

import colorsys

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
from synthgen.surfaces.noise import fractal_noise, streaks

__all__ = ["Abrasion", "Burn", "Corrosion", "Inclusion", "Stain"]

STRICT = ConfigDict(extra="forbid")


def _rgb(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32) * 255


@dataclass(frozen=True, config=STRICT)
class Stain:
    """A spill or film: see-through, uneven, often with a darker drying rim."""

    radius_px: Positive = (9.0, 30.0)
    radius_fraction: Fraction | None = None
    raggedness: Ratio = 0.35
    rim_share: Ratio = 0.5
    contrast: Positive = (22.0, 75.0)

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        radius = draw_size(rng, self.radius_px, self.radius_fraction, short_side_px)
        ragged = rng.uniform(0.05, self.raggedness)
        field = radial_field(rng, radius, rng.uniform(1, 2), rng.uniform(0, 0.35), ragged)
        cover = cover_within(field, radius, rng.uniform(2, 6))
        strength = draw_strength(self.contrast, severity)
        uneven = np.clip(1 + 0.35 * fractal_noise(rng, field.shape, radius * 0.6), 0.35, 1.5)
        rim = np.exp(-(((field - 0.9) / 0.1) ** 2)) * (rng.random() < self.rim_share)
        film = np.clip(cover * (uneven + 0.8 * rim) * rng.uniform(0.25, 0.6), 0, 0.9)
        colour = _rgb(
            rng.choice([rng.uniform(0.05, 0.15), rng.random()], p=[0.6, 0.4]),
            rng.beta(1.5, 2),
            rng.choice([rng.uniform(0.05, 0.45), 0.9], p=[0.85, 0.15]),
        )
        return Drawing.build(
            cover > 0.5,
            strength,
            opacity=film,
            pigment=colour,
            grain=fractal_noise(rng, field.shape, 4, octaves=3) * cover * strength * 0.12,
        )


@dataclass(frozen=True, config=STRICT)
class Corrosion:
    """Rust: ragged orange to brown patches, crumbly, with specks around them."""

    radius_px: Positive = (8.0, 28.0)
    radius_fraction: Fraction | None = None
    raggedness: Ratio = 0.6
    contrast: Positive = (25.0, 90.0)

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        radius = draw_size(rng, self.radius_px, self.radius_fraction, short_side_px)
        ragged = rng.uniform(0.25, max(0.25, self.raggedness))
        field = radial_field(rng, radius, rng.uniform(1, 1.8), rng.uniform(0, 0.3), ragged)
        cover = cover_within(field, radius, rng.uniform(2, 4))
        strength = draw_strength(self.contrast, severity)
        crumbs = fractal_noise(rng, field.shape, rng.uniform(3, 8), octaves=4, persistence=0.75)
        hue = rng.uniform(0.03, 0.085)
        pigment = _rgb(hue, rng.uniform(0.45, 0.85), rng.uniform(0.3, 0.6)) + 0 * crumbs[..., None]
        pigment = pigment + np.array([22, 13, 5], np.float32) * crumbs[..., None]
        return Drawing.build(
            cover > 0.45,
            strength,
            relief=crumbs * cover * strength * 0.25,
            opacity=cover * np.clip(rng.uniform(0.6, 0.9) + 0.12 * crumbs, 0.2, 1),
            pigment=np.clip(pigment, 0, 255).astype(np.float32),
            grain=fractal_noise(rng, field.shape, 2.5, octaves=2) * cover * strength * 0.25,
        )


@dataclass(frozen=True, config=STRICT)
class Burn:
    """Heat tint or scorch: smooth, darkest in the middle, rings of straw, brown and blue."""

    radius_px: Positive = (10.0, 30.0)
    radius_fraction: Fraction | None = None
    tint_share: Ratio = 0.5
    contrast: Positive = (25.0, 95.0)

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        radius = draw_size(rng, self.radius_px, self.radius_fraction, short_side_px)
        field = radial_field(
            rng, radius, rng.uniform(1, 2.2), rng.uniform(0, 0.2), rng.uniform(0, 0.15), margin=1.6
        )
        strength = draw_strength(self.contrast, severity)
        heat = np.clip(1.12 - field, 0, 1.12) / 1.12
        stops = [0.0, 0.3, 0.6, 1.0]
        scorch = [(150, 125, 90), (105, 75, 45), (60, 42, 30), (25, 20, 18)]
        tint = [(205, 175, 105), (165, 105, 60), (110, 70, 105), (60, 80, 130)]
        ramp = np.array(tint if rng.random() < self.tint_share else scorch, np.float32)
        colour = np.stack([np.interp(heat, stops, ramp[:, c]) for c in range(3)], axis=-1)
        cover = np.clip(heat * rng.uniform(1.6, 3), 0, 1) * rng.uniform(0.5, 0.85)
        return Drawing.build(
            field < 1.0,
            strength,
            opacity=cover,
            pigment=colour.astype(np.float32),
            grain=fractal_noise(rng, field.shape, 5, octaves=3) * cover * strength * 0.12,
        )


@dataclass(frozen=True, config=STRICT)
class Abrasion:
    """A scuffed patch: many fine parallel marks, worn lighter or duller than the surface."""

    radius_px: Positive = (9.0, 28.0)
    radius_fraction: Fraction | None = None
    contrast: Positive = (22.0, 75.0)
    bright_share: Ratio = 0.7

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        radius = draw_size(rng, self.radius_px, self.radius_fraction, short_side_px)
        field = radial_field(rng, radius, rng.uniform(1.2, 2.4), 0.15, rng.uniform(0.15, 0.35))
        cover = cover_within(field, radius, rng.uniform(3, 7))
        strength = draw_strength(self.contrast, severity)
        marks = streaks(rng, field.shape, rng.uniform(12, 40), rng.uniform(0, 180))
        fine = np.clip(marks - rng.uniform(-0.4, 0.3), 0, 2.2)
        sign = 1 if rng.random() < self.bright_share else -1
        haze = np.float32(rng.uniform(0.15, 0.45))
        return Drawing.build(
            cover > 0.5,
            strength,
            tone=sign * cover * (haze + 0.55 * fine) * strength,
            relief=-fine * cover * strength * 0.3,
            opacity=cover * rng.uniform(0.05, 0.35),
            pigment=np.full(3, 128 + 60 * sign, np.float32),
            grain=streaks(rng, field.shape, 6, rng.uniform(0, 180)) * cover * strength * 0.15,
        )


@dataclass(frozen=True, config=STRICT)
class Inclusion:
    """A foreign particle rolled or cast in: sharp-edged, elongated, of another material."""

    radius_px: Positive = (3.0, 14.0)
    radius_fraction: Fraction | None = None
    elongation: Positive = (1.0, 3.5)
    contrast: Positive = (30.0, 110.0)
    dark_share: Ratio = 0.7

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        radius = draw_size(rng, self.radius_px, self.radius_fraction, short_side_px)
        aspect = max(1.0, draw_range(rng, self.elongation))
        field = radial_field(rng, radius, aspect, rng.uniform(0.1, 0.4), rng.uniform(0.05, 0.3))
        cover = cover_within(field, radius, 1.5)
        strength = draw_strength(self.contrast, severity)
        level = rng.uniform(15, 80) if rng.random() < self.dark_share else rng.uniform(175, 245)
        mottle = fractal_noise(rng, field.shape, max(3.0, radius * 0.6), octaves=3)
        return Drawing.build(
            cover > 0.45,
            strength,
            relief=cv2.GaussianBlur(cover, (0, 0), 0.8) * strength * rng.uniform(-0.8, 0.8),
            opacity=cover * rng.uniform(0.75, 1),
            pigment=(level + 7 * mottle[..., None] + rng.normal(0, 10, 3)).astype(np.float32),
            grain=fractal_noise(rng, field.shape, 2.5, octaves=2) * cover * strength * 0.14,
        )
