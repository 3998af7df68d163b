"""Files that are whole or absent, and where what ships with synthgen lies."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from synthgen.errors import RunError

__all__ = ["find_shipped", "remove_leftovers", "write_bytes", "write_text", "write_whole"]


def find_shipped(name: str) -> Path:
    """Return conf/, pipelines/ or data/: inside an installed package, or in the checkout."""
    package = Path(__file__).resolve().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside its place, then move it there: whole or absent.

    Raises RunError where the disk refuses; nothing is left behind.
    """
    own = f"{os.getpid()}-{threading.get_ident()}"  # threads may write one file at the same time
    beside = path.with_name(f".{path.stem}.{own}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(beside)
        os.replace(beside, path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # whatever refused the file may refuse this too
            beside.unlink(missing_ok=True)


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
            found = re.search(r"\.(\d+)-\d+\.tmp", path.name)
            if found and not _is_running(int(found[1])):
                path.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    """Say whether a process lives; one that was killed and not yet waited for does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
