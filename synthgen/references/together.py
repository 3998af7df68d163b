"""Reference defects that are joined: defects that lie together on one image, as crossing cracks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from synthgen.references.items import BankItem, split_defects

__all__ = ["DefectGroup", "find_neighbours", "join", "middle"]

MAX = 12  # defects that are one reference defect; of more, the smallest are left out


@dataclass(frozen=True, eq=False)
class DefectGroup:
    """Defects of one image as one reference defect.

    ``item`` holds what they have in common: crop, mask, place. ``parts`` (h, w) uint8 says which
    defect each pixel of the mask belongs to, 1.., 0 = none. ``classes`` holds the class of each.
    """

    item: BankItem
    parts: NDArray[np.uint8]
    classes: tuple[str, ...]


def find_neighbours(items: Iterable[BankItem], near_px: int) -> dict[str, list[BankItem]]:
    """Return, by the id of each item, the items that lie together with it, itself first.

    Items lie together where gaps of at most ``near_px`` link them, from one to the next. Items
    whose place on their image is unknown are alone. An item has at most 11 others, the largest.
    """
    images: dict[str, list[BankItem]] = {}
    found: dict[str, list[BankItem]] = {}
    for item in items:
        if item.corner is None:
            found[item.item_id] = [item]
        else:
            images.setdefault(item.image_id, []).append(item)
    for own in images.values():
        top, left, size_hw = _frame(own)
        marks = np.zeros((len(own), *size_hw), bool)  # each item's mask in their common frame
        for mark, item in zip(marks, own, strict=True):
            mark[_window(item, top, left)] = item.mask
        for piece in split_defects(np.any(marks, axis=0), near_px):
            inside = [one for one, mark in zip(own, marks, strict=True) if (mark & piece).any()]
            for item in inside:
                others = sorted(
                    (one for one in inside if one is not item), key=lambda one: -one.area_px
                )
                found[item.item_id] = [item, *others[: MAX - 1]]
    return found


def join(items: Sequence[BankItem]) -> DefectGroup:
    """Return items of one image as one reference defect, with the id of the first.

    A pixel that two masks share belongs to the smaller one. Where no crop reaches, the joined crop
    is black.
    """
    first = items[0]
    classes = tuple(item.defect_class for item in items)
    if len(items) == 1:
        return DefectGroup(first, first.mask.astype(np.uint8), classes)
    top, left, size_hw = _frame(items)
    crop, clean = (np.zeros((*size_hw, 3), np.uint8) for _ in range(2))
    parts = np.zeros(size_hw, np.uint8)
    for number, item in sorted(enumerate(items, start=1), key=lambda one: -one[1].area_px):
        window = _window(item, top, left)
        crop[window], clean[window] = item.crop, item.clean
        parts[window][item.mask] = number
    joined = replace(
        first,
        crop=crop,
        clean=clean,
        mask=parts > 0,
        area_px=sum(item.area_px for item in items),
        place_xy=middle(items),
        others=None,
        corner=(top, left),
    )
    return DefectGroup(joined, parts, classes)


def middle(items: Sequence[BankItem]) -> tuple[float, float]:
    """Return the centre (x, y) of all their pixels, in fractions of the image's sides."""
    if len(items) == 1:
        return items[0].place_xy
    area = sum(item.area_px for item in items)
    x, y = (sum(item.place_xy[axis] * item.area_px for item in items) / area for axis in (0, 1))
    return x, y


def _corner(item: BankItem) -> tuple[int, int]:
    assert item.corner is not None
    return item.corner


def _frame(items: Sequence[BankItem]) -> tuple[int, int, tuple[int, int]]:
    """Return row, column and size of what holds all their crops, in pixels of their image."""
    corners = np.array([_corner(item) for item in items])
    low = corners.min(axis=0)
    high = (corners + [item.mask.shape for item in items]).max(axis=0)
    return int(low[0]), int(low[1]), (int(high[0] - low[0]), int(high[1] - low[1]))


def _window(item: BankItem, top: int, left: int) -> tuple[slice, slice]:
    (row, column), (height, width) = _corner(item), item.mask.shape
    return slice(row - top, row - top + height), slice(column - left, column - left + width)
