"""Near duplicates: samples of one source and class, at one place, that look alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import cv2
import imagehash
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from synthgen.imaging.images import crop_around
from synthgen.quality.realised import to_lab

__all__ = ["Marks", "bits_between", "colour_distance", "colours_of", "find_near", "perceptual_hash"]

Places = NDArray[np.int64]
SAME_COLOUR = 5.0  # Delta E, the mean of the parts
SAME_PLACE = 0.5  # overlap of two labels' boxes, of their union
PAIRS = 250_000  # compared at once: bounds the memory, whatever the size of a run


def perceptual_hash(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> str:
    """Return a perceptual hash of the 96 px around the label, 64 bits as 16 hexadecimal digits.

    DCT hash of ImageHash (Zauner 2010, section 3.2.1); '' where there is no label.
    """
    if not mask.any():
        return ""
    return str(imagehash.phash(Image.fromarray(crop_around(image, mask))))


def colours_of(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> str:
    """Return the CIELAB means of the 4 x 4 parts of the 96 px around the label.

    As 96 hexadecimal digits, a byte per mean; '' where there is no label. They tell what a hash of
    grey edges does not see: two stains of one shape and two colours.
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
    """Return in how many of their 64 bits two perceptual hashes differ.

    >>> bits_between("00000000000000ff", "0000000000000000")
    8
    """
    return (int(one, 16) ^ int(other, 16)).bit_count()


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """What N labels are compared by, one row each: ``boxes`` (N, 4) x, y, width, height; ``hashes``
    (N,) uint64; ``colours`` (N, 16, 3) CIELAB, a constant off."""

    COLUMNS: ClassVar = ("perceptual_hash", "colours", "box_x", "box_y", "box_w", "box_h")
    boxes: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    colours: NDArray[np.uint8]

    @classmethod
    def of(cls, rows: pa.Table) -> Marks:
        """Return the marks of rows of a manifest; each must have a ``perceptual_hash``."""
        hashes = _from_hex(rows["perceptual_hash"]).view(">u8").astype(np.uint64)
        colours = _from_hex(rows["colours"])
        boxes = np.column_stack([rows[name].to_numpy() for name in cls.COLUMNS[2:]])
        return cls(boxes.astype(np.int64), hashes, colours.reshape(len(rows), 16, 3))

    def take(self, places: Places) -> Marks:
        """Return those of some rows."""
        return Marks(self.boxes[places], self.hashes[places], self.colours[places])


def _from_hex(texts: pa.ChunkedArray) -> NDArray[np.uint8]:
    """Return the bytes of texts one behind another; few texts are in memory at once."""
    parts = (texts.slice(at, 50_000).to_pylist() for at in range(0, len(texts), 50_000))
    whole = b"".join(bytes.fromhex("".join(part)) for part in parts)
    return np.frombuffer(whole, np.uint8)


def find_near(marks: Marks) -> Iterator[tuple[int, Places, NDArray[np.int64]]]:
    """Yield each label that has earlier ones at its place and of its colours, all in order.

    With it come the rows of those earlier ones, and in how many of 64 bits their hashes differ.
    Same place: boxes that share half of their union. Same colours: a mean Delta E of 5 or less.
    """
    count = len(marks.hashes)
    step = max(1, PAIRS // max(1, count))
    for start in range(0, count, step):
        later, earlier = _at_one_place(marks.boxes, start, min(count, start + step))
        one, other = (marks.colours[places].astype(float) for places in (later, earlier))
        is_near = np.linalg.norm(one - other, axis=2).mean(axis=1) <= SAME_COLOUR
        later, earlier = later[is_near], earlier[is_near]
        apart = np.bitwise_count(marks.hashes[later] ^ marks.hashes[earlier]).astype(np.int64)
        firsts = np.flatnonzero(np.diff(later, prepend=-1))
        ends = np.append(firsts, len(later))[1:]
        for first, end in zip(firsts, ends, strict=True):
            yield int(later[first]), earlier[first:end], apart[first:end]


def _at_one_place(boxes: NDArray[np.int64], start: int, end: int) -> tuple[Places, Places]:
    """Return the pairs (later, earlier) whose boxes overlap, the later from ``start`` to ``end``.

    Boxes that share half of their union do so along x alone as well. That is looked at first.
    """
    x, _, width, _ = boxes.T.astype(np.int32)
    right = x + width
    rows, columns = slice(start, end), slice(0, end)
    shared = np.minimum.outer(right[rows], right[columns])
    shared -= np.maximum.outer(x[rows], x[columns])
    shared *= 3  # shared / (sum - shared) >= 1 / 2
    is_near = shared >= np.add.outer(width[rows], width[columns])
    is_near &= np.tri(end - start, end, start - 1, dtype=bool)
    later, earlier = np.nonzero(is_near)
    later += start
    is_same = _box_iou(boxes[later], boxes[earlier]) >= SAME_PLACE
    return later[is_same], earlier[is_same]


def _box_iou(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    ends = np.minimum(one[:, :2] + one[:, 2:], other[:, :2] + other[:, 2:])
    spans = (ends - np.maximum(one[:, :2], other[:, :2])).clip(min=0)
    shared = spans.prod(axis=1)
    areas = one[:, 2:].prod(axis=1) + other[:, 2:].prod(axis=1)
    return np.asarray(shared / (areas - shared).clip(min=1), float)
