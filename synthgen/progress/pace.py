"""How fast work goes, told by when its parts were finished."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

__all__ = ["Clock", "Pace"]

Clock = Callable[[], float]


class Pace:
    """How many items a second are done, told by when they were finished; None until that is known.

    Items come in bursts: a batch of eight at once, or several workers at nearly one moment. Between
    two items of a burst there is no work, so rates are taken from the beginning of a burst to the
    beginning of another, and count the items in between. What came before the first burst is left
    out: loading and warming up are not repeated.

    >>> now = 0.0
    >>> pace = Pace(lambda: now)
    >>> for now in (60.0, 100.0, 140.0, 180.0):  # eight images every 40 s, the model loaded first
    ...     for _ in range(8):
    ...         pace.add()
    >>> now = 200.0
    >>> pace.rate(), pace.seconds_left(16)
    (0.2, 60.0)
    """

    MIN_APART_S, MAX_APART_S = 1.0, 60.0  # between the beginnings of two bursts
    KEPT = 33  # bursts: the rate is that of the last ones, as a run may become slower

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock, self._begun, self._last = clock, clock(), 0.0
        self._count, self._apart_s = 0, 0.0
        self._bursts: deque[tuple[float, int]] = deque(maxlen=self.KEPT)  # begun, items at its end

    def restart(self) -> None:
        """Begin now, where nothing is finished yet: what went before was preparation."""
        if not self._bursts:
            self._begun = self._clock()

    def add(self, count: int = 1) -> None:
        """Count items that were finished just now."""
        now = self._clock()
        self._count, self._last = self._count + count, now
        if not self._bursts:
            # Workers that began together end within a part of what the first one took.
            half = (now - self._begun) / 2
            self._apart_s = min(max(half, self.MIN_APART_S), self.MAX_APART_S)
        begun = now
        if self._bursts and now - self._bursts[-1][0] < self._apart_s:
            begun, _ = self._bursts.pop()
        self._bursts.append((begun, self._count))

    def rate(self) -> float | None:
        """Return items a second, less while the next ones are overdue; None where unknown."""
        return self._measure()[0]

    def seconds_left(self, items: int) -> float | None:
        """Return how long ``items`` more will take; None where unknown."""
        rate, usual_s = self._measure()
        if rate is None:
            return None
        under_way = min(self._clock() - self._last, usual_s)  # is work on the next ones
        return max(0.0, items / rate - under_way)

    def _measure(self) -> tuple[float | None, float]:
        """Return items a second, and the usual time between two bursts."""
        now, whole = self._clock(), list(self._bursts)
        if whole and now - whole[-1][0] < self._apart_s:
            whole.pop()  # more of it may come
        if len(whole) < 2:
            return None, 0.0
        (begun, before), (ended, count) = whole[0], whole[-1]
        usual_s = (ended - begun) / (len(whole) - 1)
        overdue_s = max(0.0, now - self._last - usual_s)
        return (count - before) / (ended - begun + overdue_s), usual_s
