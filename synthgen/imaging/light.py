"""Estimate where the light comes from by what it does to the relief of a surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.samples.arrays import Map, Mask

__all__ = ["Light", "guess_light"]

Floats = NDArray[np.float64]

MAX_TILES = 24
SIDE = 64  # of the tiles whose spectra are measured
BANDS = ((0.04, 0.09), (0.09, 0.17), (0.17, 0.3))  # cycles per pixel


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """Where the light comes from (0 = right, 90 = top) and how sure and directed, 0..1."""

    deg: float
    directedness: float


def guess_light(regions: Sequence[tuple[Map, Mask]], grain_sd: float) -> Light:
    """Return the azimuth along which the gradients of a relief lie, and from which of its two ends.

    A relief without a direction of its own, seen in raking light, has power of cos^2 of the angle
    to the light (Koenderink & Pont 2003, Irradiation direction from texture, JOSA A 20, 1875-1882):
    a second harmonic of .5 and no fourth one. Brushed or woven structure has a fourth one.
    Which end is ambiguous by nature: bumps lit from one look like dents lit from the other. The
    shading of the whole photo (brighter toward the light) and the abrupt ends of cast shadows
    vote; where they say nothing light comes from above, and directedness stays at .5 or below.
    """
    harmonics = [_harmonics(grey, where, grain_sd) for grey, where in regions]
    weight = sum(one[0] for one in harmonics)
    if weight <= 0:
        return Light(deg=90.0, directedness=0.0)
    second = sum(one[0] * one[1] for one in harmonics) / weight
    fourth = sum(one[0] * one[2] for one in harmonics) / weight
    agreed = sum(one[0] * one[3] for one in harmonics) / weight
    # .25 and less: unevenly distributed structure; .5: ideal; the fourth harmonic tells structure.
    directed = float(np.clip((abs(second) - 0.12) / 0.28, 0, 1))
    isotropic = float(np.clip(1.6 - 4.0 * abs(fourth), 0, 1))
    axis = float(np.angle(second)) / 2  # the direction in which brightness varies, y up
    side, sure = _choose_side(regions, axis)
    azimuth = axis if side > 0 else axis + np.pi
    confidence = directed * isotropic * agreed * (0.5 + 0.5 * sure)
    degrees = float(np.rad2deg(azimuth)) % 360
    return Light(deg=round(degrees, 2), directedness=round(confidence, 4))


def _harmonics(grey: Map, where: Mask, grain_sd: float) -> tuple[float, complex, complex, float]:
    """Return weight, second and fourth harmonic of power by angle, and how well bands agree."""
    from scipy.fft import rfft2  # a fifth of a second: loaded where it is used

    side = min(SIDE, *grey.shape)
    rows = range(0, grey.shape[0] - side + 1, max(1, side // 2))
    columns = range(0, grey.shape[1] - side + 1, max(1, side // 2))
    tiles = [
        grey[row : row + side, column : column + side]
        for row in rows
        for column in columns
        if where[row : row + side, column : column + side].mean() > 0.9
    ]
    if not tiles or side < 16:
        return 0.0, 0j, 0j, 0.0
    step = -(-len(tiles) // MAX_TILES)
    hann = np.hanning(side + 1)[:side]
    taper = np.outer(hann, hann)
    taper = (taper / np.sqrt((taper * taper).mean())).astype(np.float32)
    stack = np.stack(tiles[::step])
    stack = (stack - stack.mean(axis=(1, 2), keepdims=True)) * taper
    # Spectra of tiles, the middle of them: one edge in one tile says nothing of the light.
    power = np.abs(rfft2(stack)) ** 2 / side**2
    level = power.mean(axis=(1, 2), keepdims=True)
    power = (power / (level + np.median(level) + 1e-6)).mean(axis=0) * float(np.median(level) * 2)
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    radius, angle = np.hypot(fy, fx), np.arctan2(-fy, fx)  # image rows run down, angles up
    held = np.where((fx > 0) & (fx < 0.5), 2.0, 1.0)  # rfft2 holds half of the plane
    twice = np.broadcast_to(held, power.shape)
    found, masses = [], []
    for low, high in BANDS:
        band = (radius >= low) & (radius < high)
        total = float((power * twice)[band].sum()) - 1e-9
        floor = float(twice[band].sum()) * (grain_sd**2 + 1 / 12)
        signal = total - floor
        if signal < 0.25 * total or total <= 0:
            continue
        two, four = (
            complex((power * twice * np.exp(1j * n * angle))[band].sum()) / signal for n in (2, 4)
        )
        found.append((two, four))
        masses.append(1.0)
    if not found:
        return 0.0, 0j, 0j, 0.0
    twos, fours = np.array(found).T
    size = float(np.abs(twos).mean())
    agreed = float(np.abs(twos.mean()) / size) ** 2 if size > 0 else 0.0
    return float(len(tiles)) * sum(masses), complex(twos.mean()), complex(fours.mean()), agreed


def _choose_side(regions: Sequence[tuple[Map, Mask]], axis: float) -> tuple[int, float]:
    """Return +1 where the light comes along the axis, -1 from the other end, and how sure, 0..1."""
    along = np.array([np.cos(axis), -np.sin(axis)])  # x, y in the image (rows run down)
    votes = []
    for grey, where in regions:
        small = cv2.resize(grey, (24, 24), interpolation=cv2.INTER_AREA).astype(np.float64)
        inside = cv2.resize(where.astype(np.float32), (24, 24), interpolation=cv2.INTER_AREA) > 0.9
        if inside.sum() < 24:
            continue
        y, x = np.mgrid[-1:1:24j, -1:1:24j]
        place = (x * along[0] + y * along[1])[inside]
        place = place - place.mean()
        light = small[inside] - small[inside].mean()
        slope = float((place * light).sum() / (place**2).sum())
        rest = light - slope * place
        # The error of the slope, as if 1 cell in 4 were independent.
        error = float(np.sqrt((rest**2).mean() / (place**2).sum() * 4)) + 0.2
        shading = slope / error
        smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
        steep_x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)[::2, ::2]
        steep_y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)[::2, ::2]
        toward = np.float32(along[0]) * steep_x + np.float32(along[1]) * steep_y
        steep = toward[where[::2, ::2]]
        steep -= steep.mean()
        spread = float(steep.std()) + 1e-6
        # Away from the light a cast shadow ends abruptly, it begins softly: toward the light the
        # abrupt steps go down.
        skew = -float((steep * steep * steep).mean()) / spread**3
        votes.append(np.tanh(shading / 6) + np.tanh(skew / 0.8))
    total = float(np.mean(votes)) if votes else 0.0
    sure = float(np.clip(abs(total), 0, 1))
    if sure < 0.1:  # light from above, as eyes assume
        return (1 if np.sin(axis) >= 0 else -1), 0.0
    return (1 if total > 0 else -1), sure
