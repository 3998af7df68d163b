"""What a manifest says of the part on a photo: how it was found, and its outline."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.errors import RunError
from synthgen.imaging.geometry import mask_to_rle, rle_to_mask
from synthgen.samples.sample import Part

__all__ = ["part_columns", "read_outline", "write_outline"]

OUTLINE_PX = 96  # the longer side of a part's outline


def part_columns(part: Part | None) -> dict[str, str]:
    """Return how the part was found, and where: as ``write_outline`` does."""
    if part is None:
        return {"part_finding": "", "part": ""}
    return {
        "part_finding": part.finding,
        "part": "" if part.mask is None else write_outline(part.mask),
    }


def write_outline(mask: NDArray[np.bool_]) -> str:
    """Return a mask (H, W), shrunk to ``OUTLINE_PX``, as "height width run-lengths" (COCO's RLE).

    >>> write_outline(np.eye(2, dtype=bool))
    '2 2 0120'
    """
    scale = min(1.0, OUTLINE_PX / max(mask.shape))
    size = [max(1, round(side * scale)) for side in mask.shape]
    small = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) > 0.5
    return f"{size[0]} {size[1]} {mask_to_rle(small)['counts']}"


def read_outline(text: str) -> NDArray[np.bool_] | None:
    """Return the mask that ``write_outline`` wrote, None for ''; raises RunError."""
    if not text:
        return None
    try:
        height, width, counts = text.split(" ", 2)
        size = [int(height), int(width)]
        if max(size) > OUTLINE_PX:
            raise ValueError(f"it is larger than {OUTLINE_PX} px")
        return rle_to_mask({"size": size, "counts": counts})
    except ValueError as error:
        raise RunError(
            f"the column part of manifest.parquet holds {text[:40]!r}, which is not an outline "
            f"({error}); the run folder is damaged"
        ) from error
