"""Photographs and a camera: what makes crops to learn from look taken rather than drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.images import compress_jpeg, holds_grey, to_levels, to_rgb8
from synthgen.sample import SourceImage
from synthgen.sources import FolderSources

__all__ = ["Camera", "PhotoFolder", "Photos", "draw_camera"]

Rng = np.random.Generator
Image = NDArray[np.uint8]


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class PhotoFolder:
    """A folder of photos to learn surfaces from, and what the model card says of it."""

    path: Annotated[str, Field(min_length=1)]
    surface: Annotated[str, Field(min_length=1)]  # its word in prompts
    origin: Annotated[str, Field(min_length=1)]
    licence: Annotated[str, Field(min_length=1)]


class Photos:
    """Photos in memory (grey ones with one channel); raises SourceError for a folder of none."""

    def __init__(self, folders: Mapping[str, PhotoFolder]) -> None:
        self.counts: dict[str, int] = {}
        self._images: list[list[Image]] = []
        self._surfaces: list[str] = []
        for name, folder in sorted(folders.items()):
            sources = FolderSources(folder.path, folder.surface, foreground="all")
            images = [_thin(sources.read(entry.source_id)) for entry in sources.entries]
            self.counts[name] = len(images)
            self._images.append(images)
            self._surfaces.append(folder.surface)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def draw(self, rng: Rng, size_px: int) -> tuple[Image, str]:
        """Return a crop (S, S, 3), turned, mirrored and zoomed, and its surface's name.

        Folders come equally often, however many photos they hold.
        """
        number = int(rng.integers(len(self._images)))
        image = self._images[number][int(rng.integers(len(self._images[number])))]
        side = min(round(size_px / rng.uniform(0.6, 1.6)), *image.shape[:2])
        row, column = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
        cut = np.rot90(image[row : row + side, column : column + side], int(rng.integers(4)))
        cut = cut[:, ::-1] if rng.random() < 0.5 else cut
        how = cv2.INTER_AREA if side > size_px else cv2.INTER_CUBIC
        crop = cv2.resize(np.ascontiguousarray(cut), (size_px, size_px), interpolation=how)
        return to_rgb8(np.asarray(crop, np.uint8), (0, 255)), self._surfaces[number]


def _thin(source: SourceImage) -> Image:
    rgb = to_rgb8(source.pixels, source.window)
    return np.ascontiguousarray(rgb[..., 0]) if holds_grey(rgb) else rgb


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """How a scene becomes a picture. What is 0, 1 or None does nothing."""

    gain: float
    gamma: float
    tint: NDArray[np.float32]  # (3,), factors of red, green, blue
    slope: tuple[float, float]  # light over the picture: change from edge to edge, down and across
    is_grey: bool
    blur_px: float  # Gaussian deviation
    noise: tuple[float, float]  # deviation in grey levels: constant, and at white (shot noise)
    jpeg_quality: int | None

    def expose(self, image: Image) -> Image:
        """Light and tint a scene, before anything is laid on it."""
        height, width = image.shape[:2]
        down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
        across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None]
        light = self.gain * (1 + self.slope[0] * down + self.slope[1] * across)
        linear = np.clip(image.astype(np.float32) / 255 * light[..., None] * self.tint, 0, 1)
        lit = linear**self.gamma * 255
        if self.is_grey:
            lit = np.repeat(lit.mean(axis=2, keepdims=True), 3, axis=2)
        return np.rint(lit).astype(np.uint8)

    def focus(self, image: Image) -> Image:
        """Blur a picture, and take its colour where the camera has none."""
        if self.is_grey:
            image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
        if self.blur_px > 0.3:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), self.blur_px), np.uint8)
        return image

    def develop(self, rng: Rng, image: Image) -> Image:
        """Add sensor noise and the traces of JPEG."""
        if max(self.noise) > 0:
            deviation = np.hypot(self.noise[0], self.noise[1] * np.sqrt(image / 255.0))
            grain = rng.standard_normal((*image.shape[:2], 1), np.float32)
            if not self.is_grey:
                grain = 0.7 * grain + 0.7 * rng.standard_normal(image.shape, np.float32)
            image = to_levels(image + deviation * grain)
        if self.jpeg_quality is not None:
            image = compress_jpeg(image, self.jpeg_quality)
        return np.asarray(image, np.uint8)


def draw_camera(rng: Rng) -> Camera:
    """Draw a camera; most of what it can do to a picture it mostly leaves alone."""

    def sometimes(share: float, low: float, high: float, otherwise: float) -> float:
        value = float(rng.uniform(low, high))
        return value if rng.random() < share else otherwise

    gain = sometimes(0.4, 0.45, 1.35, 1)
    gamma = sometimes(0.25, 0.7, 1.5, 1)
    tint = 1 + rng.normal(0, 0.12, 3) if rng.random() < 0.2 else np.ones(3)
    slope = (sometimes(0.3, -0.5, 0.5, 0), sometimes(0.3, -0.5, 0.5, 0))
    return Camera(
        gain,
        gamma,
        tint.astype(np.float32),
        slope,
        is_grey=bool(rng.random() < 0.2),
        blur_px=sometimes(0.25, 0.4, 1.4, 0),
        noise=(sometimes(0.25, 0.5, 4, 0), sometimes(0.25, 0.5, 5, 0)),
        jpeg_quality=int(rng.integers(40, 96)) if rng.random() < 0.3 else None,
    )
