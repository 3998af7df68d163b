"""Random fields that surfaces and defects are made of. All (H, W) float32, mean 0, deviation 1."""

from __future__ import annotations

import cv2
import numpy as np

from synthgen.samples.arrays import Map

__all__ = ["fractal_noise", "relief_shading", "standardise", "streaks", "white_noise"]


def standardise(field: Map) -> Map:
    """Return the field with mean 0 and standard deviation 1 (all 0 where it is flat)."""
    centred = field - field.mean()
    return np.asarray(centred / (centred.std() + 1e-6), dtype=np.float32)


def white_noise(rng: np.random.Generator, size_hw: tuple[int, int]) -> Map:
    """Return normal noise, each pixel by itself."""
    return rng.standard_normal(size_hw, dtype=np.float32)


def fractal_noise(
    rng: np.random.Generator,
    size_hw: tuple[int, int],
    feature_px: float,
    stretch: float = 1.0,
    octaves: int = 3,
    persistence: float = 0.5,
) -> Map:
    """Return value noise summed over octaves: random grids, enlarged by bicubic interpolation.

    ``feature_px`` is the size of the largest blobs across; ``stretch`` makes them longer along x.
    Each octave has blobs of half the size and ``persistence`` times the strength of the one before.
    """
    height, width = size_hw
    total = np.zeros(size_hw, np.float32)
    for octave in range(octaves):
        cell = max(1.0, feature_px / 2**octave)
        rows = max(2, round(height / cell) + 2)
        columns = max(2, round(width / (cell * stretch)) + 2)
        grid = white_noise(rng, (rows, columns))
        total += persistence**octave * cv2.resize(
            grid, (width, height), interpolation=cv2.INTER_CUBIC
        )
        if cell == 1.0:
            break
    return standardise(total)


def streaks(
    rng: np.random.Generator, size_hw: tuple[int, int], length_px: float, angle_deg: float
) -> Map:
    """Return fine parallel streaks of about ``length_px``, along ``angle_deg`` (0 = along x).

    They are white noise that is blurred along one direction.
    """
    height, width = size_hw
    side = int(np.ceil(np.hypot(height, width))) + 2
    side_hw = (height, width) if abs(angle_deg) < 1e-3 else (side, side)
    kernel = max(3, int(length_px) | 1)
    field = cv2.blur(white_noise(rng, side_hw), (kernel, 1), borderType=cv2.BORDER_REFLECT)
    if side_hw != (height, width):
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), angle_deg, 1.0)
        turn[:, 2] += (width / 2 - side / 2, height / 2 - side / 2)
        field = cv2.warpAffine(
            field, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
    return standardise(field)


def relief_shading(height: Map, light_deg: float) -> Map:
    """Return the slope of a height field toward the light: > 0 faces it (Lambert, small slopes).

    ``light_deg`` is where the light comes from, 0 = right, 90 = top, as seen in the image.
    Units: height change per pixel.
    """
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    azimuth = np.deg2rad(light_deg)
    return np.asarray(-slope_x * np.cos(azimuth) + slope_y * np.sin(azimuth), dtype=np.float32)
