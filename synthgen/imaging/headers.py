"""What the header of an image file says: its size, how it lies, whether the file is whole."""

from __future__ import annotations

import io
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from synthgen.imaging.decoding import ORIENTATION, decode_image, opened_image, opened_tiff

__all__ = ["check_image", "read_orientation", "read_size"]

STRIPS_AND_TILES = ((273, 279), (324, 325))  # where they start, and how long they are
PNG_CHUNKS, PNG_TEXTS = 8, (b"eXIf", b"iTXt", b"tEXt", b"zTXt")  # begin behind the signature
JPEG_TAIL, JPEG_END = 64, b"\xff\xd9"  # some cameras fill up with zeros


def read_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of an image as ``decode_image`` gives it, from the file's header.

    Raises SourceError.
    """
    return _read_head_of(path)[0]


def read_orientation(path: Path) -> int:
    """Return how EXIF or TIFF turns or mirrors an image, 1..8; 1 = not. Raises SourceError.

    Readers that ignore it see another image than those that do not.
    """
    return _read_head_of(path)[1]


def _read_head_of(path: Path) -> tuple[tuple[int, int], int]:
    """Return upright (height, width) and orientation of a file."""
    try:
        status = path.stat()
    except OSError:
        return _read_head_once(path, 0, 0)  # which says why
    return _read_head_once(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)  # its size and how it lies are asked for one after the other
def _read_head_once(path: Path, mtime_ns: int, size: int) -> tuple[tuple[int, int], int]:
    with opened_image(path, str(path)) as opened:
        if opened is not None:
            file: Any = getattr(opened, "fp", None)
            if opened.format != "PNG" or _has_text_behind(file):
                exif = opened.getexif()
            else:  # a PNG's own method would decode all pixels, to see what lies behind them
                exif = Image.Image.getexif(opened)
            found = exif.get(ORIENTATION, 1)
            orientation = found if isinstance(found, int) else 1
            # Pillow gives a TIFF's size upright, any other as it is stored.
            is_lying = opened.format != "TIFF" and orientation >= 5
            size_hw = opened.size if is_lying else opened.size[::-1]
            return size_hw, orientation if orientation in range(1, 9) else 1
    with opened_tiff(path, str(path)) as page:
        tag = page.tags.get(ORIENTATION)
        orientation = 1 if tag is None else int(tag.value)
        stored = int(page.imagelength), int(page.imagewidth)
        return (stored[::-1] if orientation >= 5 else stored), orientation


def _has_text_behind(file: BinaryIO) -> bool:
    """Say whether EXIF or text lies behind the pixels of a PNG, by the heads of its chunks."""
    at, is_behind = file.tell(), False
    try:
        file.seek(PNG_CHUNKS)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if is_behind and kind in PNG_TEXTS:
                return True
            is_behind |= kind == b"IDAT"
            file.seek(length + 4, io.SEEK_CUR)
        return False
    finally:
        file.seek(at)


def check_image(path: Path) -> tuple[int, int]:
    """Return (height, width) as ``read_size``; raises SourceError for a file that is cut off, too.

    Only a file that may be cut off, by its header and its end, is decoded.
    """
    size_hw = read_size(path)
    with opened_image(path, str(path)) as opened:
        if opened is None or _seems_cut_off(opened, path):
            decode_image(path.read_bytes(), str(path))
        else:
            opened.verify()  # of other formats than PNG by their header only
    return size_hw


def _seems_cut_off(opened: Image.Image, path: Path) -> bool:
    """Say whether a file may end before its pixels do, by its header and its end: at no cost."""
    size = path.stat().st_size
    if opened.format in ("JPEG", "MPO"):
        with path.open("rb") as file:
            file.seek(max(0, size - JPEG_TAIL))
            return not file.read().rstrip(b"\0").endswith(JPEG_END)
    if opened.format == "TIFF":
        tags: Any = getattr(opened, "tag_v2", {})
        return any(
            start + count > size
            for places, counts in STRIPS_AND_TILES
            for start, count in zip(tags.get(places, ()), tags.get(counts, ()), strict=False)
        )
    if opened.format == "BMP":
        with path.open("rb") as file:
            return int.from_bytes(file.read(6)[2:], "little") > size
    return False
