"""Decode image files: Pillow reads 8 bit levels, OpenCV 16 bit ones, tifffile the rarer TIFFs.

Pillow cuts 16 bit colour to 8 bit; OpenCV mixes up planes that lie apart, moves 10 and 12 bits and
leaves WhiteIsZero as it is. So the file's header says who reads it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from synthgen.errors import SourceError
from synthgen.imaging.silence import silent_opencv, silent_warnings

__all__ = [
    "ACCEPTED",
    "MAX_PIXELS",
    "ORIENTATION",
    "Pixels",
    "decode_image",
    "decode_opened",
    "opened_image",
    "opened_tiff",
    "read_opaque",
]

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
ACCEPTED = "save it as PNG, JPEG, BMP or TIFF with 8 or 16 bit integers"
MAX_PIXELS = 100_000_000  # of an image; each sample made from it takes some 200 bytes a pixel
SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I")
OPAQUE = 0.98  # of the highest alpha; scaled and lossy files give a little less than all
BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error)
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# numbers of tags, TIFF 6.0 and EXIF
SUBFILE_TYPE, BITS, PHOTOMETRIC, ORIENTATION, PLANES = 254, 258, 262, 274, 284
SAMPLE_FORMAT, IMAGE_DEPTH = 339, 32997
MP_ENTRIES = 0xB002  # of a JPEG of several pictures, CIPA DC-007
GAIN_MAPS = (b"hdrgm:", b"HDRGainMap")  # what a phone's JPEG says of its second picture


def decode_image(data: bytes, name: str) -> Pixels:
    """Decode the bytes of an image file: (H, W) grey or (H, W, 3) RGB, uint8 or uint16.

    The EXIF orientation is applied, alpha is dropped, palettes become RGB, 0 is black. Levels are
    the file's own: no colour profile is applied, and 10 or 12 bits stay where the file has them.
    ``name`` is for messages. Raises SourceError, also for several pages or too many pixels.
    """
    with opened_image(data, name) as opened:
        return decode_opened(opened, data, name)


def decode_opened(opened: Image.Image | None, data: bytes, name: str) -> Pixels:
    """Decode an image that ``opened_image`` gave of these bytes, as ``decode_image`` does.

    It belongs into the body of that ``with``, where all that fails becomes SourceError.
    """
    if opened is None:
        return _decode_by_tifffile(data, name)
    # Who decodes the file without loss?
    bits = _tag(opened, BITS, 1)
    if opened.format == "PNG":
        reader = "opencv" if data[24] == 16 else "pillow"  # the bit depth in its IHDR chunk
    elif opened.format != "TIFF":
        reader = "opencv" if opened.mode in SIXTEEN_BIT_MODES else "pillow"
    elif bits <= 8:
        reader = "pillow"
    elif bits == 12 and opened.mode == "I;16" and _tag(opened, PHOTOMETRIC, 1) == 1:
        reader = "pillow 12"
    elif bits == 16 and _tag(opened, PLANES, 1) == 1:
        reader = "opencv"
    else:
        return _decode_by_tifffile(data, name)
    opened.load()
    if reader == "pillow":
        upright = ImageOps.exif_transpose(opened)
        is_grey = upright.mode in ("1", "L", "LA")
        return np.asarray(upright.convert("L" if is_grey else "RGB"), np.uint8)
    if reader == "pillow 12":
        return np.asarray(opened, np.uint16)  # upright: Pillow turns a TIFF as it loads
    return _decode_by_opencv(data, name, opened)


@contextmanager
def opened_image(data: bytes | Path, name: str) -> Iterator[Image.Image | None]:
    """Open an image, checked by its header; None for a TIFF of a kind that only tifffile knows.

    ``data``: its bytes, or its path where no more than the header is wanted. What cannot be read
    raises SourceError, here and in the body of the ``with``.
    """
    # A bad tag beside good pixels is not a reason to refuse: warnings say nothing.
    with silent_warnings, _as_source_error(name):
        try:
            opened = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
        except UnidentifiedImageError as error:  # its own words name an object in memory
            with io.BytesIO(data) if isinstance(data, bytes) else data.open("rb") as file:
                head = file.read(4)
            if head not in TIFF_HEADS:
                kinds = f"{name} cannot be read as an image of any kind; {ACCEPTED}"
                raise SourceError(kinds) from error
            yield None
            return
        with opened:
            check_pixels(opened.size[::-1], name)
            _check_pages(opened, name)
            if opened.format == "TIFF":
                _check_levels(_tag(opened, SAMPLE_FORMAT, 1), _tag(opened, BITS, 1), name)
            elif opened.mode == "F":
                _check_levels(3, 32, name)
            yield opened


@contextmanager
def _as_source_error(name: str) -> Iterator[None]:
    try:
        yield
    except Image.DecompressionBombError as error:  # raised before a size is known
        raise SourceError(_too_large(f"more than {MAX_PIXELS // 10**6}", name)) from error
    except BROKEN as error:
        reason = (getattr(error, "strerror", None) or str(error)).strip()
        raise SourceError(f"{name} cannot be read as an image ({reason}); {ACCEPTED}") from error


def check_pixels(size_hw: tuple[int, ...], name: str) -> None:
    """Raise SourceError for an image of more pixels than one sample can be made of."""
    if (count := size_hw[0] * size_hw[1]) > MAX_PIXELS:
        raise SourceError(
            _too_large(f"{size_hw[0]} x {size_hw[1]} px (height, width), {count / 10**6:.0f}", name)
        )


def _too_large(megapixels: str, name: str) -> str:
    return (
        f"{name} has {megapixels} megapixels; images of up to {MAX_PIXELS // 10**6} are read, as "
        "each sample takes 200 times as many bytes of memory: cut it into tiles, or scale it down"
    )


def _check_pages(opened: Image.Image, name: str) -> None:
    """Raise SourceError for an image of several pages, frames or pictures: which one is meant?

    Smaller versions of a TIFF's first page, and the previews and gain maps of phones, do not count.
    """
    try:
        count = getattr(opened, "n_frames", 1)
    except BROKEN:  # what lies behind the first page is broken, and not wanted
        return
    if count > 1 and opened.format == "MPO":
        if any(said in str(opened.info.get("xmp", b"")).encode() for said in GAIN_MAPS):
            count = 1
        else:  # previews are smaller than the first picture
            sizes = []
            for number in range(count):
                opened.seek(number)
                sizes.append(opened.size)
            opened.seek(0)
            count = sizes.count(sizes[0])
    elif count > 1 and opened.format == "TIFF":
        smaller = 0
        for number in range(count):
            opened.seek(number)
            smaller += _tag(opened, SUBFILE_TYPE, 0) & 1  # 1 = a smaller version of another page
        opened.seek(0)
        count -= smaller
    depth = _tag(opened, IMAGE_DEPTH, 1)
    refuse_pages(count * depth, name)


def refuse_pages(count: int, name: str) -> None:
    """Raise SourceError for a file of several pages, which are not told apart."""
    if count > 1:
        raise SourceError(
            f"{name} holds {count} pages; which one is meant is not known: save each as a file of "
            "its own"
        )


def _tag(opened: Image.Image, number: int, default: int) -> int:
    """Return an integer tag of a TIFF, the largest of several; the default for other formats."""
    found: Any = getattr(opened, "tag_v2", {}).get(number, default)
    return int(max(found)) if isinstance(found, tuple) else int(found)


def _check_levels(sample_format: int, bits: int, name: str) -> None:
    """Raise SourceError for levels that are not unsigned integers of 16 bit or fewer."""
    kind = {1: "", 2: "signed", 3: "floating point", 4: ""}.get(sample_format, "complex")
    if kind or bits > 16:
        raise SourceError(f"{name} holds {kind or f'{bits} bit'} pixels; {ACCEPTED}")


def _decode_by_opencv(data: bytes, name: str, opened: Image.Image) -> NDArray[np.uint16]:
    """Decode 16 bit levels; imdecode, as imread fails on a TIFF that is turned by 90 degrees."""
    is_tiff = opened.format == "TIFF"
    photometric = _tag(opened, PHOTOMETRIC, 2)
    if is_tiff and photometric not in (0, 1, 2):
        raise SourceError(f"{name} holds 16 bit levels that are neither grey nor RGB; {ACCEPTED}")
    try:
        with silent_opencv:
            raw = cv2.imdecode(
                np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
            )
    except cv2.error as error:
        raise SourceError(f"{name} cannot be decoded ({error}); {ACCEPTED}") from error
    if raw is None and is_tiff:  # of a compression that OpenCV does not know
        return np.asarray(_decode_by_tifffile(data, name), np.uint16)
    if raw is None or raw.dtype != np.uint16:
        raise SourceError(f"{name} cannot be read with 16 bit levels; {ACCEPTED}")
    is_grey = photometric in (0, 1) if is_tiff else data[25] in (0, 4)  # of the IHDR chunk
    if raw.ndim == 3 and is_grey:  # grey with alpha comes as three equal channels
        raw = raw[..., 0]
    if is_tiff and photometric == 0:
        raw = np.iinfo(np.uint16).max - raw
    return np.ascontiguousarray(raw if raw.ndim == 2 else raw[..., 2::-1])


@contextmanager
def opened_tiff(data: bytes | Path, name: str) -> Iterator[Any]:
    """Open a TIFF and give its only page, as tifffile has it, checked by its tags.

    Raises SourceError, also for what fails in the body of the ``with``.
    """
    from tifffile import TiffFile  # takes a third of a second

    try:
        with TiffFile(io.BytesIO(data) if isinstance(data, bytes) else data) as file:
            page: Any = file.pages[0]
            check_pixels((page.imagelength, page.imagewidth), name)
            pages: Any = file.pages
            count = sum(not one.is_reduced for one in pages) if len(pages) > 1 else 1
            refuse_pages(count * page.imagedepth, name)
            _check_levels(int(page.sampleformat), int(page.bitspersample), name)
            if int(page.photometric) not in (0, 1, 2):
                raise SourceError(
                    f"{name} is neither grey nor RGB ({page.photometric.name}); {ACCEPTED}"
                )
            yield page
    except SourceError:
        raise
    except Exception as error:  # tifffile and its codecs raise what they like
        reason = str(error).strip()
        install = "pip install imagecodecs, or " if "imagecodecs" in reason else ""
        raise SourceError(
            f"{name} cannot be read as an image ({reason}); {install}{ACCEPTED}"
        ) from error


def _decode_by_tifffile(data: bytes, name: str) -> Pixels:
    with opened_tiff(data, name) as page:
        levels = page.asarray()
        if page.axes.startswith("S"):  # planes that lie apart
            levels = np.moveaxis(levels, 0, -1)
        if levels.ndim == 3:  # without alpha
            levels = levels[..., :3] if int(page.photometric) == 2 else levels[..., 0]
        if levels.dtype not in (np.uint8, np.uint16) or levels.ndim > 3:
            raise SourceError(f"{name} holds {levels.dtype} of {levels.shape}; {ACCEPTED}")
        if int(page.photometric) == 0:
            levels = 2 ** int(page.bitspersample) - 1 - levels
        tag = page.tags.get(ORIENTATION)
        orientation = 1 if tag is None else int(tag.value)
        if orientation >= 5:  # upright: rows are stored as columns
            levels = levels.swapaxes(0, 1)
        rows = -1 if orientation in (3, 4, 7, 8) else 1
        columns = -1 if orientation in (2, 3, 6, 7) else 1
        return np.ascontiguousarray(levels[::rows, ::columns])


def read_opaque(path: Path) -> NDArray[np.bool_] | None:
    """Return where an image shows something, (H, W); None where it has no transparent pixel.

    Alpha that is the same everywhere says nothing. Raises SourceError.
    """
    with opened_image(path, str(path)) as opened:
        if opened is None or not opened.has_transparency_data:
            return None
        alpha = np.asarray(ImageOps.exif_transpose(opened).convert("RGBA").getchannel("A"))
    opaque = np.asarray(alpha >= OPAQUE * int(alpha.max()))
    return None if opaque.all() else opaque
