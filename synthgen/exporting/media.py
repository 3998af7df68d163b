"""How images get into a dataset: copied, linked or referred to; marked, and signed if asked."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from synthgen.errors import ConfigError
from synthgen.exporting.intact import check_stored_image
from synthgen.exporting.labels import LabelledImage
from synthgen.imaging.images import decode_image, encode_png
from synthgen.runs.reader import read_present
from synthgen.storage.provenance import is_marked, mark_png

__all__ = ["Media", "MediaMode", "read_file"]

MediaMode = Literal["copy", "link", "refer"]
THREADS, MAX_WAITING = 2, 64  # of checks beside the work; each waiting one may hold a file
HEAD_BYTES = 1 << 16  # more than what stands before the pixels of an image made here
Sign = Callable[[bytes, LabelledImage], bytes]


class _Checks:
    """Compares images that are not copied with what the run wrote.

    Reading and checksums leave Python's lock alone, so that labels are written meanwhile.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Run the checks of this block in threads; raises the first RunError of any."""
        with ThreadPoolExecutor(THREADS) as self._pool:
            try:
                yield
                self._wait(0)
            finally:
                for one in self._waiting:
                    one.cancel()
                self._waiting.clear()
                self._pool = None

    def check(self, image: LabelledImage) -> None:
        """Check an image, now or beside what follows; raises RunError."""
        if self._pool is None:
            _check_file(image)
            return
        self._waiting.append(self._pool.submit(_check_file, image))
        self._wait(MAX_WAITING)

    def _wait(self, most: int) -> None:
        while len(self._waiting) > most:
            self._waiting.popleft().result()


def _check_file(image: LabelledImage) -> None:
    read_file(image)


def _read_head(image: LabelledImage) -> bytes:
    """Return the first bytes of an image's file; raises RunError as ``read_file`` does."""
    path = image.path.local
    if path is None or not path.is_file():
        return read_file(image)[:HEAD_BYTES]
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


@dataclass(frozen=True, slots=True)
class Media:
    """Puts images into a dataset.

    ``copy`` writes files of their own; ``link`` makes hard links where the disk can (no space, at
    once; never edit one in place) and copies what lies elsewhere or in a tar; ``refer`` leaves
    images where they are and gives relative paths, in formats that can. ``sign`` gets the bytes of
    a PNG and returns them signed. ``placed`` is called for each image that is done.
    """

    mode: MediaMode = "copy"
    sign: Sign | None = None
    placed: Callable[[], None] = lambda: None
    _checks: _Checks = field(default_factory=_Checks, compare=False, repr=False)

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Check images that are not copied beside the work of this block; wait for it at its end.

        Outside of such a block each is checked at once. Raises RunError.
        """
        with self._checks.beside():
            yield

    def place(self, image: LabelledImage, target: Path) -> None:
        """Put the image at ``target``, whose folder is there.

        A file is linked only where it needs no change: upright, and marked if it is synthetic.
        Raises RunError where the image is gone or is not the one that the run wrote.
        """
        is_linked = self.mode == "link" and self.sign is None and not image.is_turned
        path = image.path.local if is_linked else None
        if path is not None and (not image.is_synthetic or is_marked(_read_head(image))):
            try:
                os.link(path, target)
                self._checks.check(image)
                self.placed()
                return
            except OSError:  # another disk, or one without links
                pass
        target.write_bytes(self.read(image))

    def refer(self, image: LabelledImage, folder: Path) -> str:
        """Return the image's path as seen from a folder, with / between its parts.

        Raises ConfigError where it is not a file on this machine, and RunError where it is not the
        one that the run wrote.
        """
        path = image.path.local
        if path is None:
            raise ConfigError(
                f"media=refer needs images that are files on this machine, but {image.path} lies "
                "elsewhere or inside a tar; give media=copy"
            )
        self._checks.check(image)
        self.placed()
        return Path(os.path.relpath(path, folder)).as_posix()

    def read(self, image: LabelledImage) -> bytes:
        """Return the bytes of the image's file, marked if it is synthetic; pixels as they are.

        One that EXIF turns is a PNG, upright: readers that ignore EXIF would see it turned against
        its labels.
        """
        data = self._finish(image, read_file(image))
        self.placed()
        return data

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
