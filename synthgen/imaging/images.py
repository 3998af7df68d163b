"""Read, write and composite images; ``imaging.decoding`` knows the formats of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.errors import RunError, ShapeError, SourceError
from synthgen.imaging.decoding import ACCEPTED, Pixels, decode_image
from synthgen.imaging.levels import find_levels
from synthgen.storage.files import write_bytes
from synthgen.storage.places import StoredFile
from synthgen.storage.provenance import mark_png

__all__ = [
    "CROP_PX",
    "IGNORED",
    "Pixels",
    "composite",
    "compress_jpeg",
    "crop_around",
    "decode_image",
    "encode_jpeg",
    "encode_png",
    "grey_window",
    "holds_grey",
    "read_image",
    "tile",
    "to_levels",
    "to_rgb8",
    "write_png",
]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
IGNORED = 255  # in label images: neither good nor a defect
CROP_PX = 96  # of the square crops in which defects are looked at


def read_image(file: Path | StoredFile) -> Pixels:
    """Read PNG, JPEG, BMP or TIFF as ``decode_image``: (H, W) or (H, W, 3) RGB, 8 or 16 bit.

    Raises SourceError.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise SourceError(f"{file} cannot be read as an image ({reason}); {ACCEPTED}") from error
    return decode_image(data, str(file))


def holds_grey(pixels: Pixels) -> bool:
    """Say whether an image is grey: of one channel, or of three that are equal."""
    return pixels.ndim == 2 or all(
        np.array_equal(pixels[..., 0], pixels[..., other]) for other in (1, 2)
    )


def grey_window(pixels: Pixels) -> tuple[float, float]:
    """Return the (low, high) levels that 8 bit 0 and 255 stand for: 16 bit uses its 0.1-99.9 %."""
    if pixels.dtype == np.uint8:
        return 0.0, 255.0
    low, high = np.percentile(pixels, (0.1, 99.9))
    return float(low), float(max(high, low + 1))


def to_rgb8(pixels: Pixels, window: tuple[float, float]) -> NDArray[np.uint8]:
    """Return the (H, W, 3) uint8 RGB view that models and measures work on.

    16 bit levels are stretched from ``window``, as of ``grey_window``, to 0..255 and clipped; 8 bit
    levels stay as they are.
    """
    if pixels.dtype == np.uint8:
        flat = pixels
    else:
        low, high = window
        flat = np.clip(np.rint((pixels.astype(np.float32) - low) * (255 / (high - low))), 0, 255)
    flat = flat.astype(np.uint8)
    return np.repeat(flat[..., None], 3, axis=2) if flat.ndim == 2 else flat


def composite(
    pixels: Pixels,
    window: tuple[float, float],
    image: NDArray[np.uint8],
    painted: NDArray[np.uint8],
    mask: NDArray[np.bool_],
) -> Pixels:
    """Return the source with the painted change added inside the mask, in its own bit depth.

    ``image`` is ``to_rgb8(pixels, window)``; ``painted`` (H, W, 3) uint8. Outside the mask the
    pixels are the source's, bit for bit. A grey photo stays grey, also in a file of three
    channels, and 12 bits keep their step: colour, or a level that the camera never gives, would
    tell a detector where the defects are. Raises ShapeError.
    """
    if painted.shape != image.shape:
        raise ShapeError(f"the painted image is {painted.shape} but the source is {image.shape}")
    if not mask.shape == image.shape[:2] == pixels.shape[:2]:
        raise ShapeError(
            f"the mask is {mask.shape} and the pixels are {pixels.shape} but the image is "
            f"{image.shape}; all three must have one height and width"
        )
    change = painted[mask].astype(np.float32) - image[mask]
    if holds_grey(pixels):
        luma = change @ LUMA
        change = luma if pixels.ndim == 2 else luma[:, None]
    scale = (window[1] - window[0]) / 255 if pixels.dtype == np.uint16 else 1.0
    result = pixels.copy()
    result[mask] = find_levels(pixels).snap(pixels[mask] + change * scale).astype(pixels.dtype)
    return result


def crop_around(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], size_px: int = CROP_PX
) -> NDArray[np.uint8]:
    """Return the (S, S, 3) crop around the mask's box, at native pixels.

    It stays inside the image; a smaller image is mirrored, a larger defect is shrunk to fit.
    """
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        rows, columns = (np.array([length // 2]) for length in mask.shape)
    reach = max(int(np.ptp(rows)), int(np.ptp(columns))) + 1
    side = max(size_px, reach + 8)
    top = int(rows.min() + rows.max() + 1 - side) // 2
    left = int(columns.min() + columns.max() + 1 - side) // 2
    height, width = mask.shape
    top = min(max(top, 0), height - side) if side <= height else top
    left = min(max(left, 0), width - side) if side <= width else left
    pad = max(0, -top, -left, top + side - height, left + side - width)
    padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REFLECT)
    cut = padded[top + pad : top + pad + side, left + pad : left + pad + side]
    if side == size_px:
        return np.ascontiguousarray(cut)
    return np.asarray(cv2.resize(cut, (size_px, size_px), interpolation=cv2.INTER_AREA), np.uint8)


def to_levels(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return grey levels of any kind rounded and clipped to uint8."""
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Return an RGB image (H, W, 3) as a JPEG file; ``quality`` 1..100."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def compress_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Return an RGB image (H, W, 3) with the traces that a JPEG of this quality, 1..100, leaves."""
    encoded = np.frombuffer(encode_jpeg(image, quality), np.uint8)
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def tile(cells: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Return pictures of one size in rows of ``columns``; the last row is filled up with white."""
    filled = [*cells, *[np.full_like(cells[0], 255)] * (-len(cells) % columns)]
    rows = [np.hstack(filled[at : at + columns]) for at in range(0, len(filled), columns)]
    return np.vstack(rows)


def encode_png(pixels: Pixels, digital_source: str = "") -> bytes:
    """Return a PNG file of the pixels in their own bit depth; raises RunError.

    ``digital_source``: the IPTC's word for how the image came to be, "" = none is written.
    """
    order = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    is_encoded, data = cv2.imencode(".png", np.ascontiguousarray(order))
    if not is_encoded:
        raise RunError(f"an image of {pixels.shape} cannot be encoded as PNG")
    return mark_png(data.tobytes(), digital_source)


def write_png(path: Path, pixels: Pixels, digital_source: str = "") -> None:
    """Write a PNG, whole or not at all; raises RunError where the disk refuses."""
    write_bytes(path, encode_png(pixels, digital_source))
