"""Files that are whole or absent, names that stay in their folder, and where what ships lies."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from synthgen.errors import RunError

__all__ = [
    "DOTS",
    "PART",
    "RELATIVE",
    "beside",
    "check_kind",
    "check_name",
    "check_relative",
    "check_size",
    "defuse",
    "digest_file",
    "find_shipped",
    "inside",
    "is_left",
    "name_beside",
    "read_json",
    "remove_leftovers",
    "write_bytes",
    "write_text",
    "write_whole",
]

LEFTOVER = re.compile(r"\.(?:(?P<host>[0-9a-f]{8})-)?(?P<pid>\d+)-\d+\.tmp")  # 0.1.0: no host
PART = r"[^/\\\x00-\x1f\x7f]+"  # of a path: no separators of any system, nothing invisible
RELATIVE = f"{PART}(?:/{PART})*"  # of a file inside of a folder
DOTS = r"(?:^|/)\.{1,2}(?:/|$)"  # a part that leads elsewhere; searched for where the rest is PARTs
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
OLD_S = 86_400  # two hosts' clocks do not differ by a day
MAX_BYTES = 4 << 30  # of one file that is read as a whole


def find_shipped(name: str) -> Path:
    """Return conf/, pipelines/ or data/: inside an installed package, or in the checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside its place, then move it there: whole or absent.

    Raises RunError where the disk refuses; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside(path) as whole:
            write(whole)
            os.replace(whole, path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yield the path of a new file beside another one, for this thread alone; it is removed after.

    See ``name_beside``.
    """
    temporary = name_beside(path)
    try:
        yield temporary
    finally:
        with suppress(OSError):  # whatever refused the file may refuse this too
            temporary.unlink(missing_ok=True)


def name_beside(path: Path) -> Path:
    """Return a name beside a path, for what is not whole yet.

    Several hosts may write one file on a shared disk, and several threads of one process.
    """
    own = f"{_host()}-{os.getpid()}-{threading.get_ident()}"
    return path.with_name(f".{path.stem}.{own}.tmp{path.suffix}")


def _host() -> str:
    """Return a short name of this host, safe in file names; containers have names of their own."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; raises RunError where the disk refuses."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; raises RunError where the disk refuses."""
    write_whole(path, lambda beside: beside.write_bytes(data))


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder and the folders in it."""
    for place in [folder, *(path for path in folder.iterdir() if path.is_dir())]:
        for path in place.glob(".*.tmp*"):
            if is_left(path):
                path.unlink(missing_ok=True)


def is_left(path: Path) -> bool:
    """Say whether a path is one of ``name_beside`` whose process has ended.

    Processes of other hosts cannot be asked: their files count as left after a day.
    """
    found = LEFTOVER.search(path.name)
    if not found:
        return False
    if found["host"] in (None, _host()):
        return not _is_running(int(found["pid"]))
    with suppress(OSError):  # its writer may just have moved it
        return time.time() - path.stat().st_mtime > OLD_S
    return False


def _is_running(pid: int) -> bool:
    """Say whether a process lives; one that was killed and not yet waited for does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def digest_file(data: bytes) -> str:
    """Return what a run stores of a file, to see damage: its CRC-32 and its length, hexadecimal.

    >>> digest_file(b"abc")
    '352441c2-3'
    """
    return f"{zlib.crc32(data):08x}-{len(data):x}"


def defuse(cell: Any) -> Any:
    """Return a cell for a CSV file, so that a spreadsheet does not take a text for a formula.

    Such a text gets a ' before it; everything else stays as it is.

    >>> defuse("=1+1"), defuse("a-b"), defuse(-3)
    ("'=1+1", 'a-b', -3)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell


def read_json(path: Path) -> Any:
    """Return what a JSON file of ours holds; raises RunError where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error}); delete it, or give another folder") from error


def inside(root: Path, name: str) -> Path:
    """Return the path of what a file calls ``name`` in the folder ``root``, there or not.

    Raises RunError for an absolute path, ``..``, a link that leads out of the folder, and for what
    is neither a file nor a folder: a pipe would be waited for without end.
    """
    check_relative(name, str(root))
    path, mode = root, 0
    for part in name.split("/"):
        path = path / part
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                _check_link(path, root)
                mode = path.stat().st_mode
        except OSError:  # it is not there; whoever opens it says so
            return root / name
    check_kind(path, mode)
    return path


def check_name(name: object, what: str) -> str:
    """Return a text out of a file that can be a part of a path; raises RunError that says ``what``.

    >>> check_name("pit-000001", "sample_id")
    'pit-000001'
    """
    if isinstance(name, str) and re.fullmatch(PART, name) and not re.search(DOTS, name):
        return name
    raise RunError(
        f"{what}={name!r} cannot be part of a file's name: it may hold no /, no \\, nothing "
        "invisible, and not be empty, . or .."
    )


def check_relative(name: str, where: str) -> None:
    """Raise RunError where ``name`` is not that of a file inside of ``where``."""
    if not re.fullmatch(RELATIVE, name) or re.search(DOTS, name):
        raise RunError(
            f"{where} is asked for {name!r}, which is not the name of a file inside of it; names "
            "of a run's files are relative, without .. and \\"
        )


def _check_link(path: Path, root: Path) -> None:
    try:
        is_inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # it leads to itself
        is_inside = False
    if not is_inside:
        raise RunError(
            f"{path} is a link that leads out of {root}; copy what it leads to into its place if "
            "you trust it"
        )


def check_kind(path: Path, mode: int) -> None:
    """Raise RunError where a path is neither a file nor a folder."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise RunError(f"{path} is a device, a pipe or a socket; a regular file is expected there")


def check_size(path: Path | str, size: int) -> None:
    """Raise RunError for more bytes than are read as a whole: 4 GiB."""
    if size > MAX_BYTES:
        raise RunError(f"{path} is larger than {MAX_BYTES >> 30} GiB; it is not read")
