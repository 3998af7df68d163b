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

import psutil

from synthgen.errors import RunError
from synthgen.storage import LocalFolder, Storage, open_storage

__all__ = ["hold_run"]

BEAT_S, STALE_S = 10.0, 60.0  # how often a holder shows that it lives; how long it may not


@contextmanager
def hold_run(location: str) -> Iterator[None]:
    """Hold a run folder (a path or an fsspec URL) while inside; raises RunError where it is held.

    The lock is ``.<name>.lock`` beside the folder. It is taken over from a process of this machine
    that is no more, or from another machine that has not shown itself for a minute.
    """
    storage, name = _beside(location)
    own = _describe_self()
    _take(storage, name, own, location)
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(storage, name, own, over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()
        with suppress(RunError):
            storage.remove(name)


def _beside(location: str) -> tuple[Storage, str]:
    """Return where the lock of a run lies, and its name there."""
    if "://" not in location:
        folder = Path(location).expanduser().absolute()
        return LocalFolder(folder.parent), f".{folder.name}.lock"
    parent, _, name = location.rstrip("/").rpartition("/")
    if parent.endswith(":/"):  # a whole bucket has nothing beside it
        return open_storage(location), ".run.lock"
    return open_storage(parent), f".{name}.lock"


def _describe_self() -> dict[str, Any]:
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "pid": process.pid,
        "begun": process.create_time(),
    }


def _take(storage: Storage, name: str, own: Mapping[str, Any], location: str) -> None:
    where = f"{storage.location}/{name}"
    for _ in range(3):
        if storage.create(name, _stamp(own)):
            return
        held = _read(storage, name)
        if held is None:
            time.sleep(0.5)  # it may be just being written
            held = _read(storage, name)
        if held is not None and not _is_stale(held):
            raise RunError(
                f"{location} is held by process {held['pid']} on {held['host']}, which works on "
                f"it; wait for it, or stop it and delete {where}"
            )
        storage.remove(name)
    raise RunError(f"{location} could not be locked: {where} comes back; is another run starting?")


def _stamp(own: Mapping[str, Any]) -> bytes:
    return json.dumps({**own, "seen": time.time()}).encode("utf-8")


def _read(storage: Storage, name: str) -> dict[str, Any] | None:
    """Return who holds the lock; None where it is gone, or was left half-written."""
    try:
        held = json.loads(storage.read(name))
        return held if {"host", "pid", "begun", "seen"} <= held.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _is_stale(held: Mapping[str, Any]) -> bool:
    if held["host"] != socket.gethostname():
        return bool(time.time() - held["seen"] > STALE_S)
    try:
        begun = float(psutil.Process(held["pid"]).create_time())
    except psutil.NoSuchProcess:
        return True
    return abs(begun - float(held["begun"])) > 1  # another process has its number now


def _beat(storage: Storage, name: str, own: Mapping[str, Any], over: threading.Event) -> None:
    while not over.wait(BEAT_S):
        with suppress(RunError):  # the next beat may be heard again
            storage.write(name, _stamp(own))  # whole: never read half-written
