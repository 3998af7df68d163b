"""Photos of real defects as they would look without them, each made once for all who ask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import islice

import numpy as np

from synthgen.errors import ShapeError
from synthgen.realdata.records import RealImage
from synthgen.references.removal import GOOD_PHOTOS, remove_defects
from synthgen.samples.arrays import Image

__all__ = ["CleanPhotos"]


class CleanPhotos:
    """Photos with their defects removed; the first 8 good ones of ``images`` lend surface.

    ``keeps``: what is made stays in memory, for those who ask again.
    """

    def __init__(self, images: Sequence[RealImage], *, keeps: bool = True) -> None:
        self._images, self._keeps = images, keeps
        self._made: dict[int, tuple[Image, Image]] = {}

    @cached_property
    def good(self) -> list[Image]:
        """The first 8 good photos, (H, W, 3)."""
        return [
            image.read_rgb()
            for image in islice((i for i in self._images if not i.defects), GOOD_PHOTOS)
        ]

    def make(self, image: RealImage) -> tuple[Image, Image]:
        """Return a photo and how it looks without all its defects, both (H, W, 3).

        Raises ShapeError for a mask of another size, SourceError where it cannot be read.
        """
        if (found := self._made.get(id(image))) is not None:
            return found
        pixels = image.read_rgb()
        for defect in image.defects:
            if defect.mask.shape != pixels.shape[:2]:
                raise ShapeError(
                    f"the mask of {defect.defect_class} is {defect.mask.shape} but {image.path} is "
                    f"{pixels.shape[:2]} (height, width)"
                )
        marked = np.logical_or.reduce([defect.mask for defect in image.defects])
        views = pixels, remove_defects(pixels, marked, self.good)
        if self._keeps:
            self._made[id(image)] = views
        return views
