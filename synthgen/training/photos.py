"""Photographs and a camera: what makes crops to learn from look taken rather than drawn.

The camera's optics are known, so that a defect is drawn with the same ones as its surface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.imaging.images import LUMA, compress_jpeg, holds_grey, to_levels, to_rgb8
from synthgen.imaging.optics import Optics, draw_grain, estimate_optics
from synthgen.progress import track
from synthgen.samples.arrays import Image
from synthgen.sources import FolderSources

__all__ = ["CameraModel", "PhotoFolder", "Photos", "SurfaceView", "draw_camera"]

Rng = np.random.Generator

KERNELS_PX = ((0.4, 0.8), (0.8, 1.6), (1.6, 4.0))  # deviations of blurs: sharp, middling, soft
KERNEL_FRACTIONS = (0.5, 0.3, 0.2)  # of the cameras, that have them


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class PhotoFolder:
    """A folder of photos to learn surfaces from, and what the model card says of it."""

    path: Annotated[str, Field(min_length=1)]
    surface: Annotated[str, Field(min_length=1)]  # its word in prompts
    origin: Annotated[str, Field(min_length=1)]
    licence: Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceView:
    """A piece of surface (S, S, 3) before the camera takes it, its word, and its own optics."""

    image: Image
    surface: str
    optics: Optics


class Photos:
    """Photos in memory (grey ones with one channel); raises SourceError for a folder without any.

    ``counts``: how many photos each folder has, by its name. The optics of a photo are measured
    when a crop of it is first asked for.
    """

    def __init__(self, folders: Mapping[str, PhotoFolder]) -> None:
        self.counts: dict[str, int] = {}
        self._images: list[list[Image]] = []
        self._surfaces: list[str] = []
        self._optics: dict[tuple[int, int], Optics] = {}
        for name, folder in sorted(folders.items()):
            sources = FolderSources(folder.path, folder.surface, foreground="all")
            images: list[Image] = []
            for entry in track(sources.entries, f"reading the photos of {name}", unit="photos"):
                source = sources.read(entry.source_id)
                rgb = to_rgb8(source.pixels, source.window)
                images.append(np.ascontiguousarray(rgb[..., 0]) if holds_grey(rgb) else rgb)
            self.counts[name] = len(images)
            self._images.append(images)
            self._surfaces.append(folder.surface)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def draw(self, rng: Rng, size_px: int) -> SurfaceView:
        """Return a crop (S, S, 3), turned, mirrored and zoomed by 0.6 to 1.6, with its optics.

        Folders come equally often, however many photos they hold.
        """
        number = int(rng.integers(len(self._images)))
        photo = int(rng.integers(len(self._images[number])))
        image = self._images[number][photo]
        side = min(round(size_px / rng.uniform(0.6, 1.6)), *image.shape[:2])
        row, column = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
        cut = np.rot90(image[row : row + side, column : column + side], int(rng.integers(4)))
        cut = cut[:, ::-1] if rng.random() < 0.5 else cut
        how = cv2.INTER_AREA if side > size_px else cv2.INTER_CUBIC
        crop = cv2.resize(np.ascontiguousarray(cut), (size_px, size_px), interpolation=how)
        if (number, photo) not in self._optics:
            self._optics[number, photo] = estimate_optics(to_rgb8(image, (0, 255)))
        own, factor = self._optics[number, photo], size_px / side
        optics = replace(
            own,
            kernel_px=max(0.4, own.kernel_px * factor),
            # Fewer pixels average the grain away.
            grain_sd=tuple(sd * min(1.0, factor) for sd in own.grain_sd),
            grain_px=max(own.grain_px, 0.4) * factor if factor > 1 else own.grain_px * factor,
        )
        return SurfaceView(
            to_rgb8(np.asarray(crop, np.uint8), (0, 255)), self._surfaces[number], optics
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraModel:
    """How a scene becomes a picture. A gain, gamma or tint of 1 does nothing, nor does 0 or None.

    ``gain``: factor of the light; ``gamma``: exponent of levels 0..1, after it.
    """

    gain: float
    gamma: float
    tint: NDArray[np.float32]  # (3,), factors of red, green, blue
    slope: tuple[float, float]  # light over the picture: change from edge to edge, down and across
    is_grey: bool
    blur_px: float  # Gaussian deviation
    noise: tuple[float, float]  # deviation in grey levels: constant, and at white (shot noise)
    noise_px: float  # deviation of the Gaussian that the noise was blurred with
    jpeg_quality: int | None

    def take(self, rng: Rng, view: SurfaceView) -> tuple[Image, Optics]:
        """Return a picture (S, S, 3) of a surface, before JPEG, and the optics that it has.

        The light falls on the surface; then come tint, gamma, blur and noise, in this order.
        """
        image = view.image
        height, width = image.shape[:2]
        down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
        across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None]
        light = self.gain * (1 + self.slope[0] * down + self.slope[1] * across)
        linear = np.clip(image.astype(np.float32) / 255 * light[..., None] * self.tint, 0, 1)
        lit = np.asarray(linear**self.gamma * 255, np.float32)
        if self.is_grey:
            lit = np.repeat(lit.mean(axis=2, keepdims=True), 3, axis=2)
        if self.blur_px > 0:
            lit = cv2.GaussianBlur(lit, (0, 0), self.blur_px).astype(np.float32)
        optics = self._optics(view.optics, lit)
        noise = self._noise_at(optics.grain_levels)
        added = replace(optics, grain_sd=noise, grain_px=self.noise_px)
        grain = draw_grain(rng, added, lit @ LUMA) if max(self.noise) > 0 else 0.0
        return to_levels(lit + grain), optics

    def compress(self, image: Image) -> Image:
        """Return a picture (S, S, 3) with the traces of JPEG, where the camera leaves such."""
        return image if self.jpeg_quality is None else compress_jpeg(image, self.jpeg_quality)

    def _optics(self, own: Optics, lit: NDArray[np.float32]) -> Optics:
        """Return what a view's own optics and the camera's make together."""
        levels = (20.0, 80.0, 140.0, 200.0, 245.0)
        # White grain of deviation 1, blurred by b px, keeps about 1 / sqrt(1 + 4 pi b^2) of it.
        kept = 1 / np.sqrt(1 + 4 * np.pi * self.blur_px**2)
        before = [kept * float(np.interp(x, own.grain_levels, own.grain_sd)) for x in levels]
        sd = np.hypot(before, self._noise_at(levels))
        black, white = np.percentile(lit @ LUMA, (0.5, 99.5))
        is_softer = kept * max(own.grain_sd) > max(self._noise_at(levels))
        return replace(
            own,
            kernel_px=float(np.hypot(own.kernel_px, self.blur_px)),
            grain_levels=levels,
            grain_sd=tuple(float(one) for one in sd),
            grain_px=float(np.hypot(own.grain_px, self.blur_px)) if is_softer else self.noise_px,
            grain_is_grey=self.is_grey or own.grain_is_grey,
            black_level=float(black),
            white_level=float(max(white, black + 1)),
        )

    def _noise_at(self, levels: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(
            float(np.hypot(self.noise[0], self.noise[1] * np.sqrt(x / 255))) for x in levels
        )


def draw_camera(rng: Rng, own_kernel_px: float = 0.4) -> CameraModel:
    """Draw a camera: sharp to soft (0.4 to 4 px), clean to grainy, in any light.

    A view that is soft already, by ``own_kernel_px``, is mostly left as sharp as it is; else the
    camera adds what is missing from its drawn blur (variances add up).
    """

    def sometimes(fraction: float, low: float, high: float, otherwise: float) -> float:
        value = float(rng.uniform(low, high))
        return value if rng.random() < fraction else otherwise

    gain = sometimes(0.4, 0.45, 1.35, 1)
    gamma = sometimes(0.25, 0.7, 1.5, 1)
    tint = 1 + rng.normal(0, 0.12, 3) if rng.random() < 0.2 else np.ones(3)
    slope = (sometimes(0.3, -0.5, 0.5, 0), sometimes(0.3, -0.5, 0.5, 0))
    # Soft photos are painted at fewer pixels (backends/crops.py), so most crops are sharp; and what
    # comes out too sharp can be softened (match_optics), not the other way round.
    bounds = KERNELS_PX[int(rng.choice(3, p=KERNEL_FRACTIONS))]
    kernel = float(np.exp(rng.uniform(*np.log(bounds))))
    blur = float(np.sqrt(max(kernel**2 - own_kernel_px**2, 0)))
    strength = float(np.exp(rng.uniform(np.log(0.4), np.log(9.0))))
    shot = float(rng.random())
    is_grainy = rng.random() < 0.55
    return CameraModel(
        gain=gain,
        gamma=gamma,
        tint=tint.astype(np.float32),
        slope=slope,
        is_grey=bool(rng.random() < 0.2),
        blur_px=blur if own_kernel_px < 0.5 or rng.random() < 0.4 else 0.0,
        noise=(strength * (1 - shot), strength * shot) if is_grainy else (0.0, 0.0),
        noise_px=sometimes(0.35, 0.3, 1.2, 0),
        jpeg_quality=int(rng.integers(40, 96)) if rng.random() < 0.3 else None,
    )
