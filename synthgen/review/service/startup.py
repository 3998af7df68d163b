"""Waits for services that start slowly: as long as they work; starts again what does not."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

import psutil

from synthgen.errors import RunError
from synthgen.progress import stage, tell

__all__ = [
    "ServiceError",
    "StartupProgress",
    "end_service",
    "family_of",
    "is_alive",
    "start_patiently",
    "wait_for_answer",
    "wait_for_port",
]

T = TypeVar("T")
TRIES = 3  # starts of a service
ANSWER_S = 5.0  # for one answer
END_S = 10.0  # for a service to end by itself

STILL_S = 60.0  # without progress for so long: nothing more will come
WORK_S = 2.0  # of CPU time within STILL_S are progress; an idle database uses less
POLL_S = 0.25


class StartupProgress:
    """Says of processes and all that they start whether they still work, however slowly.

    Work is CPU time: at least ``WORK_S`` seconds of it within ``STILL_S``.
    """

    def __init__(self, *processes: psutil.Process) -> None:
        self._roots = processes
        self._used_s: dict[int, float] = {}
        self._looked_at, self._is_over = 0.0, False
        self._begin()

    def is_over(self) -> bool:
        """Return whether they used next to no CPU time for a minute, or are no more."""
        if time.monotonic() - self._looked_at >= POLL_S:  # to look is work, too
            self._looked_at = time.monotonic()
            if self._work_s() - self._before_s >= WORK_S:
                self._begin()
            is_any_alive = any(is_alive(one) for one in self._roots)
            self._is_over = not is_any_alive or time.monotonic() - self._begun > STILL_S
        return self._is_over

    def _begin(self) -> None:
        self._before_s, self._begun = self._work_s(), time.monotonic()

    def _work_s(self) -> float:
        """Return the CPU time of all, in seconds; that of those that ended still counts."""
        for process in family_of(self._roots):
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            self._used_s[process.pid] = times.user + times.system
        return sum(self._used_s.values())


def family_of(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that run, each followed by all that it started, at any depth."""
    found = []
    for process in processes:
        try:
            found += [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
    return found


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; one that ended and was not waited for, a zombie, does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


class ServiceError(RunError):
    """A service of FiftyOne's that did not start; another try may."""


def wait_for_port(service: Any, port: int | None = None) -> int:
    """Return the TCP port at which a process that FiftyOne's ``service`` started listens.

    ``port``: wait for this one. Raises ServiceError as ``wait_for``, and ends the service then.
    """

    def look() -> int | None:
        for process in family_of([service.child])[1:]:
            with suppress(psutil.Error):  # it may be gone
                for one in process.net_connections(kind="tcp"):
                    if one.status == psutil.CONN_LISTEN and port in (None, one.laddr.port):
                        return int(one.laddr.port)
        return None

    return wait_for(service, look, "does not listen")


def wait_for_answer(service: Any, address: str) -> None:
    """Return once FiftyOne's ``service`` answers at an address (http://...) in any way.

    Raises ServiceError as ``wait_for``, and ends the service then.
    """

    def ask() -> bool | None:
        try:
            with urllib.request.urlopen(address, timeout=ANSWER_S):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:  # not yet
            return None

    wait_for(service, ask, "does not answer")


def wait_for(service: Any, look: Callable[[], T | None], does_not: str) -> T:
    """Return what ``look`` finds, which is asked until it finds something.

    Says on stderr how long it takes. Raises ServiceError where the service ends, or stands still
    for a minute, before; what it started is ended then.
    """
    name = f"FiftyOne's {'database' if service.service_name == 'db' else 'App'}"
    progress = StartupProgress(service.child)
    with stage(f"waiting for {name}"):
        while True:
            if (found := look()) is not None:
                return found
            if progress.is_over():
                did = "does nothing" if is_alive(service.child) else "ended"
                end_service(service)
                raise ServiceError(
                    f"{name} {did} and {does_not}; free memory or disk space may be short"
                )
            time.sleep(POLL_S)


def start_patiently(start: Callable[[], T], where_to_look: str = "") -> T:
    """Return what ``start`` returns; try again, up to ``TRIES`` times, where it cannot start.

    Each further try is told on stderr. Raises the ServiceError of the last try, with
    ``where_to_look``, the part of a sentence that says where the reason may stand.
    """
    for number in range(1, TRIES + 1):
        try:
            return start()
        except ServiceError as error:
            if number == TRIES:
                tried = f"{error}; tried {TRIES} times"
                raise ServiceError("; ".join(filter(None, (tried, where_to_look)))) from error
            tell(f"{error}; starting it again ({number + 1} of {TRIES})")
    raise AssertionError  # TRIES is 1 or more


def end_service(service: Any) -> None:
    """End a service that did not start, with all that it started; one of another process stays."""
    child = service.child
    if child is None or getattr(service, "attached", False):
        return
    started = family_of([child])
    with suppress(OSError):
        service.child.stdin.close()  # which asks it to end
    _, alive = psutil.wait_procs(started, timeout=END_S)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=END_S)
