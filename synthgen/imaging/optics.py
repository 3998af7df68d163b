"""Measure what a photo's camera and light do to a surface, from the photo alone.

What is painted on a photo needs its sharpness, grain, levels and light, or it looks like a sticker
(DESIGN.md, decision 9). Every estimate is deterministic: the same photo, the same numbers.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.grain import (
    IMMERKAER,
    Grain,
    guess_grain,
    guess_jpeg_quality,
    measure_blocks,
    shape_grain,
)
from synthgen.imaging.kernel import (
    UNSEEN,
    KernelEstimate,
    combine,
    guess_by_edges,
    guess_by_spectrum,
)
from synthgen.imaging.light import guess_light
from synthgen.samples.arrays import Image, Map, Mask
from synthgen.samples.optics import Optics

__all__ = ["Optics", "draw_grain", "estimate_near", "estimate_optics"]

Region = tuple[Map, Mask]

WHOLE_PX = 460 * 460  # a photo up to this size is measured whole, a larger one in five places
REGION_PX = 208
RIM_PX = 5
GREY_LIKENESS = 0.6  # correlation of the channels' grain: above it is the same in all
NEAR_ERROR = 0.15  # deviation of ln(kernel) over one photo: depth of field, tilt
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601, as cv2.COLOR_RGB2GRAY


def estimate_optics(image: Image, where: Mask | None = None) -> Optics:
    """Return the optics of a photo (H, W, 3) RGB; ``where`` (H, W) is the part, True = part.

    A photo of up to 460 x 460 px is measured whole, a larger one in five squares of 208 px. An
    empty ``where`` counts as the whole photo.
    """
    grey = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)  # not rounded to levels
    inside = np.ones(grey.shape, np.bool_)
    if where is not None and where.any():
        # Without its rim, whose edge against what lies around is not the part's own.
        rim = np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)
        inner = cv2.erode(where.astype(np.uint8), rim, borderValue=1) > 0
        inside = np.asarray(inner if inner.any() else where, np.bool_)
    windows = _choose_windows(grey, inside)
    regions = [(grey[window], inside[window]) for window in windows]
    blocks = measure_blocks(regions)
    kernel = _guess_kernel(regions, _mean_grain(guess_grain(blocks))).kernel_px
    grain = guess_grain(blocks, kernel)
    likeness = _channel_likeness(image, windows)
    light = guess_light(regions, _mean_grain(grain))
    # The levels that it can show: half-way between those of the part and of the whole photo. A
    # plain part shows little of what the camera can, a table behind it may show too much.
    ends = [np.percentile(levels, [0.1, 99.9]) for levels in (grey[inside], grey[::2, ::2])]
    black, white = np.mean(ends, axis=0)
    streak_deg, streak_fraction = _streaks(regions)
    factor = 1.0 if likeness > GREY_LIKENESS else 1 / float(np.linalg.norm(GREY_WEIGHTS))
    return Optics(
        kernel_px=round(kernel, 4),
        grain_levels=grain.levels,
        # Grain that differs between channels cancels in their mean: each has more of its own.
        grain_sd=tuple(round(one * factor, 4) for one in grain.sd),
        grain_px=grain.px,
        grain_is_grey=likeness > GREY_LIKENESS,
        black_level=round(float(black), 2),
        white_level=round(float(max(white, black + 1)), 2),
        light_deg=light.deg,
        light_directedness=light.directedness,
        streak_deg=streak_deg,
        streak_fraction=streak_fraction,
        jpeg_quality=guess_jpeg_quality(grey),
    )


def estimate_near(optics: Optics, image: Image, window: tuple[slice, slice]) -> Optics:
    """Return the optics near a place: its kernel, shrunk toward the photo's by what shows there.

    The kernel varies over a photo by depth of field; grain, light and levels are the camera's.
    ``window`` is (rows, columns); under 16 px a side it tells nothing.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(image[window]), cv2.COLOR_RGB2GRAY)
    if min(grey.shape) < 16:
        return optics
    region = grey.astype(np.float32), np.ones(grey.shape, np.bool_)
    middle = float(np.median(grey))
    grain = float(np.interp(middle, optics.grain_levels, optics.grain_sd))
    if not optics.grain_is_grey:
        grain *= float(np.linalg.norm(GREY_WEIGHTS))
    here = _guess_kernel([region], grain)
    photo = KernelEstimate(kernel_px=optics.kernel_px, log_error=NEAR_ERROR)
    return replace(optics, kernel_px=round(combine([photo, here]).kernel_px, 4))


def draw_grain(rng: np.random.Generator, optics: Optics, levels: Map) -> NDArray[np.float32]:
    """Draw grain of the photo's strength at these levels (H, W): (H, W, 3), in grey levels."""
    strength = optics.grain_at(levels)
    height, width = levels.shape
    count = 1 if optics.grain_is_grey else 3
    channels = [shape_grain(rng, (height, width), optics.grain_px) for _ in range(count)]
    grain = np.stack(channels * (3 // count), axis=-1) * strength[..., None]
    return np.asarray(grain, np.float32)


def _guess_kernel(regions: list[Region], grain: float) -> KernelEstimate:
    """Return the kernel by edges and by the spectrum, each as far as it is sure."""
    guesses = [UNSEEN, guess_by_edges(regions, grain), guess_by_spectrum(regions)]
    return combine([guess for guess in guesses if guess is not None])


def _choose_windows(grey: Map, inside: Mask) -> list[tuple[slice, slice]]:
    """Return the whole photo, or the liveliest square of each quarter and of the middle."""
    height, width = grey.shape
    if height * width <= WHOLE_PX:
        return [(slice(0, height), slice(0, width))]
    side = min(REGION_PX, height, width)
    cell = 16
    small = cv2.resize(grey, (width // cell, height // cell), interpolation=cv2.INTER_AREA)
    part = cv2.resize(
        inside.astype(np.float32), (width // cell, height // cell), interpolation=cv2.INTER_AREA
    )
    lively = cv2.magnitude(
        cv2.Sobel(small, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(small, cv2.CV_32F, 0, 1, ksize=3)
    )
    window = max(1, side // cell)
    score = cv2.boxFilter(lively * part, -1, (window, window), borderType=cv2.BORDER_CONSTANT)
    score += 1000 * cv2.boxFilter(part, -1, (window, window), borderType=cv2.BORDER_CONSTANT)
    rows, columns = score.shape
    quarters = [
        (slice(top, top + rows // 2), slice(left, left + columns // 2))
        for top, left in ((0, 0), (0, columns // 2), (rows // 2, 0), (rows // 2, columns // 2))
    ]
    quarters.append((slice(rows // 4, 3 * rows // 4), slice(columns // 4, 3 * columns // 4)))
    windows: list[tuple[slice, slice]] = []
    for quarter in quarters:
        best = int(score[quarter].argmax())
        row, column = divmod(best, score[quarter].shape[1])
        centre_y, centre_x = (quarter[0].start + row) * cell, (quarter[1].start + column) * cell
        top = int(np.clip(centre_y - side // 2, 0, height - side))
        left = int(np.clip(centre_x - side // 2, 0, width - side))
        one = (slice(top, top + side), slice(left, left + side))
        if one not in windows:
            windows.append(one)
    return windows


def _mean_grain(grain: Grain) -> float:
    return float(np.mean(grain.sd))


def _channel_likeness(image: Image, windows: list[tuple[slice, slice]]) -> float:
    """Return the correlation of the finest structure of red and green and of green and blue."""
    found = []
    for window in windows:
        red, green, blue = cv2.split(np.ascontiguousarray(image[window]))
        if not cv2.absdiff(red, green).any() and not cv2.absdiff(green, blue).any():
            return 1.0
        fine = [
            cv2.filter2D(one, cv2.CV_32F, IMMERKAER)[::2, ::2].ravel() for one in (red, green, blue)
        ]
        # The quieter part, by green: edges are alike in all channels whatever the grain.
        size = np.abs(fine[1])
        quiet = [one[size <= np.percentile(size, 70)] for one in fine]
        for other in (quiet[0], quiet[2]):
            spread = float(np.sqrt((other * other).mean() * (quiet[1] * quiet[1]).mean()))
            found.append(float((other * quiet[1]).mean()) / max(spread, 1e-6))
    return float(np.mean(found))


def _streaks(regions: list[Region]) -> tuple[float, float]:
    """Return the direction of the texture's streaks, in degrees, and their share 0..1.

    The axis of least change and the coherence of the structure tensor (Bigun and Granlund 1987).
    Rolling, brushing and drawing leave streaks; what rubs or is rolled in goes along with them.
    """
    tensor = np.zeros(3)
    for grey, where in regions:
        soft = cv2.GaussianBlur(grey, (0, 0), 1.0)
        x, y = (cv2.Sobel(soft, cv2.CV_32F, dx, 1 - dx, ksize=3)[where] for dx in (1, 0))
        tensor += [float((x * x).mean()), float((y * y).mean()), float((x * y).mean())]
    xx, yy, xy = tensor / max(len(regions), 1)
    across = 0.5 * np.arctan2(2 * xy, xx - yy)  # of most change, y downward
    fraction = float(np.hypot(xx - yy, 2 * xy)) / max(xx + yy, 1e-6)
    return round(float(np.rad2deg(np.pi / 2 - across)) % 180, 1), round(fraction, 3)
