"""Twins: samples of one source and class that look alike."""

from __future__ import annotations

from collections.abc import Sequence

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthgen.images import crop_around

__all__ = ["look_of", "nearest_looks"]


def look_of(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> str:
    """Return a perceptual hash of the 96 px around the label, 64 bits as 16 hexadecimal digits.

    DCT hash of ImageHash (Zauner 2010, section 3.2.1); '' where there is no label.
    """
    if not mask.any():
        return ""
    return str(imagehash.phash(Image.fromarray(crop_around(image, mask))))


def nearest_looks(looks: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return, for each look, the place of the nearest earlier one (-1 = none) and its bits away.

    >>> nearest_looks(["00000000000000ff", "0000000000000000", "0000000000000001"])[1].tolist()
    [nan, 8.0, 1.0]
    """
    bits = np.unpackbits(
        np.array([list(bytes.fromhex(look)) for look in looks], np.uint8).reshape(-1, 8), axis=1
    ).astype(np.float32)
    place, away = np.full(len(looks), -1, np.int64), np.full(len(looks), np.nan)
    for number in range(1, len(looks)):
        distance = np.abs(bits[:number] - bits[number]).sum(axis=1)
        place[number] = int(distance.argmin())
        away[number] = float(distance[place[number]])
    return place, away
