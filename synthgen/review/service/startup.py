"""Waits for services that start slowly: as long as they work, and no longer."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psutil

from synthgen.errors import RunError

__all__ = ["StartupProgress", "family_of", "is_alive", "wait_for_port"]

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


def wait_for_port(service: Any, port: int | None = None) -> int:
    """Return the TCP port at which a process that FiftyOne's ``service`` started listens.

    ``port``: wait for this one. Raises RunError where the service ends, or stands still for a
    minute, before.
    """
    progress = StartupProgress(service.child)
    while True:
        for process in family_of([service.child])[1:]:
            with suppress(psutil.Error):  # it may be gone
                for one in process.net_connections(kind="tcp"):
                    if one.status == psutil.CONN_LISTEN and port in (None, one.laddr.port):
                        return int(one.laddr.port)
        if progress.is_over():
            did = "does nothing" if is_alive(service.child) else "ended"
            raise RunError(
                f"FiftyOne's {service.service_name} {did} and does not listen; free memory or disk "
                "space may be short, or its log may say why (log/mongo.log in its database folder)"
            )
        time.sleep(POLL_S)
