"""The one loop that gives batches to workers elsewhere: processes of this machine, or Ray actors.

A worker says that it is ready, then answers each batch with its statuses or its error. An error
ends the run at once. A worker that dies is replaced.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from synthgen.errors import RunError, SynthgenError
from synthgen.generation.executors.executor import Batch, Worker
from synthgen.generation.executors.supply import MOST_DEATHS, Supply, Task
from synthgen.samples.sample import Status

__all__ = [
    "Answer",
    "Done",
    "Failed",
    "Gone",
    "Message",
    "Ready",
    "Workplace",
    "load",
    "run_team",
    "work",
]

GIVEN_UP = "the process that made it died twice, out of memory perhaps"
Member = TypeVar("Member")


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker is loaded."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of the samples of a batch."""

    number: int
    statuses: list[Status]


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker could not be loaded, or a batch not be made."""

    error: SynthgenError


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker is no more; it says so itself never."""

    reason: str


Answer = Ready | Done | Failed
Message = Answer | Gone


class Workplace(Protocol[Member]):
    """Where workers run."""

    def hire(self, number: int) -> Member:
        """Start worker ``number`` and return at once; raises SynthgenError."""
        ...

    def give(self, member: Member, number: int, batch: Batch) -> None:
        """Hand a worker that is ready a batch; one that died is left to ``listen``."""
        ...

    def listen(self, members: Sequence[Member]) -> list[tuple[Member, Message]]:
        """Wait until a worker says something or dies; return what came in."""
        ...

    def dismiss(self, members: Sequence[Member], *, at_once: bool) -> None:
        """End workers, which have nothing in hand unless it is to be ``at_once``."""
        ...


@dataclass(slots=True, eq=False)
class _Seat(Generic[Member]):
    """The place of one worker, and the batches that it has begun, by number."""

    number: int
    member: Member
    is_ready: bool = False
    given: dict[int, Task] = field(default_factory=dict)


def run_team(
    place: Workplace[Member], workers: int, lanes: int, batches: Iterable[Batch], here: Worker
) -> Generator[list[Status]]:
    """Yield the statuses of each batch as it is done; raises the first error of any worker.

    Each worker has at most ``lanes`` batches, so that all it has were begun. ``here``, a worker of
    this process, writes what was given up.
    """
    team = _Team(place, workers, lanes, Supply(batches))
    is_whole = False
    try:
        yield from team.run()
        yield from (here.give_up(task.specs, GIVEN_UP) for task in team.supply.lost)
        is_whole = True
    finally:
        place.dismiss([seat.member for seat in team.seats], at_once=not is_whole)


class _Team(Generic[Member]):
    def __init__(self, place: Workplace[Member], workers: int, lanes: int, supply: Supply) -> None:
        self._place, self._workers, self._lanes, self.supply = place, workers, lanes, supply
        self.seats: list[_Seat[Member]] = []
        self._batches, self._died_loading = 0, 0

    def run(self) -> Generator[list[Status]]:
        for number in range(0 if self.supply.is_empty else self._workers):
            self.seats.append(_Seat(number, self._place.hire(number)))
        while not self.supply.is_empty or any(seat.given for seat in self.seats):
            by_member = {id(seat.member): seat for seat in self.seats}
            for member, message in self._place.listen([seat.member for seat in self.seats]):
                seat = by_member[id(member)]
                match message:
                    case Ready():
                        seat.is_ready = True
                    case Done(number, statuses):
                        del seat.given[number]
                        yield statuses
                    case Failed(error):
                        raise error
                    case Gone(reason):
                        self._replace(seat, reason)
            for seat in self.seats:
                self._fill(seat)

    def _fill(self, seat: _Seat[Member]) -> None:
        """Give a worker what it has room for; a suspect only alone."""
        if not seat.is_ready or any(task.is_suspect for task in seat.given.values()):
            return
        if not seat.given and (task := self.supply.next_suspect()):
            self._give(seat, task)
            return
        while len(seat.given) < self._lanes and (task := self.supply.next_fresh()):
            self._give(seat, task)

    def _give(self, seat: _Seat[Member], task: Task) -> None:
        self._batches += 1
        seat.given[self._batches] = task
        self._place.give(seat.member, self._batches, task.specs)

    def _replace(self, seat: _Seat[Member], reason: str) -> None:
        """Take back what a dead worker had; raises RunError where none gets as far as loading."""
        self.seats.remove(seat)
        self._place.dismiss([seat.member], at_once=True)
        if seat.is_ready:
            self.supply.blame(list(seat.given.values()))
        else:
            self._died_loading += 1
        if self._died_loading >= MOST_DEATHS + self._workers:
            raise RunError(
                f"{self._died_loading} workers ended while they were loading ({reason}), out of "
                "memory perhaps; give fewer executor.workers"
            )
        if not self.supply.is_empty:
            self.seats.append(_Seat(seat.number, self._place.hire(seat.number)))


def load(make_worker: Callable[[], Worker]) -> tuple[Worker | None, Answer]:
    """Make a worker, and say that it is ready or why it is not."""
    try:
        return make_worker(), Ready()
    except BaseException as error:
        return None, _explain(error)


def work(worker: Worker, number: int, batch: Batch) -> Answer:
    """Have a batch made, and say what became of it."""
    try:
        return Done(number, worker(batch))
    except BaseException as error:  # a SystemExit, too: whoever waits must hear of it
        return _explain(error)


def _explain(error: BaseException) -> Failed:
    if isinstance(error, SynthgenError):
        return Failed(error)
    told = "".join(traceback.format_exception(error))
    return Failed(RunError(f"a worker failed:\n{told}"))
