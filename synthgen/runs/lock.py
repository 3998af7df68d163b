"""One run, one holder: a lock beside the run folder, which says who holds it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
import psutil

from synthgen.errors import RunError
from synthgen.files import write_text

__all__ = ["hold_run"]

BEAT_S, STALE_S = 10.0, 60.0  # how often a holder shows that it lives; how long it may not


@contextmanager
def hold_run(location: str) -> Iterator[None]:
    """Hold a run folder (a path or an fsspec URL) while inside; raises RunError where it is held.

    The lock is ``.<name>.lock`` beside the folder. It is taken over from a process of this machine
    that is no more, or from another machine that has not shown itself for a minute.
    """
    files, path = _beside(location)
    own = _describe_self()
    _take(files, path, own, location)
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(files, path, own, over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()
        with suppress(OSError):
            files.rm_file(path)


def _beside(location: str) -> tuple[Any, str]:
    if "://" not in location:
        folder = Path(location).expanduser().absolute()
        return fsspec.filesystem("file"), str(folder.with_name(f".{folder.name}.lock"))
    from synthgen.storage import find_files

    files, root = find_files(location)
    parent, _, name = root.rstrip("/").rpartition("/")
    return files, f"{parent}/.{name}.lock"


def _describe_self() -> dict[str, Any]:
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "pid": process.pid,
        "begun": process.create_time(),
    }


def _take(files: Any, path: str, own: Mapping[str, Any], location: str) -> None:
    for _ in range(3):
        if _write_new(files, path, _stamp(own)):
            return
        held = _read(files, path)
        if held is None:
            time.sleep(0.5)  # it may be just being written
            held = _read(files, path)
        if held is not None and not _is_stale(held):
            raise RunError(
                f"{location} is held by process {held['pid']} on {held['host']}, which works on "
                f"it; wait for it, or stop it and delete {path}"
            )
        with suppress(OSError):
            files.rm_file(path)
    raise RunError(f"{location} could not be locked: {path} comes back; is another run starting?")


def _write_new(files: Any, path: str, text: str) -> bool:
    """Write a file that must not be there yet; say whether that worked."""
    if "file" in files.protocol:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with open(path, "x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            return False
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror or error}") from error
        return True
    with suppress(FileNotFoundError):
        files.info(path)
        return False
    files.pipe_file(path, text.encode())
    time.sleep(0.2)  # object storage knows no "only if new": the last of two writers is seen
    return bool(files.cat_file(path) == text.encode())


def _stamp(own: Mapping[str, Any]) -> str:
    return json.dumps({**own, "seen": time.time()})


def _read(files: Any, path: str) -> dict[str, Any] | None:
    """Return who holds the lock; None where it is gone, or was left half-written."""
    try:
        held = json.loads(files.cat_file(path))
        return held if {"host", "pid", "begun", "seen"} <= held.keys() else None
    except (OSError, ValueError):
        return None


def _is_stale(held: Mapping[str, Any]) -> bool:
    if held["host"] != socket.gethostname():
        return bool(time.time() - held["seen"] > STALE_S)
    try:
        begun = float(psutil.Process(held["pid"]).create_time())
    except psutil.NoSuchProcess:
        return True
    return abs(begun - float(held["begun"])) > 1  # another process has its number now


def _beat(files: Any, path: str, own: Mapping[str, Any], over: threading.Event) -> None:
    while not over.wait(BEAT_S):
        with suppress(OSError, RunError):  # the next beat may be heard again
            if "file" in files.protocol:
                write_text(Path(path), _stamp(own))  # whole: never read half-written
            else:
                files.pipe_file(path, _stamp(own).encode())
