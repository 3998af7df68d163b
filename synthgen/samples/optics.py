"""The optics of a photo, as numbers; apart from what measures them, so that it costs no import."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthgen.samples.arrays import Map

__all__ = ["Optics"]

GLINT = 0.25  # of the room between the photo's white level and the camera's
GLOOM = 0.75  # of that between its black level and the camera's


@dataclass(frozen=True, slots=True, kw_only=True)
class Optics:
    """What a photo's camera and light do to a surface. Lengths in pixels, levels 0..255.

    The defaults are a sharp camera without grain under diffuse light from the upper right.
    """

    kernel_px: float = 0.5  # deviation of the Gaussian that blurs the photo, 0.3 .. 6
    grain_levels: tuple[float, ...] = (128.0,)  # levels at which grain is told, rising
    grain_sd: tuple[float, ...] = (0.0,)  # deviation of each channel's grain there, grey levels
    grain_px: float = 0.0  # deviation of the Gaussian that white noise was blurred with, 0 = white
    grain_is_grey: bool = True  # the same grain in all three channels
    black_level: float = 0.0  # what the photo reaches at its dark end, or clips at
    white_level: float = 255.0  # and at its bright end
    light_deg: float = 45.0  # where the light comes from: 0 = right, 90 = top
    light_directedness: float = 0.0  # 0 = diffuse, or cannot be told .. 1 = raking light
    streak_deg: float = 0.0  # direction of the texture's streaks: 0 = along x, 90 = up
    streak_fraction: float = 0.0  # 0 = none .. 1 = nothing but streaks
    jpeg_quality: int | None = None  # whose 8 x 8 blocks show in the pixels; None = none seen

    @property
    def glint_level(self) -> float:
        """The brightest level of a defect: bare metal outshines what a plain photo shows."""
        return self.white_level + GLINT * (255.0 - self.white_level)

    @property
    def gloom_level(self) -> float:
        """The darkest level of a defect: dirt and holes are darker than a plain photo."""
        return self.black_level * (1 - GLOOM)

    def grain_at(self, levels: Map) -> Map:
        """Return the deviation of the grain at grey levels (H, W), in grey levels."""
        return np.interp(levels, self.grain_levels, self.grain_sd).astype(np.float32)
