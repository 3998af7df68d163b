"""Files that are whole or absent, and where what ships with synthgen lies."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from synthgen.errors import RunError

__all__ = [
    "beside",
    "find_shipped",
    "is_left",
    "name_beside",
    "remove_leftovers",
    "write_bytes",
    "write_text",
    "write_whole",
]

LEFTOVER = re.compile(r"\.(?:(?P<host>[0-9a-f]{8})-)?(?P<pid>\d+)-\d+\.tmp")  # 0.1.0: no host
OLD_S = 86_400  # two hosts' clocks do not differ by a day


def find_shipped(name: str) -> Path:
    """Return conf/, pipelines/ or data/: inside an installed package, or in the checkout."""
    package = Path(__file__).resolve().parent
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
    """Yield the path of a file beside another one, which nobody else has; it is removed after."""
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
    """Say whether a path is one of ``name_beside`` whose process is no more.

    Processes of other hosts cannot be asked: theirs count as left after a day.
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
