"""The one loop that gives batches to workers elsewhere: processes of this machine, or Ray actors.

A worker says that it is ready, then answers each batch with its statuses or its error. An error
ends the run at once. A worker that dies is replaced.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from synthgen.errors import RunError, SynthgenError
from synthgen.generation.executors.executor import Batch, Worker
from synthgen.generation.executors.supply import MAX_DEATHS, Supply, Task
from synthgen.progress import stage
from synthgen.samples.sample import Status

__all__ = [
    "Answer",
    "BatchFailure",
    "BatchResult",
    "Message",
    "Ready",
    "WorkerDeath",
    "WorkerHost",
    "load",
    "run_workers",
    "work",
]

LOADING = "loading the workers"
GIVEN_UP = "the process that made it died twice, out of memory perhaps"
Member = TypeVar("Member")


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker is loaded."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of the samples of a batch."""

    number: int
    statuses: list[Status]


@dataclass(frozen=True, slots=True)
class BatchFailure:
    """A worker could not be loaded, or a batch not be made."""

    error: SynthgenError


@dataclass(frozen=True, slots=True)
class WorkerDeath:
    """A worker process is gone. The host tells of it: the worker itself no longer can."""

    reason: str


Answer = Ready | BatchResult | BatchFailure
Message = Answer | WorkerDeath


class WorkerHost(Protocol[Member]):
    """Where workers run."""

    def start(self, number: int) -> Member:
        """Start worker ``number`` and return at once; raises SynthgenError."""
        ...

    def give(self, member: Member, number: int, batch: Batch) -> None:
        """Hand a worker that is ready a batch; one that died is left to ``listen``."""
        ...

    def listen(self, members: Sequence[Member]) -> list[tuple[Member, Message]]:
        """Wait until a worker says something or dies; return what came in."""
        ...

    def stop(self, members: Sequence[Member], *, at_once: bool) -> None:
        """End workers, which have nothing in hand unless it is to be ``at_once``."""
        ...


@dataclass(slots=True, eq=False)
class _Slot(Generic[Member]):
    """The place of one worker, and the batches that it has begun, by number."""

    number: int
    member: Member
    is_ready: bool = False
    given: dict[int, Task] = field(default_factory=dict)


def run_workers(
    place: WorkerHost[Member], workers: int, lanes: int, batches: Iterable[Batch], here: Worker
) -> Generator[list[Status]]:
    """Yield the statuses of each batch as it is done; raises the first error of any worker.

    Each worker has at most ``lanes`` batches, so that all it has were begun. ``here``, a worker of
    this process, writes what was given up.
    """
    team = _Pool(place, workers, lanes, Supply(batches))
    is_whole = False
    try:
        yield from team.run()
        yield from (here.give_up(task.specs, GIVEN_UP) for task in team.supply.lost)
        is_whole = True
    finally:
        place.stop([slot.member for slot in team.slots], at_once=not is_whole)


class _Pool(Generic[Member]):
    """The workers of one run, a slot each, and what is left for them to do."""

    def __init__(self, place: WorkerHost[Member], workers: int, lanes: int, supply: Supply) -> None:
        self._place, self._workers, self._lanes, self.supply = place, workers, lanes, supply
        self.slots: list[_Slot[Member]] = []
        self._batches, self._died_loading = 0, 0

    def run(self) -> Generator[list[Status]]:
        """Yield statuses until every batch is done or lost; raises the first error of a worker."""
        if self.supply.is_empty:
            return
        with ExitStack() as loading:
            at = loading.enter_context(stage(LOADING, self._workers, unit="workers"))
            for number in range(self._workers):
                self.slots.append(_Slot(number, self._place.start(number)))
            for statuses in self._listen():
                if statuses:
                    yield statuses
                at.at = max(at.at, sum(slot.is_ready for slot in self.slots))
                if at.at == self._workers:
                    loading.close()  # the pace of batches begins now

    def _listen(self) -> Generator[list[Status]]:
        """Yield the statuses of each batch that is done, and [] where a worker is ready."""
        while not self.supply.is_empty or any(slot.given for slot in self.slots):
            by_member = {id(slot.member): slot for slot in self.slots}
            for member, message in self._place.listen([slot.member for slot in self.slots]):
                slot = by_member[id(member)]
                match message:
                    case Ready():
                        slot.is_ready = True
                        yield []
                    case BatchResult(number, statuses):
                        del slot.given[number]
                        yield statuses
                    case BatchFailure(error):
                        raise error
                    case WorkerDeath(reason):
                        self._replace(slot, reason)
            for slot in self.slots:
                self._fill(slot)

    def _fill(self, slot: _Slot[Member]) -> None:
        """Give a worker what it has room for; a suspect only alone."""
        if not slot.is_ready or any(task.is_suspect for task in slot.given.values()):
            return
        if not slot.given and (task := self.supply.next_suspect()):
            self._give(slot, task)
            return
        while len(slot.given) < self._lanes and (task := self.supply.next_fresh()):
            self._give(slot, task)

    def _give(self, slot: _Slot[Member], task: Task) -> None:
        self._batches += 1
        slot.given[self._batches] = task
        self._place.give(slot.member, self._batches, task.specs)

    def _replace(self, slot: _Slot[Member], reason: str) -> None:
        """Take back what a dead worker had; raises RunError where none gets as far as loading."""
        self.slots.remove(slot)
        self._place.stop([slot.member], at_once=True)
        if slot.is_ready:
            self.supply.blame(list(slot.given.values()))
        else:
            self._died_loading += 1
        if self._died_loading >= MAX_DEATHS + self._workers:
            raise RunError(
                f"{self._died_loading} workers ended while they were loading ({reason}), out of "
                "memory perhaps; give fewer executor.workers"
            )
        if not self.supply.is_empty:
            self.slots.append(_Slot(slot.number, self._place.start(slot.number)))


def load(make_worker: Callable[[], Worker]) -> tuple[Worker | None, Answer]:
    """Make a worker, and say that it is ready or why it is not."""
    try:
        return make_worker(), Ready()
    except BaseException as error:
        return None, _explain(error)


def work(worker: Worker, number: int, batch: Batch) -> Answer:
    """Have a batch made, and say what became of it."""
    try:
        return BatchResult(number, worker(batch))
    except BaseException as error:  # a SystemExit, too: whoever waits must hear of it
        return _explain(error)


def _explain(error: BaseException) -> BatchFailure:
    if isinstance(error, SynthgenError):
        return BatchFailure(error)
    told = "".join(traceback.format_exception(error))
    return BatchFailure(RunError(f"a worker failed:\n{told}"))
