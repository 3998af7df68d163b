"""One run, one holder: a lease beside the run folder, which says who holds it.

The file holds a token, which only its holder knows to be its own, and a stamp that the holder
changes every few seconds. Whether a holder elsewhere still lives is judged by whether the stamp
changes while somebody watches, so no two clocks are compared.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import Field, TypeAdapter, ValidationError
from pydantic import dataclasses as checked

from synthgen.errors import RunError
from synthgen.storage.places import LocalFolder, Storage, open_storage

__all__ = ["Lease", "hold_run"]

BEAT_S = 10.0  # how often a holder changes its stamp
STALE_S = 60.0  # how long a stamp may stay as it is before its holder counts as gone
LOOK_S = 0.5  # how often somebody who watches a stamp looks
DEEPEST = 3  # takers of a lease, of the right to take it, ...: each is there for an instant
log = logging.getLogger(__name__)


@checked.dataclass(frozen=True, kw_only=True)
class _Holder:
    """What a lease says. ``machine`` tells hosts of one name apart, and containers of one host.

    Leases of version 0.1.0 have no machine and no token, and ``seen``, a time, as their stamp.
    """

    host: str
    pid: Annotated[int, Field(gt=0, lt=2**31)]
    begun: Annotated[float, Field(allow_inf_nan=False)]
    machine: str = ""
    token: Annotated[str, Field(pattern=r"^[\w -]{0,64}$")] = ""  # a part of files' names
    stamp: int = 0
    seen: float = 0.0


HOLDER = TypeAdapter(_Holder)


@contextmanager
def hold_run(location: str) -> Iterator[Lease]:
    """Hold a run folder (a path or an fsspec URL) while inside; raises RunError where it is held.

    The lease is ``.<name>.lock`` beside the folder; a link to a run is that run. It is taken over
    at once from a process of this machine that has ended, and from a holder elsewhere that does
    not change its stamp for a minute.
    """
    lease = Lease(location)
    lease.take()
    try:
        yield lease
    finally:
        lease.give_back()


class Lease:
    """The right to work on a run; ``check`` says whether this process still has it.

    ``location``: the run folder, a path or an address.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self._storage, self._name = _beside(location)
        self._own = _describe_self()
        self._taken_by: _Holder | None = None
        self._over = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def take(self) -> None:
        """Take it, and change its stamp every ``BEAT_S`` from now on, in a thread.

        Raises RunError where another process holds it. May take ``STALE_S`` to find out.
        """
        _take(self._storage, self._name, self._own, self._location)
        self._beats.start()

    def check(self) -> None:
        """Raise RunError where another process took the run over, as after a long sleep."""
        if (other := self._taken_by) is not None:
            raise RunError(
                f"process {other.pid} on {other.host} took {self._location} over, as this one gave "
                "no sign of life for a minute; what it made until then is kept"
            )

    def give_back(self) -> None:
        """End it; what another process holds is left alone."""
        self._over.set()
        self._beats.join()
        with suppress(RunError):
            held = _read(self._storage, self._name)
            if held is not None and _parse(held, self._name).token == self._own.token:
                self._storage.remove(self._name)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            with suppress(RunError):  # the next beat may be heard again
                self._renew()
            if self._taken_by is not None:
                return

    def _renew(self) -> None:
        """Change the stamp of a lease that is one's own; write one that was deleted again."""
        self._own = replace(self._own, stamp=self._own.stamp + 1)
        data = _read(self._storage, self._name)
        if data is None:
            self._storage.create(self._name, _format(self._own))
            return
        held = _parse(data, self._name)
        if held.token == self._own.token:
            self._storage.write(self._name, _format(self._own))
        else:
            self._taken_by = held


def _beside(location: str) -> tuple[Storage, str]:
    """Return where the lease of a run lies, and its name there."""
    location = location.removeprefix("file://")
    if "://" not in location:
        folder = Path(location).expanduser().resolve()
        return LocalFolder(folder.parent), f".{folder.name}.lock"
    parent, _, name = location.rstrip("/").rpartition("/")
    if parent.endswith(":/"):  # a whole bucket has nothing beside it
        return open_storage(location), ".run.lock"
    return open_storage(parent), f".{name}.lock"


def _describe_self() -> _Holder:
    """Return this process as a holder, with a new token that nobody else knows."""
    process = psutil.Process()
    return _Holder(
        host=socket.gethostname(),
        pid=process.pid,
        begun=process.create_time(),
        machine=_describe_machine(),
        token=uuid.uuid4().hex,
    )


def _describe_machine() -> str:
    """Return what processes have in common that see each other's numbers: kernel, namespace."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # on systems without these files
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _take(storage: Storage, name: str, own: _Holder, location: str, depth: int = 0) -> None:
    """Write a lease that nobody holds, or one whose holder is gone; raises RunError.

    Of several who find a holder gone only one may replace it: the one that takes the lease of
    that right, which is named by the token that is replaced.
    """
    where = f"{storage.location}/{name}"
    while not storage.create(name, _format(own)):
        data = _read(storage, name)
        if data is None:
            continue  # it went meanwhile
        try:
            held = _parse(data, where)
        except RunError:
            time.sleep(LOOK_S)  # a storage may show a file that is only half-written
            if _read(storage, name) == data:
                raise
            continue
        if depth >= DEEPEST or not _is_gone(storage, name, data, held):
            raise RunError(
                f"{location} is held by process {held.pid} on {held.host}, which works on it; wait "
                f"for it, or stop it and delete {where}"
            )
        right = f"{name}.{held.token or held.pid}"
        _take(storage, right, own, location, depth + 1)
        try:
            if _read(storage, name) == data:
                storage.write(name, _format(own))
                _remove_rights(storage, name)
                return
        finally:
            storage.remove(right)


def _remove_rights(storage: Storage, name: str) -> None:
    """Remove the rights to take a lease that is replaced; takers that died left them."""
    for other in storage.names():
        if other.startswith(f"{name}."):
            storage.remove(other)


def _format(holder: _Holder) -> bytes:
    data: bytes = HOLDER.dump_json(holder)
    return data


def _read(storage: Storage, name: str) -> bytes | None:
    try:
        return storage.read(name)
    except FileNotFoundError:
        return None


def _parse(data: bytes, where: str) -> _Holder:
    """Return who holds a lease; raises RunError for a file that says something else."""
    try:
        return HOLDER.validate_json(data)
    except ValidationError as error:
        raise RunError(
            f"{where} should say which process works on the run, but synthgen did not write it; "
            "delete it if none does"
        ) from error


def _is_gone(storage: Storage, name: str, data: bytes, held: _Holder) -> bool:
    """Say whether a holder has ended; one that cannot be asked is watched for up to a minute."""
    is_here = held.machine == _describe_machine() or (
        not held.machine and held.host == socket.gethostname()
    )
    if is_here:
        try:
            process = psutil.Process(held.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            if abs(process.create_time() - held.begun) <= 1:
                return False
        except psutil.NoSuchProcess:
            return True
    log.warning(
        "watching for up to %d s whether process %d on %s, which holds %s/%s, still lives",
        *(STALE_S, held.pid, held.host, storage.location, name),
    )
    until = time.monotonic() + STALE_S
    while time.monotonic() < until:
        time.sleep(LOOK_S)
        now = _read(storage, name)
        if now != data:
            return now is None
    return True
