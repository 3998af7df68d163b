"""Run lengths of very many labels at once: whether each is of its image, its area and its box."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.imaging.geometry import CONTINUES, MAX_PIXELS, join_characters, read_characters

__all__ = ["are_labels_sound"]

Ints = NDArray[np.int64]


def are_labels_sound(rows: pd.DataFrame, sizes_hw: Ints) -> bool:
    """Say whether the ``rle`` of each row is that of a mask of its size, ``area_px`` and box.

    ``sizes_hw`` (N, 2). What ``geometry.read_run_lengths`` does for one, for all of them.
    """
    if rows.empty:
        return True
    texts = [str(text) for text in rows["rle"]]
    ends = np.cumsum([len(text) for text in texts])
    whole = "".join(texts)
    if not all(texts) or not whole.isascii():
        return False
    parts = read_characters(whole)
    if parts.min() < 0 or parts.max() > 63 or (parts[ends - 1] & CONTINUES).any():
        return False
    values, last = join_characters(parts)
    if values is None or np.abs(values).max() > MAX_PIXELS:  # their sums stay in 64 bits
        return False
    label = np.searchsorted(ends, last, side="right")  # which row a value is of
    first = np.flatnonzero(np.diff(label, prepend=-1))  # where the values of each begin
    lengths, place = _undo_differences(values, label, first)
    pixels = sizes_hw[:, 0] * sizes_hw[:, 1]
    if lengths.min() < 0 or (np.add.reduceat(lengths, first) != pixels).any():
        return False
    stop = np.cumsum(lengths)
    stop -= np.repeat(stop[first] - lengths[first], np.diff(first, append=len(label)))
    is_mask = (place % 2 == 1) & (lengths > 0)
    return _are_as_told(
        rows, sizes_hw[:, 0], label[is_mask], (stop - lengths)[is_mask], stop[is_mask]
    )


def _undo_differences(values: Ints, label: Ints, first: Ints) -> tuple[Ints, Ints]:
    """Return lengths from what COCO's text tells, and the place of each in its label, from 0.

    From the place 3 on a value is the difference to the length two places before it.
    """
    place = np.arange(len(values)) - np.repeat(first, np.diff(first, append=len(values)))
    lengths = values.copy()
    for chain in (place % 2 == 1, (place % 2 == 0) & (place > 0)):
        sums, own = np.cumsum(values[chain]), label[chain]
        begin = np.flatnonzero(np.diff(own, prepend=-1))
        before = sums[begin] - values[chain][begin]
        lengths[chain] = sums - np.repeat(before, np.diff(begin, append=len(own)))
    return lengths, place


def _are_as_told(rows: pd.DataFrame, heights: Ints, label: Ints, start: Ints, stop: Ints) -> bool:
    """Say whether runs of pixels, counted down the columns, have the areas and boxes of rows."""
    begin = np.flatnonzero(np.diff(label, prepend=-1))
    if len(begin) < len(rows):  # one of them is empty
        return False
    height, end = heights[label], stop - 1
    left, right = start // height, end // height
    is_long = right > left  # from the foot of a column to the head of another one
    top = np.where(is_long, 0, start % height)
    bottom = np.where(is_long, height - 1, end % height)
    x, y = np.minimum.reduceat(left, begin), np.minimum.reduceat(top, begin)
    width = np.maximum.reduceat(right, begin) + 1 - x
    tall = np.maximum.reduceat(bottom, begin) + 1 - y
    area = np.add.reduceat(stop - start, begin)
    found = {"area_px": area, "box_x": x, "box_y": y, "box_w": width, "box_h": tall}
    return all(np.array_equal(rows[name].to_numpy(), own) for name, own in found.items())
