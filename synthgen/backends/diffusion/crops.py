"""Crops at native resolution: what of an image a model gets to see, and how it goes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.outline import depth_inside
from synthgen.samples.sample import BoxXYWH, Condition

__all__ = ["CropJob", "cut_jobs", "cut_whole", "paste_crop", "take"]

BLACK_LEVEL = 1  # and below: what a safety checker paints
SHARP_PX = 0.9  # deviation of a blur that a model paints at its own pixels


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CropJob:
    """One crop of one condition; ``mask`` (H, W) is the part of the repaint mask it paints.

    ``box`` may reach beyond the image, which is mirrored there. ``size_hw`` is what the model
    paints at; it differs from the box where the box is larger than the model can take.
    """

    condition: Condition
    index: int  # which condition of the batch
    number: int  # which crop of this condition
    box: BoxXYWH
    size_hw: tuple[int, int]
    mask: NDArray[np.bool_]


def cut_jobs(
    conditions: Sequence[Condition],
    context_px: int,
    min_px: int,
    max_px: int,
    step_px: int,
    resolution_px: int | None,
) -> list[CropJob]:
    """Return one job per connected part of each repaint mask.

    The crop is the part's box and ``context_px`` around it, rounded up to ``step_px``.
    ``resolution_px`` fixes the side the model paints at (SD 1.5: 512) and makes the crop square;
    None keeps native pixels: a long line costs no more than what is near it. A photo whose blur is
    wider than ``SHARP_PX`` is painted as small as it is sharp: nothing finer shows in it.
    """
    jobs = []
    for index, condition in enumerate(conditions):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            condition.repaint_mask.astype(np.uint8), connectivity=8
        )
        for part in range(1, count):
            x, y, width, height = (int(v) for v in stats[part][:4])
            high, wide = (max(min_px, side + 2 * context_px) for side in (height, width))
            if resolution_px:
                high = wide = max(high, wide)
            high, wide = (-(-side // step_px) * step_px for side in (high, wide))
            box = BoxXYWH(
                _start(x, width, wide, labels.shape[1]),
                _start(y, height, high, labels.shape[0]),
                wide,
                high,
            )
            fixed = (resolution_px, resolution_px) if resolution_px else None
            most = min(1.0, SHARP_PX / condition.optics.kernel_px) * max(high, wide)
            size = fixed or _fit(high, wide, min(max_px, max(most, min_px)), step_px)
            jobs.append(
                CropJob(
                    condition=condition,
                    index=index,
                    number=part - 1,
                    box=box,
                    size_hw=size,
                    mask=labels == part,
                )
            )
    return jobs


def cut_whole(conditions: Sequence[Condition], max_px: int, step_px: int) -> list[CropJob]:
    """Return one job per condition, the whole image.

    Sides are rounded up to ``step_px``, the image mirrored there; where the longer one is over
    ``max_px``, the model paints at a smaller size of about the same shape.
    """
    jobs = []
    for index, condition in enumerate(conditions):
        height, width = condition.image.shape[:2]
        height, width = (-(-side // step_px) * step_px for side in (height, width))
        box, size = BoxXYWH(0, 0, width, height), _fit(height, width, max_px, step_px)
        jobs.append(
            CropJob(
                condition=condition,
                index=index,
                number=0,
                box=box,
                size_hw=size,
                mask=condition.repaint_mask,
            )
        )
    return jobs


def _fit(height: int, width: int, max_px: float, step_px: int) -> tuple[int, int]:
    """Return what a crop is painted at: its own size, or smaller, of about the same shape."""
    scale = min(1.0, max_px / max(height, width))
    high, wide = (max(step_px, round(side * scale / step_px) * step_px) for side in (height, width))
    return high, wide


def _start(first: int, length: int, side: int, size: int) -> int:
    """Return where a span of ``side`` starts: centred on the part, inside the image if it fits."""
    centred = first + length // 2 - side // 2
    return min(max(centred, 0), size - side) if side <= size else (size - side) // 2


def take(image: NDArray[np.uint8], job: CropJob, interpolation: int) -> NDArray[np.uint8]:
    """Return the crop of an image (H, W[, 3]) at the model's size, mirrored beyond the border.

    ``interpolation``: cv2's, where the size differs from that of the box.
    """
    x, y, wide, high = job.box
    height, width = image.shape[:2]
    pads = max(0, -y), max(0, y + high - height), max(0, -x), max(0, x + wide - width)
    if any(pads):
        image = cv2.copyMakeBorder(image, *pads, cv2.BORDER_REFLECT_101)
    cut = image[y + pads[0] : y + pads[0] + high, x + pads[2] : x + pads[2] + wide]
    if (high, wide) == job.size_hw:
        return np.ascontiguousarray(cut)
    return np.asarray(cv2.resize(cut, job.size_hw[::-1], interpolation=interpolation), np.uint8)


def paste_crop(
    image: NDArray[np.uint8], painted: NDArray[np.uint8], job: CropJob, feather_px: float
) -> NDArray[np.uint8]:
    """Return the image (H, W, 3) with the painted crop laid in, inside the job's mask only.

    A crop that was painted at another size than its box is brought back to that first.
    ``feather_px`` softens the border inward, so that nothing outside the mask changes. Where the
    picture ends there is no border: a defect that it cuts off reaches its last pixel.
    """
    x, y, wide, high = job.box
    if painted.shape[0] < high or painted.shape[1] < wide:
        painted = _enlarge(image, painted, job)
    elif painted.shape[:2] != (high, wide):
        painted = np.asarray(cv2.resize(painted, (wide, high), interpolation=cv2.INTER_AREA))
    height, width = image.shape[:2]
    top, left, bottom, right = max(0, y), max(0, x), min(height, y + high), min(width, x + wide)
    view = np.s_[top:bottom, left:right]
    own = painted[top - y : bottom - y, left - x : right - x]
    mask = job.mask[view]
    weight = mask.astype(np.float32)
    if feather_px > 0:
        weight = np.clip(depth_inside(mask) / (feather_px + 1), 0, 1) * mask
    result = image.copy()
    mixed = image[view] + weight[..., None] * (own.astype(np.float32) - image[view])
    result[view] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return result


def _enlarge(
    image: NDArray[np.uint8], painted: NDArray[np.uint8], job: CropJob
) -> NDArray[np.uint8]:
    """Return a crop that was painted smaller at the size of its box.

    Only the change is enlarged: what was left alone keeps the image's own fine structure.
    """
    height, width = painted.shape[:2]
    if painted.max() <= BLACK_LEVEL:  # what a safety checker blacks out stays black
        return np.zeros((job.box.height, job.box.width, 3), np.uint8)
    small = take(image, replace(job, size_hw=(height, width)), cv2.INTER_AREA)
    size = (job.box.width, job.box.height)
    change = cv2.resize(painted.astype(np.float32) - small, size, interpolation=cv2.INTER_CUBIC)
    whole = take(image, replace(job, size_hw=size[::-1]), cv2.INTER_AREA)
    return np.asarray(np.clip(np.rint(whole + change), 0, 255), np.uint8)
