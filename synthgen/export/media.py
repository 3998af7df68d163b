"""How images get into a dataset: copied, linked or referred to; marked, and signed if asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from synthgen.errors import RunError
from synthgen.export.labels import LabelledImage
from synthgen.marking import is_marked, mark_png

__all__ = ["Media", "MediaMode"]

MediaMode = Literal["copy", "link", "refer"]
HEAD_BYTES = 1 << 16  # more than what stands before the pixels of an image made here
Sign = Callable[[bytes, LabelledImage], bytes]


@dataclass(frozen=True, slots=True)
class Media:
    """Puts images into a dataset.

    ``copy`` writes files of their own; ``link`` makes hard links where the disk can (no space, at
    once; never edit one in place); ``refer`` leaves images where they are and gives relative paths,
    in formats that can. ``sign`` gets the bytes of a PNG and returns them signed.
    """

    mode: MediaMode = "copy"
    sign: Sign | None = None

    def place(self, image: LabelledImage, target: Path) -> None:
        """Put the image at ``target``, whose folder is there; raises RunError where it is gone."""
        if self.mode == "link" and self.sign is None and _needs_no_mark(image):
            try:
                os.link(_present(image), target)
                return
            except OSError:  # another disk, or one without links
                pass
        target.write_bytes(self.read(image))

    def read(self, image: LabelledImage) -> bytes:
        """Return the bytes of the image's file, marked if it is synthetic; pixels as they are."""
        data = mark_png(_present(image).read_bytes(), image.digital_source)
        return self.sign(data, image) if self.sign and image.is_synthetic else data


def _present(image: LabelledImage) -> Path:
    if not image.path.is_file():
        raise RunError(
            f"{image.path} is named in the manifest but missing; the run folder is damaged"
        )
    return image.path


def _needs_no_mark(image: LabelledImage) -> bool:
    if not image.is_synthetic:
        return True
    with _present(image).open("rb") as file:
        return is_marked(file.read(HEAD_BYTES))
