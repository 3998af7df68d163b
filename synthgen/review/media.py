"""Files that the App can show: on this machine, and of a kind that browsers draw."""

from __future__ import annotations

from pathlib import Path

from synthgen.errors import RunError
from synthgen.imaging.images import decode_image, encode_png, grey_window, to_rgb8
from synthgen.storage.files import write_bytes
from synthgen.storage.places import StoredFile

__all__ = ["ShownFiles"]

DRAWN_BY_BROWSERS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
PNG_HEAD_BYTES, DEPTH_AT = 26, 24  # of a PNG: where its bit depth stands


class ShownFiles:
    """Finds a path for each file of a run.

    A file that is not on this machine, that lies inside a tar, or that browsers do not draw gets a
    copy in ``folder``. What they do not draw becomes an 8-bit PNG there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, str] = {}  # a source is that of many samples

    def path_of(self, file: StoredFile) -> str:
        """Return the whole path of a file, or of its copy; raises RunError where it is gone.

        A copy that lies there already, as of an earlier push, is not made again.
        """
        key = str(file)
        if key not in self._known:
            self._known[key] = self._find(file)
        return self._known[key]

    def _find(self, file: StoredFile) -> str:
        local = file.local
        try:
            if local is not None and _is_drawn(file):
                return str(local.absolute())
            copy = self._folder / Path(file.path).relative_to(Path(file.path).anchor)
            copy = copy.with_suffix(".png")
            if not copy.is_file():
                data = file.read_bytes()
                if not _is_drawn(file):
                    pixels = decode_image(data, str(file))
                    data = encode_png(to_rgb8(pixels, grey_window(pixels)))
                write_bytes(copy, data)
        except FileNotFoundError as error:
            raise RunError(
                f"{file} is named in the manifest but missing; the run folder is damaged"
            ) from error
        return str(copy.absolute())


def _is_drawn(file: StoredFile) -> bool:
    """Say whether a browser shows the picture as it is: no TIFF, no 16 bit."""
    if file.suffix.lower() != ".png":
        return file.suffix.lower() in DRAWN_BY_BROWSERS
    head = file.read_head(PNG_HEAD_BYTES)
    return len(head) < PNG_HEAD_BYTES or head[DEPTH_AT] != 16
