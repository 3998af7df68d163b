"""What a dataset's files say: images, and the mask of every defect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.images import Pixels, grey_window, read_image, to_rgb8

__all__ = ["GOOD", "DatasetIndex", "ImageRecord", "RealDefect", "RealImage", "RealSet"]

GOOD = "good"


@dataclass(frozen=True, eq=False)
class RealDefect:
    """A defect of one image: its class, and its pixels as (H, W) bool."""

    defect_class: str
    mask: NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageRecord:
    """An image and its defects as the files give them, one defect per entry of the format.

    ``group`` is '' where the files do not say which images show one part. ``digital_source`` is
    IPTC's term for how the image was made, '' where the files do not say.
    """

    path: Path
    name: str
    split: str
    size_hw: tuple[int, int]
    defects: tuple[RealDefect, ...]
    group: str = ""
    digital_source: str = ""


@dataclass(frozen=True, eq=False)
class DatasetIndex:
    """The classes that a dataset declares, with their ids, and its images, read one by one.

    ``classes`` is empty, or lacks some, for a folder or a table: which defects they hold is only
    known once all images are read. ``images`` can be read once.
    """

    classes: Mapping[str, int]
    images: Iterator[ImageRecord]


@dataclass(frozen=True, eq=False, kw_only=True)
class RealImage:
    """A photo of a real part, read when it is asked for.

    ``defects``: one per class, by name; none for a good part.
    """

    image_id: str
    path: Path
    group: str  # the physical part; never in two splits
    split: str
    defects: tuple[RealDefect, ...]

    def read(self) -> Pixels:
        """Return its pixels, (H, W) or (H, W, 3) RGB, 8 or 16 bit; raises SourceError."""
        return read_image(self.path)

    def read_rgb(self) -> NDArray[np.uint8]:
        """Return its pixels as models see them, (H, W, 3) uint8 RGB; raises SourceError."""
        pixels = self.read()
        return to_rgb8(pixels, grey_window(pixels))


@dataclass(frozen=True, slots=True, eq=False)
class RealSet:
    """Real images in the order of their ids, and sentences on what was guessed or left out."""

    images: Sequence[RealImage]
    notes: Sequence[str]
