"""How many CPU threads a model gets, where nobody says: as many as other work leaves cores.

Threads wait for each other at every layer. Where other work takes one of two cores, two threads are
several times slower than one (docs/measured/adaptation.md).
"""

from __future__ import annotations

import os
import time

import psutil

from synthgen.progress import tell

__all__ = ["count_idle_cores", "pick_threads", "tell_busy_cores"]

LOOK_S = 0.3  # how long it is looked what other programs do


def pick_threads(asked: int | None, key: str) -> int:
    """Return ``asked``, or where it is None as many as there are idle cores.

    What torch would take itself, as OMP_NUM_THREADS says, is not exceeded. ``key``: of the config,
    for the line that says how many.
    """
    if asked is not None:
        return asked
    import torch

    cores, idle = count_idle_cores()
    threads = max(1, min(torch.get_num_threads(), round(idle)))
    word = "thread" if threads == 1 else "threads"
    tell(f"{idle:.1f} of {cores} cores are idle: {threads} CPU {word}; {key} gives another number")
    return threads


def tell_busy_cores(threads: int, key: str) -> None:
    """Say it where other work leaves fewer cores than there are ``threads``."""
    cores, idle = count_idle_cores()
    if threads > (fewer := max(1, round(idle))):
        tell(
            f"{idle:.1f} of {cores} cores are idle, and {threads} threads wait for each other; "
            f"{key}={fewer} is likely faster",
            "note",
        )


def count_idle_cores() -> tuple[int, float]:
    """Return the cores that this process may use, and how many of them other processes leave idle.

    It looks for a third of a second. What this process itself does counts as idle.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS and Windows
    usable = os.sched_getaffinity(0) if has_affinity else set(range(os.cpu_count() or 1))
    own = psutil.Process()
    begun, before = time.perf_counter(), sum(own.cpu_times()[:2])
    fractions = psutil.cpu_percent(LOOK_S, percpu=True)
    own_cores = (sum(own.cpu_times()[:2]) - before) / (time.perf_counter() - begun)
    busy = sum(fractions[n] for n in usable if n < len(fractions)) / 100
    return len(usable), max(0.0, len(usable) - max(0.0, busy - own_cores))
