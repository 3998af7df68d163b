"""Twins: samples of one source and class, at one place, that look alike."""

from __future__ import annotations

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthgen.images import crop_around

__all__ = ["bits_between", "look_of"]


def look_of(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> str:
    """Return a perceptual hash of the 96 px around the label, 64 bits as 16 hexadecimal digits.

    DCT hash of ImageHash (Zauner 2010, section 3.2.1); '' where there is no label.
    """
    if not mask.any():
        return ""
    return str(imagehash.phash(Image.fromarray(crop_around(image, mask))))


def bits_between(one: str, other: str) -> int:
    """Return in how many of their 64 bits two looks differ.

    >>> bits_between("00000000000000ff", "0000000000000000")
    8
    """
    return (int(one, 16) ^ int(other, 16)).bit_count()
