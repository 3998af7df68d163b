"""An abrasion: something rough has rubbed along the surface."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic.dataclasses import dataclass

from synthgen.defects.drawing.checks import STRICT, Contrast, Fraction, Positive, Ratio
from synthgen.defects.drawing.drawing import SCALE, Drawing, Rng, Scene, draw_size, draw_strength
from synthgen.samples.arrays import Map
from synthgen.sources.surfaces.noise import fractal_noise

__all__ = ["Abrasion"]

MIN_KERNELS = 6.0  # of a radius: less has no room for marks side by side
FRACTION_BITS = 4  # of the ends of OpenCV's lines
FULL = 0.25  # of the densest wear: where the patch counts as worn


@dataclass(frozen=True, config=STRICT)
class Abrasion:
    """A worn patch: fine marks in one direction that lay bare brighter material, fading out.

    ``radius_fraction`` is that of the patch; a mark is about as wide as the photo can show.
    """

    radius_fraction: Fraction = (0.03, 0.14)
    radius_px: Positive | None = None
    contrast: Contrast = (0.15, 0.6)
    bright_fraction: Ratio = 0.85

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw marks as shallow grooves, and the haze between them; texture is left there.

        Its mask is the patch, not the single marks.
        """
        radius = draw_size(rng, self.radius_px, self.radius_fraction, scene, MIN_KERNELS)
        width = max(2.0, 1.5 * scene.kernel_px * SCALE)
        marks = _marks(rng, radius, width)
        worn = cv2.GaussianBlur(marks, (0, 0), max(0.08 * radius, 1.5 * width))
        worn = np.clip(worn / np.percentile(worn[worn > 0.02], 90), 0, 1)
        marks = marks * np.clip(worn / FULL, 0, 1)  # a lone mark beside it is a scratch
        sign = 1 if rng.random() < self.bright_fraction else -1
        # Between the marks it is rubbed dull or bright too, less so.
        haze = worn * np.clip(1 + 0.3 * fractal_noise(rng, marks.shape, radius / 2), 0.4, 1.6)
        polish = rng.uniform(0.25, 0.6) if sign > 0 else rng.uniform(0.6, 1.2)
        return Drawing.of(
            rng,
            np.clip((worn - FULL) * 10 + 0.5, 0, 1),
            draw_strength(self.contrast, severity) * (1 if sign > 0 else 0.6),
            scene,
            tone=sign * (polish * haze + marks),
            height=-marks * np.float32(width / SCALE * rng.uniform(0.05, 0.3)),
            gone=np.clip(0.7 * marks + 0.3 * worn, 0, 1) * rng.uniform(0.5, 0.9),
            grit=fractal_noise(rng, marks.shape, 4, octaves=2) * worn * 0.1,
        )


def _marks(rng: Rng, radius: float, width: float) -> Map:
    """Return many fine marks along one direction, 0..1, dense in the middle and fewer outward."""
    aspect = rng.uniform(0.5, 2.2)  # of the patch, along its marks to across
    along, across = radius * aspect**0.5, radius / aspect**0.5
    half = int(2.6 * max(along, across)) + 8
    layer = np.zeros((2 * half, 2 * half), np.float32)
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    bow = rng.normal(0, 0.05)  # a hand moves along an arc
    # A rough thing has its own lanes: most marks lie in a few bundles.
    lanes = rng.uniform(-1, 1, int(rng.integers(4, 14)))
    number = int(np.clip(6 * across / width * rng.uniform(0.5, 1.5), 20, 500))
    for _ in range(number):
        lane = rng.choice(lanes) + rng.normal(0, 0.1) if rng.random() < 0.7 else rng.uniform(-1, 1)
        lane = float(np.clip(lane, -1.1, 1.1))
        room = along * max(0.15, 1 - lane * lane) ** 0.5  # shorter toward the patch's sides
        middle = rng.normal(0, 0.35) * room
        length = room * np.exp(rng.uniform(np.log(0.15), np.log(1.3)))
        t = np.linspace(-1, 1, 9) * length / 2 + middle
        side = lane * across + bow * t * t / radius + rng.normal(0, 0.02) * (t - middle)
        path = np.stack([t, side], 1) @ turn + half
        strength = float(np.clip(np.exp(rng.normal(-1.3, 0.7)), 0.05, 1))
        thick = max(1, round(width * rng.uniform(0.3, 1)))
        low = np.clip(np.floor(path.min(axis=0)).astype(int) - thick - 2, 0, 2 * half)
        high = np.clip(np.ceil(path.max(axis=0)).astype(int) + thick + 3, 0, 2 * half)
        if (high <= low).any():
            continue
        own = np.zeros(tuple(high[::-1] - low[::-1]), np.uint8)
        fixed = np.rint(path * 2**FRACTION_BITS).astype(np.int32)
        fixed -= (low * 2**FRACTION_BITS).astype(np.int32)
        press = np.sin(np.linspace(0.12, np.pi - 0.12, 8)) ** 0.7  # it sets in and leaves off
        for first, last, force in zip(fixed[:-1], fixed[1:], press, strict=True):
            one, level = np.zeros_like(own), int(255 * force)
            cv2.line(one, first.tolist(), last.tolist(), level, thick, cv2.LINE_AA, FRACTION_BITS)
            np.maximum(own, one, out=own)
        layer[low[1] : high[1], low[0] : high[0]] += own * np.float32(strength / 255)
    return np.asarray(1 - np.exp(-1.3 * cv2.GaussianBlur(layer, (0, 0), 0.6)), np.float32)
