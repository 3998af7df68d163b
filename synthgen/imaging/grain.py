"""Estimate the grain of a photo's sensor: how strong at which level, how correlated; and JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.samples.arrays import Map, Mask

__all__ = [
    "IMMERKAER",
    "Grain",
    "guess_grain",
    "guess_jpeg_quality",
    "measure_blocks",
    "shape_grain",
]

Floats = NDArray[np.float64]

# Blind to planes and to soft edges; answers white noise with 6 times its deviation (Immerkaer
# 1996, Fast noise variance estimation, CVIU 64, 300-302).
IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
BLOCK = 8
QUIET_FRACTION = 0.3  # of the blocks of a level: there the surface adds least to the grain
SPACINGS = (1, 2, 3)  # pixels between the taps of the mask
WELL_EXPLAINED = 0.06  # as a fraction of what was measured
WHITE = 36.0  # the energy by which the mask answers white noise of deviation 1
MIN_KERNEL_PX = 1.1  # of photos whose coarser mask sees grain alone
MIN_SD = 0.15  # grey levels: no sensor has less grain
KNOTS = 5  # levels at which grain is told, where the photo has that many
WHOLE_LEVELS = 1 / 12  # the variance that rounding to whole levels adds
MAX_CORRELATED_PX = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Grain:
    """Grain by level: knots and deviations in grey levels; ``px``: how soft, 0 = white."""

    levels: tuple[float, ...]
    sd: tuple[float, ...]
    px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Level (N,) and mean squared answers (3, N) to the three masks, of blocks of 8 px."""

    levels: Floats
    energies: Floats


def measure_blocks(regions: Sequence[tuple[Map, Mask]]) -> Blocks:
    """Return the blocks of 8 px of a photo's regions that lie on the part and are not clipped.

    Each region is grey (H, W), 0..255, and where the part is, (H, W).
    """
    found = [_block_energies(grey, where) for grey, where in regions]
    return Blocks(
        levels=np.concatenate([one[0] for one in found]),
        energies=np.concatenate([one[1] for one in found], axis=1),
    )


def guess_grain(blocks: Blocks, kernel_px: float = 0.0) -> Grain:
    """Return the grain of a photo's quietest blocks of 8 px, by their level.

    What the surface adds there is taken for grain where a photo is as sharp as its pixels. Only a
    kernel of 1.1 px or more keeps the surface out of the coarser mask, which tells soft grain.
    """
    levels, energies = blocks.levels, blocks.energies
    if levels.size < 4:
        return Grain(levels=(128.0,), sd=(0.0,), px=0.0)
    order = np.argsort(levels, kind="stable")
    parts = np.array_split(order, max(1, min(KNOTS, levels.size // 40)))
    is_soft = kernel_px >= MIN_KERNEL_PX
    ranks = energies[:2].sum(axis=0) if is_soft else energies[0]
    quiet = []
    for part in parts:
        kept = part[np.argsort(ranks[part], kind="stable")]
        quiet.append(kept[: max(4, round(QUIET_FRACTION * kept.size))])
    # Rounding is white noise of its own, and what is drawn will be rounded again.
    unbiased = energies / _quiet_bias()[is_soft][:, None] - WHITE * WHOLE_LEVELS
    px, surface = 0.0, 0.0
    if is_soft:
        px, surface = _split(unbiased[:, np.concatenate(quiet)].mean(axis=1), kernel_px)
    row, gain = (1, _immerkaer_gain(px, 2)) if px > 0 else (0, WHITE)
    found = [max(float(unbiased[row, kept].mean()) - surface, 0.0) for kept in quiet]
    knots = np.array([levels[part].mean() for part in parts])
    rising = np.maximum.accumulate(knots + 1e-3 * np.arange(len(knots)))
    return Grain(
        levels=tuple(round(float(one), 3) for one in rising),
        sd=tuple(round(float(np.sqrt(energy / gain)), 4) for energy in found),
        px=px,
    )


def _block_energies(grey: Map, where: Mask) -> tuple[Floats, Floats]:
    """Return level (N,) and fine structure (3, N) of the blocks inside the mask."""
    height, width = (length // BLOCK * BLOCK for length in grey.shape)
    if not height or not width:
        return np.zeros(0), np.zeros((len(SPACINGS), 0))
    # The same mask on every second and third pixel sees coarser structure.
    answers = []
    for spacing in SPACINGS:
        mask = np.zeros((1 + 2 * spacing, 1 + 2 * spacing), np.float32)
        mask[::spacing, ::spacing] = IMMERKAER
        answers.append(cv2.filter2D(grey, cv2.CV_32F, mask))
    usable = where & (grey > 0.5) & (grey < 254.5)  # clipped pixels show no grain
    size = (width // BLOCK, height // BLOCK)

    def shrink(field: NDArray[np.float32]) -> Floats:
        small = cv2.resize(field[:height, :width], size, interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.float64).ravel()

    whole = shrink(usable.astype(np.float32)) > 0.99
    parts = [shrink(answer * answer)[whole] for answer in answers]
    return shrink(grey)[whole], np.stack(parts)


@cache
def _quiet_bias() -> tuple[Floats, Floats]:
    """Return by how much the quietest blocks of white noise are below all, by each mask.

    Once chosen by the finest mask alone, once by the sum of the two finer ones.
    """
    noise = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32) * 8 + 128
    _, energies = _block_energies(noise, np.ones(noise.shape, np.bool_))
    biases = []
    for ranks in (energies[0], energies[:2].sum(axis=0)):
        quiet = np.argsort(ranks, kind="stable")[: round(QUIET_FRACTION * ranks.size)]
        biases.append(energies[:, quiet].mean(axis=1) / energies.mean(axis=1))
    return biases[0], biases[1]


def _immerkaer_gain(px: float, spacing: int = 1) -> float:
    """Return the energy by which the mask answers noise of deviation 1, correlated by ``px``."""
    lags = np.arange(-2, 3) * spacing
    # How alike white noise, blurred by a sampled Gaussian, is to itself after each of these shifts.
    likeness = np.where(lags == 0, 1.0, 0.0)
    if px >= 0.05:
        reach = np.arange(-12, 13)
        taps = np.exp(-(reach**2) / (2 * px * px))
        taps /= np.sqrt((taps * taps).sum())
        full = np.correlate(taps, taps, "full")
        likeness = np.asarray(full[lags + full.size // 2], np.float64)
    # The mask is [-1 2 -1] along rows times the same along columns, whose autocorrelation this is.
    weights = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
    return float((weights * likeness).sum() ** 2)


def _split(energies: Floats, kernel_px: float) -> tuple[float, float]:
    """Return how soft the grain is (0 = white), and what the surface adds to the second mask.

    Grain of some softness and a surface of some strength that the kernel blurred are fitted to the
    answers of three masks. The least soft grain that explains them counts: white grain is the rule,
    below 0.4 px it cannot be told, and grain is never softer than its photo.
    """
    if energies[1] < WHITE * MIN_SD**2:
        return 0.0, 0.0
    from scipy.optimize import nnls  # half a second: loaded where it is used

    # How the three masks answer a surface (power f^-1.5) that the kernel blurred.
    fy, fx = np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None]
    squared = fy**2 + fx**2
    power = (squared + 1e-9) ** -0.75 * np.exp(-4 * np.pi**2 * kernel_px**2 * squared)
    gains = []
    for spacing in SPACINGS:
        rows, columns = (2 - 2 * np.cos(2 * np.pi * spacing * axis) for axis in (fy, fx))
        gains.append(float((power * (rows * columns) ** 2).sum()))
    surface = np.array(gains) / max(gains)
    found = []
    for px in (0.0, *np.arange(0.4, min(MAX_CORRELATED_PX, kernel_px), 0.02)):
        grain = np.array([_immerkaer_gain(px, spacing) for spacing in SPACINGS])
        parts, misfit = nnls(np.stack([grain, surface], axis=1) / energies[:, None], np.ones(3))
        found.append(
            (float(misfit), round(float(px), 2), float(parts[1] * surface[1]) if px > 0 else 0.0)
        )
    least = min(found)
    return found[0][1:] if found[0][0] < least[0] + WELL_EXPLAINED else least[1:]


def shape_grain(rng: np.random.Generator, size_hw: tuple[int, int], px: float) -> Map:
    """Draw noise of deviation 1, white or blurred by a Gaussian of ``px`` pixels: (H, W)."""
    if px < 0.05:
        return rng.standard_normal(size_hw, dtype=np.float32)
    margin = int(np.ceil(4 * px))
    height, width = size_hw
    noise = rng.standard_normal((height + 2 * margin, width + 2 * margin), dtype=np.float32)
    taps = cv2.getGaussianKernel(2 * margin + 1, px, cv2.CV_32F)
    soft = cv2.sepFilter2D(noise, cv2.CV_32F, taps, taps) / float((taps * taps).sum())
    return np.asarray(soft[margin : margin + height, margin : margin + width], np.float32)


# ---- JPEG --------------------------------------------------------------------------------------

# ITU-T T.81 (1992), table K.1: luminance, quality 50 of libjpeg.
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
PLACES = [(v, u) for v in range(5) for u in range(5) if 0 < v + u < 5]
QUALITIES = range(30, 97)
MAX_BLOCKS = 500
SURE = 0.5  # mean cosine at the multiples of a table's steps: 1 = all lie there, 0 = anywhere


def guess_jpeg_quality(grey: Map) -> int | None:
    """Return the quality at whose steps the 8 x 8 DCT coefficients lie, or None where at none's.

    The blocks are taken to start at pixel (0, 0), as they do in a photo that was not cropped.
    Map is (H, W), 0..255.
    """
    height, width = (length // 8 * 8 for length in grey.shape)
    grid = grey[:height, :width].reshape(height // 8, 8, width // 8, 8)
    blocks = grid.transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    clipped = (blocks.max(axis=(1, 2)) >= 254.5) | (blocks.min(axis=(1, 2)) <= 0.5)
    blocks = blocks[~clipped]
    blocks = blocks[:: max(1, -(-len(blocks) // MAX_BLOCKS))]
    if len(blocks) < 16:
        return None
    k, n = np.mgrid[:8, :8]
    basis = (np.sqrt(2 / 8) * np.cos(np.pi * (2 * n + 1) * k / 16)).astype(np.float32)
    basis[0] /= np.sqrt(2)
    coefficients = basis @ (blocks - 128) @ basis.T
    steps = np.arange(1, 40, dtype=np.float32)
    sums, counts = np.zeros((len(PLACES), 40)), np.zeros((len(PLACES), 40))
    for row, (v, u) in enumerate(PLACES):
        one = coefficients[:, v, u][:, None]
        shown = np.abs(one) > 0.6 * steps  # what was rounded to 0 tells no step
        sums[row, 1:] = (np.cos(2 * np.pi * one / steps) * shown).sum(axis=0)
        counts[row, 1:] = shown.sum(axis=0)
    best, best_score = None, SURE
    rows = np.arange(len(PLACES))
    for quality in QUALITIES:
        scale = 5000 / quality if quality < 50 else 200 - 2 * quality
        table = np.clip(np.floor((LUMINANCE * scale + 50) / 100), 1, 255).astype(int)
        step = np.minimum([table[place] for place in PLACES], 39)
        fine = (step >= 2) & (step < 39)
        total = counts[rows, step][fine].sum()
        if total < 60:
            continue
        score = sums[rows, step][fine].sum() / total
        score += 0.01 * (quality % 5 == 0)  # neighbours' tables are nearly alike
        if score > best_score:
            best, best_score = quality, float(score)
    return best
