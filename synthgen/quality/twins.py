"""Twins: samples of one source and class, at one place, that look alike."""

from __future__ import annotations

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthgen.images import crop_around
from synthgen.quality.realised import to_lab

__all__ = ["bits_between", "colour_distance", "colours_of", "look_of"]


def look_of(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> str:
    """Return a perceptual hash of the 96 px around the label, 64 bits as 16 hexadecimal digits.

    DCT hash of ImageHash (Zauner 2010, section 3.2.1); '' where there is no label.
    """
    if not mask.any():
        return ""
    return str(imagehash.phash(Image.fromarray(crop_around(image, mask))))


def colours_of(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> str:
    """Return the CIELAB means of the 4 x 4 parts of the 96 px around the label, as 96 hexadecimal
    digits; '' where there is no label.

    What a hash of grey edges does not see: two stains of one shape and two colours.
    """
    if not mask.any():
        return ""
    parts = cv2.resize(to_lab(crop_around(image, mask)), (4, 4), interpolation=cv2.INTER_AREA)
    return bytes((np.rint(parts.ravel()) + 128).clip(0, 255).astype(np.uint8)).hex()


def colour_distance(one: str, other: str) -> float:
    """Return the mean Delta E of two ``colours_of``.

    >>> colour_distance("808080" * 16, "838480" * 16)
    5.0
    """
    sides = [np.frombuffer(bytes.fromhex(text), np.uint8).astype(float) for text in (one, other)]
    return float(np.linalg.norm((sides[0] - sides[1]).reshape(-1, 3), axis=1).mean())


def bits_between(one: str, other: str) -> int:
    """Return in how many of their 64 bits two looks differ.

    >>> bits_between("00000000000000ff", "0000000000000000")
    8
    """
    return (int(one, 16) ^ int(other, 16)).bit_count()
