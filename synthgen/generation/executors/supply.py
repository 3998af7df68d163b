"""Batches to hand out, and which of them a dead worker is blamed on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from synthgen.generation.executors.executor import Batch

__all__ = ["MAX_DEATHS", "Supply", "Task"]

MAX_DEATHS = 2  # of workers over one batch or sample, before it is cut or given up


@dataclass(slots=True, eq=False)
class Task:
    """A batch that is handed out. A suspect was under way when a worker died: it runs alone."""

    specs: Batch
    is_suspect: bool = False
    deaths: int = 0


class Supply:
    """Hands out batches, new ones and suspects, and judges those that workers died over.

    Several batches are under way in a worker, so its death says only that one of them may be the
    reason. Each of them is run again alone. A batch that two workers died over is cut into single
    samples. A sample that two workers died over, with nothing else in hand, is ``lost``.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._fresh, self._suspects = iter(batches), deque[Task]()
        self._first = next(self._fresh, None)
        self._is_drained = self._first is None
        self.lost: list[Task] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to hand out."""
        return self._is_drained and not self._suspects

    def next_fresh(self) -> Task | None:
        """Return a batch that was never handed out; None where there is none left."""
        batch, self._first = self._first, None
        if batch is None and not self._is_drained:
            batch = next(self._fresh, None)
        self._is_drained = batch is None
        return None if batch is None else Task(batch)

    def next_suspect(self) -> Task | None:
        """Return a batch that must run alone; None where there is none."""
        return self._suspects.popleft() if self._suspects else None

    def blame(self, tasks: Sequence[Task]) -> None:
        """Take back what a worker had begun when it died.

        A death counts against the only task in hand, and against a batch of several samples, which
        is cut soon. One of several single samples is only a suspect.
        """
        for task in tasks:
            is_certain = len(tasks) == 1
            task.is_suspect = True
            task.deaths += is_certain or len(task.specs) > 1
            if task.deaths < MAX_DEATHS:
                self._suspects.append(task)
            elif len(task.specs) > 1:
                self._suspects += [Task([spec], is_suspect=True) for spec in task.specs]
            else:
                self.lost.append(task)
