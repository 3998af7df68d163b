"""Which files of a folder are images, and which are left out."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthgen.errors import SourceError

__all__ = ["SUFFIXES", "Listing", "is_hidden", "list_files", "show_path"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
OTHER_SUFFIXES = {  # of images that are not read
    *(".avif", ".cr2", ".dng", ".exr", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".nef"),
    *(".npy", ".pbm", ".pgm", ".pnm", ".ppm", ".raw", ".webp"),
}
KEPT_BY_SYSTEMS = {  # thumbnails, trash and the like, in lower case; names with a dot first are too
    *("@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "__macosx", "lost+found"),
    *("system volume information", "thumbnails", "thumbs"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files of a folder and the folders in it.

    ``files``: sorted; each is a regular file, or a link to one. ``faults``: a sentence for each
    file that has a wanted suffix and cannot be used. ``notes``: sentences on what is left out on
    purpose. ``links``: links to folders, which are not followed. ``others``: images of kinds that
    are not read.
    """

    files: Sequence[Path]
    faults: Sequence[str]
    notes: Sequence[str]
    links: Sequence[Path]
    others: Sequence[Path]


def list_files(root: Path, suffixes: Collection[str] = SUFFIXES) -> Listing:
    """List the files of a folder and the folders in it that have a suffix, in any case of letters.

    Hidden files, thumbnails and trash are left out. Raises SourceError for a folder that cannot be
    read.
    """
    files, links, hidden, others = [], [], [], []
    faults = {}
    for folder, inner, names in os.walk(root, onerror=_refuse):
        place = Path(folder)
        hidden += [place / name for name in inner if is_hidden(name)]
        inner[:] = [name for name in inner if not is_hidden(name)]
        links += [place / name for name in inner if (place / name).is_symlink()]
        for name in names:
            suffix = Path(name).suffix.lower()
            if is_hidden(name):
                hidden += [place / name] if suffix in suffixes else []
            elif suffix in suffixes:
                files.append(place / name)
            elif suffix in OTHER_SUFFIXES:
                others.append(place / name)
    for path in files:
        if fault := _find_fault(path):
            faults[path] = fault
    hidden = sorted(path for path in hidden if _holds(path, suffixes))
    return Listing(
        files=sorted(path for path in files if path not in faults),
        faults=[faults[path] for path in sorted(faults)],
        notes=list(_tell(hidden, sorted(links), sorted(others))),
        links=sorted(links),
        others=sorted(others),
    )


def is_hidden(name: str) -> bool:
    """Say whether systems and editors made a file or folder for themselves, by its name.

    >>> is_hidden(".ipynb_checkpoints"), is_hidden("._a.png"), is_hidden("@eaDir"), is_hidden("a")
    (True, True, True, False)
    """
    return name.startswith(".") or name.lower() in KEPT_BY_SYSTEMS


def show_path(path: Path | str) -> str:
    r"""Return a path as text that can be printed: bytes that are not UTF-8 as \x.. .

    >>> print(show_path("Pr\udcfcf.png"))
    Pr\xfcf.png
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _refuse(error: OSError) -> None:
    shown = show_path(error.filename)
    raise SourceError(f"the folder {shown} cannot be read: {error.strerror}") from error


def _find_fault(path: Path) -> str:
    """Return a sentence why a path cannot be read as a file, or ''."""
    shown = show_path(path)
    try:
        os.path.realpath(path).encode("utf-8")
    except UnicodeEncodeError:
        return f"{shown} has a name that is not UTF-8; rename it, e.g. with convmv"
    if CONTROL.search(str(path)):  # a name is one line, in a run's tables and elsewhere
        return f"{str(path)!r} has a line break or another control character in it; rename it"
    try:
        mode = path.stat().st_mode
    except OSError as error:  # also of a link that leads to itself
        what = "a link to a file that is not there" if path.is_symlink() else error.strerror
        return f"{shown} cannot be read: it is {what}"
    if stat.S_ISREG(mode):
        return ""
    return f"{shown} is a device, a pipe or a socket; a regular file is expected there"


def _holds(path: Path, suffixes: Collection[str]) -> bool:
    """Say whether a path is a file, or a folder with a file of these suffixes in it."""
    if path.is_symlink() or not path.is_dir():
        return True
    return any(
        Path(name).suffix.lower() in suffixes for _, _, names in os.walk(path) for name in names
    )


def _tell(hidden: Sequence[Path], links: Sequence[Path], others: Sequence[Path]) -> Iterator[str]:
    if hidden:
        yield (
            f"{len(hidden)} hidden files or folders, thumbnails or trash count for nothing (the "
            f"first: {show_path(hidden[0])})"
        )
    if links:
        yield (
            f"{len(links)} links to folders are not followed (the first: {show_path(links[0])}); "
            "give the folder itself"
        )
    if others:
        kinds = Counter(path.suffix.lower() for path in others)
        yield (
            f"{len(others)} images of kinds that are not read count for nothing "
            f"({', '.join(sorted(kinds))}; the first: {show_path(others[0])}); save them as PNG"
        )
