"""Images in memory as an inspection model learns from them: pixels, and a mask for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.errors import ShapeError
from synthgen.exporting.labels import LabelledImage
from synthgen.imaging.images import grey_window, holds_grey, read_image, to_rgb8
from synthgen.progress import track
from synthgen.realdata.records import RealImage
from synthgen.samples.arrays import Image, Mask

__all__ = ["MIN_PX", "Picture", "check_picture_size", "read_picture", "read_pictures"]

MIN_PX = 4  # no crop is cut around a smaller speck, where the class has larger defects


@dataclass(frozen=True, eq=False, kw_only=True)
class Picture:
    """One image to learn from or to be scored on. ``pixels`` (H, W, C) uint8, C = 1 or 3.

    ``masks``: (H, W) bool by class; none = a good image.
    """

    name: str
    group: str
    pixels: Image
    masks: Mapping[str, Mask]
    path: Path | None = None  # None where it was painted here

    @cached_property
    def mask(self) -> Mask:
        """Where there is a defect of any class, (H, W)."""
        union = np.zeros(self.pixels.shape[:2], bool)
        for mask in self.masks.values():
            union |= mask
        return union

    @cached_property
    def regions(self) -> dict[str, list[NDArray[np.int64]]]:
        """The (row, column) places (N, 2) of each connected defect, by class.

        Specks under 4 px are left out where the class has larger defects.
        """
        regions = {}
        for name, mask in self.masks.items():
            count, labels = cv2.connectedComponents(mask.astype(np.uint8))
            parts = [np.argwhere(labels == number) for number in range(1, count)]
            regions[name] = [part for part in parts if len(part) >= MIN_PX] or parts
        return regions

    @cached_property
    def light(self) -> tuple[float, float]:
        """Mean of its levels and deviation plus 4: what images under other light are brought to."""
        return float(self.pixels.mean()), float(self.pixels.std()) + 4.0


def read_pictures(images: Sequence[RealImage]) -> list[Picture]:
    """Read all images: (H, W, 1) where every one of them is grey, or else (H, W, 3) RGB.

    Raises SourceError for one that cannot be read.
    """
    read = track(images, "reading the pixels", unit="images")
    pixels = [image.read_rgb() for image in read]
    is_grey = all(holds_grey(one) for one in pixels)
    return [
        Picture(
            name=image.image_id,
            group=image.group,
            pixels=np.ascontiguousarray(own[..., :1]) if is_grey else own,
            masks={defect.defect_class: defect.mask for defect in image.defects},
            path=image.path,
        )
        for image, own in zip(images, pixels, strict=True)
    ]


def check_picture_size(image: LabelledImage, pixels: NDArray[np.generic]) -> None:
    """Raise ShapeError where the pixels read, (H, W) or (H, W, C), do not fit the labels."""
    if pixels.shape[:2] != image.size_hw:
        raise ShapeError(
            f"{image.path} is {pixels.shape[0]} x {pixels.shape[1]} px (height, width), turned "
            f"as its EXIF says, but its labels are for {image.size_hw[0]} x {image.size_hw[1]}"
        )


def read_picture(
    image: LabelledImage, names: Mapping[int, str], *, is_grey: bool = False
) -> Picture:
    """Read an image of a labelled set. ``names``: of its class ids. Raises SourceError, and
    ShapeError where it is of another size than its labels.

    ``is_grey``: with one channel, also where the file has three.
    """
    pixels = read_image(image.path)
    check_picture_size(image, pixels)
    shown = to_rgb8(pixels, grey_window(pixels))
    if is_grey:
        shown = np.asarray(cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY)[..., None], np.uint8)
    masks: dict[str, Mask] = {}
    for defect in image.defects:
        name, mask = names[defect.class_id], defect.mask(image.size_hw)
        masks[name] = masks.get(name, np.zeros(image.size_hw, bool)) | mask
    return Picture(name=image.sample_id, group=image.group, pixels=shown, masks=masks)
