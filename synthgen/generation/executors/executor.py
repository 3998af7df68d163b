"""Who makes the samples: this process, several, or a Ray cluster, behind one interface.

A *worker* is made once per process (it loads the model) and is then given batches of specs, one
call each; it writes what it made itself and returns what became of each sample.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic import dataclasses as checked

from synthgen.backends.backend import Backend, BackendInfo
from synthgen.samples.sample import Condition, SampleSpec, Status

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
        self, batches: Iterable[Batch], here: Worker, make_worker: Callable[[], Worker]
    ) -> Generator[list[Status]]:
        """Yield the statuses of each batch as it is done, in any order.

        ``here`` is a worker of this process. ``make_worker``, which can be pickled, makes one in
        another. Batches are taken as they are needed: whoever ends the iterable early gets what is
        under way finished. The first error of any batch is raised and ends the run; an iterator
        that is interrupted or closed ends its workers at once.
        """
        ...


class TakingTurns:
    """A backend that several threads share: one paints while others prepare, inspect and write."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self._lock = backend, threading.Lock()

    def describe(self) -> BackendInfo:
        """Return what the shared backend is."""
        return self._backend.describe()

    def paint(self, conditions: Sequence[Condition]) -> list[NDArray[np.uint8]]:
        """Paint once no other thread does; see ``Backend``."""
        with self._lock:
            return self._backend.paint(conditions)


@checked.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LocalExecutor:
    """This process. ``lanes`` batches are under way at once; only one of them is being painted."""

    lanes: Lanes = 2

    def run(
        self, batches: Iterable[Batch], here: Worker, make_worker: Callable[[], Worker]
    ) -> Generator[list[Status]]:
        """Run all batches through ``here``, in threads of this process; see ``run_in_lanes``."""
        yield from run_in_lanes(here, batches, self.lanes)


def run_in_lanes(worker: Worker, batches: Iterable[Batch], lanes: int) -> Generator[list[Status]]:
    """Yield the statuses of each batch as it is done, ``lanes`` of them under way at once.

    After the first error nothing new is begun, and it is raised when what is under way is done. A
    lane cannot be ended from outside: where the iterator is interrupted or closed, it is left alone
    with what it has in hand.
    """
    under_way: set[Future[list[Status]]] = set()
    pool, waits = ThreadPoolExecutor(lanes), False
    try:
        for batch in batches:
            under_way.add(pool.submit(worker, batch))
            if len(under_way) >= lanes:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (lane.result() for lane in done)
        for lane in as_completed(under_way):
            yield lane.result()
    except Exception:
        waits = True
        raise
    finally:
        pool.shutdown(wait=waits, cancel_futures=True)
