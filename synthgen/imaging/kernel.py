"""Estimate the Gaussian that blurs a photo, from its strongest edges and from its power spectrum.

Both see what is sharpest. An edge has a width of its own: where the surface itself is soft the two
can only tell an upper bound, so the strongest edges and a prior on the spectrum of surfaces count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.edges import find_edges, grain_floor, measure_widths
from synthgen.samples.arrays import Map, Mask

__all__ = [
    "UNSEEN",
    "KernelEstimate",
    "combine",
    "guess_by_edges",
    "guess_by_spectrum",
]

Floats = NDArray[np.float64]

SHARPEST_PX, SOFTEST_PX = 0.3, 6.0  # a pixel's own width is 0.29; softer shows no surface
FEWEST_EDGES = 12
STRONG = 0.35  # of the slope of the strongest
EDGE_PERCENTILE = 50.0  # of the widths of strong edges: some are soft, noise makes some narrow
MAX_TILES = 16
TILE = 128  # of the spectrum: frequencies from 0.02 cycles per pixel
SURFACE_SLOPE = 1.5  # b of the prior: photos of scenes have 2, surfaces close by less of the coarse
SOFT_GRAIN_COST = 2.0  # in squares: white grain is the rule
BIN_ERROR = 0.3  # of the logarithm of a spectrum's bin: surfaces are not exact power laws


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelEstimate:
    """A kernel's deviation in pixels, and how sure it is: the deviation of its logarithm."""

    kernel_px: float
    log_error: float


UNSEEN = KernelEstimate(kernel_px=0.8, log_error=0.9)  # of a photo that shows nothing but grain


def combine(guesses: Sequence[KernelEstimate]) -> KernelEstimate:
    """Return the mean of the guesses, in logarithms, weighted by how sure each is.

    That is by the inverse variance: the guesses are taken to be independent, and at least one.
    """
    weights = np.array([guess.log_error**-2.0 for guess in guesses])
    logs = np.log([guess.kernel_px for guess in guesses])
    mean = float((weights * logs).sum() / weights.sum())
    return KernelEstimate(kernel_px=float(np.exp(mean)), log_error=float(weights.sum() ** -0.5))


# ---- edges -------------------------------------------------------------------------------------


def guess_by_edges(regions: Sequence[tuple[Map, Mask]], grain: float) -> KernelEstimate | None:
    """Return the kernel by the widths of the strongest edges, or None where there are too few.

    ``grain`` is the deviation of the grain in grey levels. It is guessed after two Gaussians of
    rising width, at most; ``log_error`` grows by how far apart the two guesses are.
    """
    found: list[KernelEstimate] = []
    for smooth_px in (0.8, 1.6, 2.6):  # against grain: as little as leaves edges that stand out
        least = 8 * grain_floor(max(grain, 0.3), smooth_px)
        edges = [find_edges(grey, where, least, smooth_px) for grey, where in regions]
        strength = np.concatenate([one.strength for one in edges])
        if strength.size < FEWEST_EDGES:
            continue
        pairs = zip(regions, edges, strict=True)
        squares = np.concatenate([measure_widths(grey, one, smooth_px) for (grey, _), one in pairs])
        top = np.sort(strength)[-min(20, strength.size) :].mean()
        squares = squares[(strength > STRONG * top) & np.isfinite(squares)]
        if squares.size < FEWEST_EDGES:
            continue
        low, middle, high = np.percentile(squares, [20, EDGE_PERCENTILE, 60])
        kernel = float(np.sqrt(np.clip(middle, SHARPEST_PX**2, SOFTEST_PX**2)))
        spread = float(high - low) / 4 / kernel**2  # of ln(kernel): half of that of ln(square)
        found.append(KernelEstimate(kernel_px=kernel, log_error=float(np.hypot(0.1, spread))))
        if len(found) == 2:  # a camera that sharpens has edges that look sharper to the first
            break
    if len(found) < 2:
        return found[0] if found else None
    both = combine(found)
    apart = abs(float(np.log(found[0].kernel_px / found[1].kernel_px))) / 2
    # Both saw the same edges: they are not two independent votes.
    sure = min(guess.log_error for guess in found)
    return KernelEstimate(kernel_px=both.kernel_px, log_error=float(np.hypot(sure, apart)))


# ---- spectrum ----------------------------------------------------------------------------------


def guess_by_spectrum(regions: Sequence[tuple[Map, Mask]]) -> KernelEstimate | None:
    """Return the kernel by the fall-off of the power spectrum, or None where all is masked.

    The model is A f^-b exp(-4 pi^2 s^2 f^2) + N: a surface of power law (whole scenes have b = 2:
    Field 1987, JOSA A 4, 2379-2394), a Gaussian of s px, and grain.
    """
    if min(min(grey.shape) for grey, _ in regions) < 16:
        return None
    frequencies, power = measure_spectrum(regions)
    if frequencies.size < 8 or not power.min() > 0:  # too small, or one flat level
        return None
    return fit_spectrum(frequencies, power)


def measure_spectrum(regions: Sequence[tuple[Map, Mask]]) -> tuple[Floats, Floats]:
    """Return frequencies (cycles per pixel, 0.03 .. 0.5) and the mean power there (Welch)."""
    from scipy.fft import rfft2  # a fifth of a second: loaded where it is used

    side = min(TILE, *(min(grey.shape) for grey, _ in regions))
    side -= side % 2
    tiles, inside = [], []
    for grey, where in regions:
        for rows in _starts(grey.shape[0], side):
            for columns in _starts(grey.shape[1], side):
                window = slice(rows, rows + side), slice(columns, columns + side)
                part = where[window]
                inside.append(float(part.mean()))
                tile = grey[window]
                if 0 < inside[-1] < 1:  # what lies around the part is not an edge of it
                    tile = np.where(part, tile, tile[part].mean()).astype(np.float32)
                tiles.append(tile)
    least = max(inside)  # tiles that the part fills, or the fullest there is
    kept = [tile for tile, full in zip(tiles, inside, strict=True) if full >= least]
    stack = np.stack(kept[:: -(-len(kept) // MAX_TILES)])
    hann = np.hanning(side + 1)[:side]
    taper = np.outer(hann, hann)
    taper = (taper / np.sqrt((taper * taper).mean())).astype(np.float32)
    stack = (stack - stack.mean(axis=(1, 2), keepdims=True)) * taper
    power = (np.abs(rfft2(stack)) ** 2).mean(axis=0) / side**2
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    edges = np.geomspace(3.5 / side, 0.5, 21)
    place = np.digitize(radius.ravel(), edges) - 1
    ringed = (place >= 0) & (place < 20)
    counts = np.bincount(place[ringed], minlength=20)
    filled = counts > 0
    sums = [np.bincount(place[ringed], part.ravel()[ringed], 20) for part in (radius, power)]
    frequency, mean = (one[filled] / counts[filled] for one in sums)
    return frequency, mean


def _starts(length: int, side: int) -> list[int]:
    """Return where tiles start that overlap by half and cover the length."""
    count = max(1, -(-(length - side) // (side // 2)) + 1)
    return [int(start) for start in np.linspace(0, length - side, count)]


def fit_spectrum(frequencies: Floats, power: Floats) -> KernelEstimate:
    """Return mean and deviation of ln s over a grid of (s, b, N, g), weighted by how each fits.

    g is how soft the grain is: compressed or denoised, its power falls toward high frequencies.
    """
    kernels = np.geomspace(SHARPEST_PX * 0.8, SOFTEST_PX, 28)
    slopes = np.array([1.0, 1.5, 2.0, 2.6])
    grains = np.array([0.0, 0.45, 0.65])
    floors = np.array([0.0, 0.4, 0.8, 1.0])
    s, b, n, g = (
        axis[..., None] for axis in np.meshgrid(kernels, slopes, floors, grains, indexing="ij")
    )
    logs = np.log(frequencies)
    shape = -b * logs - 4 * np.pi**2 * (s * frequencies) ** 2
    # No more grain than where there is least power; 1/12 is that of whole grey levels.
    falls = np.exp(-4 * np.pi**2 * g**2 * (frequencies**2 - frequencies[-1] ** 2))
    floor = n * float(np.sort(power)[:2].mean()) * falls + 1 / 12
    surface = np.log(np.maximum(power - floor, 0.3 * power)) - shape
    clear = power > 3 * floor  # the height, from where the surface shows above the grain
    clear[..., :4] = True
    height = (surface * clear).sum(-1, keepdims=True) / clear.sum(-1, keepdims=True)
    model = np.logaddexp(height + shape, np.log(floor))
    misfit = (np.log(power + 1e-6) - model) / BIN_ERROR
    cost = (2 * (np.sqrt(1 + misfit**2) - 1)).sum(-1)  # as squares, but outliers count less
    # Where no model fits, none is sure.
    cost /= max(1.0, float(cost.min()) / max(len(power) - 5, 1))
    cost += ((b[..., 0] - SURFACE_SLOPE) / 0.4) ** 2 + (g[..., 0] > 0) * SOFT_GRAIN_COST
    weights = np.exp(-0.5 * (cost - cost.min()))
    weights /= weights.sum()
    log_s = np.log(s[..., 0])
    mean = float((weights * log_s).sum())
    spread = float(np.sqrt((weights * (log_s - mean) ** 2).sum()))
    kernel = float(np.clip(np.exp(mean), SHARPEST_PX, SOFTEST_PX))
    return KernelEstimate(kernel_px=kernel, log_error=float(np.hypot(0.1, spread)))
