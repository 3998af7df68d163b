"""Who makes the samples: this process, several, or a Ray cluster, behind one interface.

A *worker* is made once per process (it loads the model) and is then given batches of specs, one
call each; it writes what it made itself and returns what became of each sample.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic import dataclasses as checked

from synthgen.backends.backend import Backend, BackendInfo
from synthgen.sample import Condition, SampleSpec, Status

__all__ = ["Executor", "Lanes", "LocalExecutor", "TakingTurns", "Worker", "run_in_lanes"]

Batch = Sequence[SampleSpec]
Lanes = Annotated[int, Field(ge=1, le=16)]


class Worker(Protocol):
    """Makes and writes samples. May be called from several threads at once."""

    def __call__(self, specs: Batch) -> list[Status]:
        """Make the samples, write them, return their statuses in order."""
        ...

    def give_up(self, specs: Batch, reason: str) -> list[Status]:
        """Write that these samples came to nothing, and why."""
        ...


class Executor(Protocol):
    """Runs batches through workers."""

    def run(
        self, batches: Iterable[Batch], make_worker: Callable[[], Worker]
    ) -> Iterator[list[Status]]:
        """Yield the statuses of each batch as it is done, in any order.

        ``make_worker`` can be pickled. Batches are taken as they are needed: whoever ends the
        iterable early gets what is under way finished.
        """
        ...


class TakingTurns:
    """A backend that several threads share: one paints while others prepare, inspect and write."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self._lock = backend, threading.Lock()

    def describe(self) -> BackendInfo:
        return self._backend.describe()

    def paint(self, conditions: Sequence[Condition]) -> list[NDArray[np.uint8]]:
        with self._lock:
            return self._backend.paint(conditions)


@checked.dataclass(frozen=True)
class LocalExecutor:
    """This process. ``lanes`` batches are under way at once; only one of them is being painted."""

    lanes: Lanes = 2

    def run(
        self, batches: Iterable[Batch], make_worker: Callable[[], Worker]
    ) -> Iterator[list[Status]]:
        yield from run_in_lanes(make_worker(), batches, self.lanes)


def run_in_lanes(worker: Worker, batches: Iterable[Batch], lanes: int) -> Iterator[list[Status]]:
    """Yield the statuses of each batch, ``lanes`` of them under way at once, in order."""
    waiting: deque[Future[list[Status]]] = deque()
    with ThreadPoolExecutor(lanes) as pool:
        for batch in batches:
            waiting.append(pool.submit(worker, batch))
            if len(waiting) >= lanes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
