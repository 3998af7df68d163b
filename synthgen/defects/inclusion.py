"""An inclusion: foreign matter that was cast or rolled into the material."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from pydantic.dataclasses import dataclass

from synthgen.defects.drawing.checks import STRICT, Contrast, Fraction, Positive, Ratio
from synthgen.defects.drawing.drawing import SCALE, Drawing, Rng, Scene, draw_size, draw_strength
from synthgen.samples.arrays import Map
from synthgen.sources.surfaces.noise import fractal_noise

__all__ = ["Inclusion"]

MIN_KERNELS = 1.5  # of a radius
MIN_WIDTH = 2.0  # kernels: of a piece
BESIDE_FRACTION = 0.4  # of the chains: smaller pieces beside it
DRAWN_OUT = 2.2  # the elongation from which a particle is rolled into lenses and breaks up


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Inclusion:
    """A particle of other material: sharp-edged, drawn out by rolling, often into a chain.

    ``elongation`` is length over width, drawn log-uniformly. What is drawn out by more than 2.2 has
    tips, and ``broken_fraction`` of those are chains.
    """

    radius_fraction: Fraction = (0.02, 0.12)
    radius_px: Positive | None = None
    elongation: Positive = (1.0, 6.0)
    broken_fraction: Ratio = 0.6  # of the drawn-out ones: a chain of pieces
    contrast: Contrast = (0.25, 0.85)
    dark_fraction: Ratio = 0.8

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw a particle, or a chain with smaller pieces beside it, mottled along the rolling.

        It is a little above or below the surface, whose texture it mostly hides.
        """
        radius = draw_size(rng, self.radius_px, self.radius_fraction, scene, MIN_KERNELS)
        aspect = float(np.exp(rng.uniform(*np.log(np.maximum(self.elongation, 1)))))
        field, along, across = self._lay_pieces(rng, radius, aspect, scene)
        cover = np.clip(field / 1.2 + 0.5, 0, 1)
        sign = -1 if rng.random() < self.dark_fraction else 1
        # Its matter is uneven, drawn out as it is, and thins toward its edge.
        thick = np.clip(field / (0.35 * radius / aspect**0.5), 0, 1) ** 0.5
        mottle = _drawn_out(rng, along, across, max(4.0, radius * 0.5), aspect)
        body = 0.65 + 0.35 * thick + 0.2 * mottle
        lip = cv2.GaussianBlur(cover, (0, 0), 2.0)
        return Drawing.of(
            rng,
            cover,
            draw_strength(self.contrast, severity),
            scene,
            tone=sign * cover * np.clip(body, 0.3, 1.4),
            height=lip * rng.uniform(-0.6, 0.4),
            gone=cover * rng.uniform(0.4, 0.9),
            tint=np.clip(1 + rng.normal(0, 0.04, 3), 0.6, 1.4).astype(np.float32),
            tinted=cover * rng.uniform(0.2, 0.7),
            grit=fractal_noise(rng, cover.shape, 4, octaves=2) * cover * 0.1,
        )

    def _lay_pieces(
        self, rng: Rng, radius: float, aspect: float, scene: Scene
    ) -> tuple[Map, Map, Map]:
        """Return how far inside the nearest piece's outline each point is, in points, and where it
        lies along and across the rolling."""
        half = int(radius * aspect**0.5 * 1.75 + 2 * MIN_WIDTH * scene.kernel_px * SCALE) + 8
        y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
        angle = np.float32(scene.draw_heading(rng))
        along = x * np.cos(angle) + y * np.sin(angle)
        across = -x * np.sin(angle) + y * np.cos(angle)
        rough = _drawn_out(rng, along, across, max(5.0, 0.7 * radius), aspect**0.5)
        bow = np.float32(rng.normal(0, 0.06) / (radius * aspect**0.5))
        across = across + bow * along * along
        field = np.full(along.shape, -9, np.float32)
        for middle, beside, length, width in self._pieces(rng, radius, aspect, scene):
            own, side, skew = along - middle, across - beside, rng.uniform(-0.35, 0.35)
            if aspect > DRAWN_OUT:  # a lens with tips, its belly askew
                own = own + skew * length * np.clip(1 - (own / length) ** 2, 0, 1)
                at = np.clip(np.abs(own) / length, 0, 1.5)
                inside = width * (1 - at**1.8) - np.abs(side) + 0.2 * width * rough
            else:  # a grain
                at = np.clip(np.abs(own) / length, 0, 1.5)
                inside = (1 - np.hypot(at, side / width)) * min(width, length)
                inside = inside + 0.07 * width * rough
            np.maximum(field, np.asarray(inside, np.float32), out=field)
        return field, along, across

    def _pieces(
        self, rng: Rng, radius: float, aspect: float, scene: Scene
    ) -> list[tuple[float, float, float, float]]:
        """Return the pieces: where along and beside the line, half length and half width."""
        least = MIN_WIDTH * scene.kernel_px * SCALE / 2
        length, width = radius * aspect**0.5, max(radius / aspect**0.5, least)
        if aspect < DRAWN_OUT or rng.random() > self.broken_fraction:
            return [(0.0, 0.0, length, width)]
        pieces = []
        cuts = np.sort(rng.uniform(-1, 1, int(rng.integers(1, 5))))
        bounds = np.concatenate([[-1], cuts, [1]]) * length * rng.uniform(1, 1.5)
        for first, last in pairwise(bounds):
            half = (last - first) / 2 * rng.uniform(0.6, 1.1)
            own = max(least, min(width * rng.uniform(0.35, 1.1), half / 2.2))
            pieces.append(
                ((first + last) / 2, rng.normal(0, 0.6) * width, max(half, 2.2 * own), own)
            )
        for _ in range(int(rng.integers(1, 4)) * int(rng.random() < BESIDE_FRACTION)):
            own = max(least, width * rng.uniform(0.2, 0.7))
            half = max(2.2 * own, length * rng.uniform(0.15, 0.5))
            side = width * rng.uniform(1.2, 2.5) * rng.choice([-1, 1])
            pieces.append((rng.uniform(-0.7, 0.7) * length, side, half, own))
        return pieces


def _drawn_out(rng: Rng, along: Map, across: Map, size: float, aspect: float) -> Map:
    """Return noise of blobs of some points across, longer along the rolling."""
    side = along.shape[0] * 3 // 2 + 2
    noise = fractal_noise(rng, (side, side), size, aspect, 4, 0.6)
    middle = np.float32(side / 2)
    at = (along + middle, across + middle)
    turned = cv2.remap(noise, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(turned, np.float32)
