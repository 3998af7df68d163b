"""How images get into a dataset: copied, linked or referred to; marked, and signed if asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from synthgen.errors import ConfigError
from synthgen.exporting.intact import check_stored_image
from synthgen.exporting.labels import LabelledImage
from synthgen.imaging.images import decode_image, encode_png
from synthgen.runs.reader import read_present
from synthgen.storage.provenance import is_marked, mark_png

__all__ = ["Media", "MediaMode", "read_file", "refer_to"]

MediaMode = Literal["copy", "link", "refer"]
HEAD_BYTES = 1 << 16  # more than what stands before the pixels of an image made here
Sign = Callable[[bytes, LabelledImage], bytes]


@dataclass(frozen=True, slots=True)
class Media:
    """Puts images into a dataset.

    ``copy`` writes files of their own; ``link`` makes hard links where the disk can (no space, at
    once; never edit one in place) and copies what lies elsewhere or in a tar; ``refer`` leaves
    images where they are and gives relative paths, in formats that can. ``sign`` gets the bytes of
    a PNG and returns them signed.
    """

    mode: MediaMode = "copy"
    sign: Sign | None = None

    def place(self, image: LabelledImage, target: Path) -> None:
        """Put the image at ``target``, whose folder is there.

        A file is linked only where it needs no change: upright, and marked if it is synthetic.
        Raises RunError where the image is gone or is not the one that the run wrote.
        """
        is_linked = self.mode == "link" and self.sign is None and not image.is_turned
        path = image.path.local if is_linked else None
        data = read_file(image)
        if path is not None and (not image.is_synthetic or is_marked(data[:HEAD_BYTES])):
            try:
                os.link(path, target)
                return
            except OSError:  # another disk, or one without links
                pass
        target.write_bytes(self._finish(image, data))

    def read(self, image: LabelledImage) -> bytes:
        """Return the bytes of the image's file, marked if it is synthetic; pixels as they are.

        One that EXIF turns is a PNG, upright: readers that ignore EXIF would see it turned against
        its labels.
        """
        return self._finish(image, read_file(image))

    def _finish(self, image: LabelledImage, file: bytes) -> bytes:
        """Return a file as it goes into a dataset: upright, marked, signed if asked."""
        if image.is_turned:
            file = encode_png(decode_image(file, str(image.path)))
        data = mark_png(file, image.digital_source)
        return self.sign(data, image) if self.sign and image.is_synthetic else data


def read_file(image: LabelledImage) -> bytes:
    """Return the bytes of an image's file; raises RunError where it is not as the run wrote it."""
    data = read_present(image.path, "" if image.facts else "the real data")
    if image.facts:  # those of a run; real images have none
        digest = str(image.facts.get("image_digest") or "")
        check_stored_image(data, image.size_hw, digest, image.path)
    return data


def refer_to(image: LabelledImage, folder: Path) -> str:
    """Return the image's path as seen from a folder, with / between its parts.

    Raises ConfigError where it is not a file on this machine, and RunError where it is not the one
    that the run wrote.
    """
    path = image.path.local
    if path is None:
        raise ConfigError(
            f"media=refer needs images that are files on this machine, but {image.path} lies "
            "elsewhere or inside a tar; give media=copy"
        )
    read_file(image)
    return Path(os.path.relpath(path, folder)).as_posix()
