"""Paths that come out of a dataset's files: they stay in its folder, and lead to regular files."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection
from pathlib import Path, PurePosixPath, PureWindowsPath

from synthgen.errors import RunError, SourceError
from synthgen.storage.files import inside
from synthgen.storage.listing import SUFFIXES, Listing, list_files, show_path
from synthgen.storage.pairing import name_key

__all__ = ["find_file", "list_images", "read_dataset_text", "relative_to_root", "stay_inside"]


def find_file(root: Path, name: str, named_by: Path | str, hint: str = "") -> Path:
    """Return the regular file that ``named_by`` calls ``name`` in the folder ``root``.

    ``/`` and ``\\`` separate folders. An absolute name must lie in ``root``. Raises SourceError for
    a name that leads out of ``root``, or to what is missing or not a regular file; ``hint`` says
    what else to do.
    """
    if not isinstance(name, str) or not name.strip() or "\x00" in name:
        raise SourceError(f"{named_by} names a file {name!r}; a name is expected there")
    plain = relative_to_root(root, PurePosixPath(name.replace("\\", "/")))
    if plain.is_absolute() or PureWindowsPath(name).drive or ".." in plain.parts:
        raise SourceError(
            f"{named_by} names {show_path(name)}, which leads out of {show_path(root)}; names are "
            f"relative to it, without ..{hint}"
        )
    relative = plain.as_posix()
    path = stay_inside(root, relative, named_by)
    if not path.exists() and not relative.isascii():
        path = stay_inside(root, _find_same_name(root, relative), named_by)
    if path.is_file():
        return path
    shown = show_path(name)
    if path.exists():
        raise SourceError(f"{named_by} names {shown}, which is a folder; a file is expected there")
    beside = os.listdir(path.parent) if path.parent.is_dir() else []
    near = [other for other in beside if name_key(other) == name_key(path.name)]  # case differs
    told = f" ({show_path(near[0])} is there: names must be equal)" if len(near) == 1 else ""
    raise SourceError(
        f"{show_path(path)} is named by {named_by} but missing{told}; put it there, or take its "
        f"entry out{hint}"
    )


def stay_inside(root: Path, relative: str, named_by: Path | str) -> Path:
    """Return a path in ``root``, '' = ``root`` itself.

    Raises SourceError for a link out of it, a device or a pipe.
    """
    try:
        return inside(root, relative) if relative else root
    except RunError as error:
        raise SourceError(f"{named_by}: {error}") from error


def list_images(root: Path, suffixes: Collection[str] = SUFFIXES) -> Listing:
    """List a dataset's images, as ``list_files`` does; each lies in ``root``.

    Raises SourceError for a file that cannot be read, since a photo that is left out changes what
    is measured, and for a link that leads out of ``root``.
    """
    listing = list_files(root, suffixes)
    if listing.faults:
        raise SourceError(listing.faults[0])
    for path in [*listing.files, *listing.links]:
        stay_inside(root, path.relative_to(root).as_posix(), root)
    return listing


def read_dataset_text(path: Path) -> str:
    """Return a text file, UTF-8 with or without a byte order mark; raises SourceError."""
    if path.exists() and not path.is_file():
        raise SourceError(f"{path} is not a regular file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error


def relative_to_root(root: Path, path: PurePosixPath) -> PurePosixPath:
    """Return an absolute path that lies in ``root`` as one relative to it; others as they are.

    ``root`` may be a link: its own path and the one behind the link are tried.
    """
    for base in (root.absolute(), root.resolve()) if path.is_absolute() else ():
        if path.is_relative_to(base):
            return path.relative_to(base)
    return path


def _find_same_name(root: Path, relative: str) -> str:
    """Return a name as the disk has it: a Mac encodes umlauts in another Unicode form."""
    found: list[str] = []
    for part in relative.split("/"):
        place, wanted = root.joinpath(*found), unicodedata.normalize("NFC", part)
        same: list[str] = []
        if place.is_dir() and not (place / part).exists():
            same = [n for n in os.listdir(place) if unicodedata.normalize("NFC", n) == wanted]
        found.append(same[0] if len(same) == 1 else part)
    return "/".join(found)
