"""One part of a command's work, and what it says of itself."""

from __future__ import annotations

import math
import time

from synthgen.progress.pace import Clock, Pace

__all__ = ["Stage"]


class Stage:
    """One part of a command's work, as ``stage`` gives it out.

    ``total`` items of a ``unit`` (a plural: "images"), ``done`` of them before it began; None =
    nobody knows how many. ``waiting`` is said until the first is done. ``note`` may change at any
    time and stands last.
    """

    def __init__(
        self,
        name: str,
        total: int | None = None,
        *,
        done: int = 0,
        unit: str = "",
        waiting: str = "",
        clock: Clock = time.monotonic,
    ) -> None:
        self.name, self.total, self.unit, self.waiting = name, total, unit, waiting
        self.at, self.note = done, ""
        self.inner = 0  # stages that began within this one and go on
        self.ended_s: float | None = None  # how long it took
        self.is_whole = True  # False where an error or Ctrl-C ended it
        self._clock, self._begun, self._pace = clock, clock(), Pace(clock)
        self._done = done

    def add(self, count: int = 1) -> None:
        """Count items that were finished just now."""
        self.at += count
        self._pace.add(count)

    def restart(self) -> None:
        """Let its pace begin now, where nothing is finished yet."""
        self._pace.restart()

    def end(self, *, is_whole: bool = True) -> None:
        """Keep how long it took; ``is_whole`` False where an error or Ctrl-C ended it."""
        self.ended_s, self.is_whole = self._clock() - self._begun, is_whole

    def announce(self) -> str:
        """Return the sentence that it begins with."""
        words = [self.name]
        if self.total is not None:
            words = [f"{self.name}: {self.total} {self.unit}".rstrip()]
        if self._done:
            words.append(f"{self._done} are there already")
        return ", ".join(words)

    def describe(self) -> str:
        """Return how far it is: items, rate, time left as far as they are known, and the note."""
        many = self.at if self.total is None else f"{self.at} of {self.total}"
        words = [f"{many} {self.unit}".rstrip()] if self.at or self.total is not None else []
        if self.ended_s is not None:
            ended = "took" if self.is_whole else "stopped after"
            words.append(f"{ended} {_tell_duration(self.ended_s)}")
        elif self.at == self.total or (rate := self._pace.rate()) is None:
            is_first = self.at == self._done and self.at != self.total
            is_waiting = is_first and not self.inner  # else the inner one says what goes on
            words += [self.waiting] if is_waiting and self.waiting else []
            words.append(f"{_tell_duration(self._clock() - self._begun)} so far")
        else:
            words.append(_tell_rate(rate, self.unit))
            if self.total is not None:
                left_s = self._pace.seconds_left(self.total - self.at)
                words += [] if left_s is None else [f"{_tell_duration(_round(left_s))} left"]
        return ", ".join([*words, *([self.note] if self.note else [])])


def _tell_rate(rate: float, unit: str) -> str:
    """Return a rate in words, by the minute where it is slow.

    >>> _tell_rate(0.52, "images"), _tell_rate(0.02, "images"), _tell_rate(310.2, "")
    ('0.52 images/s', '1.2 images/min', '310/s')
    """
    number, per = (60 * rate, "min") if rate < 0.1 else (rate, "s")
    digits = 0 if number >= 100 else 1 if number >= 10 or per == "min" else 2
    return f"{number:.{digits}f} {unit}".rstrip() + f"/{per}"


def _round(seconds: float) -> float:
    """Return a time left, rounded up to what can be known of it.

    >>> [_round(seconds) for seconds in (0.2, 42, 344, 752)]
    [1, 42, 350, 780]
    """
    step = 1 if seconds < 60 else 10 if seconds < 600 else 60
    return step * max(1, math.ceil(seconds / step))


def _tell_duration(seconds: float) -> str:
    """Return a duration in words.

    >>> [_tell_duration(seconds) for seconds in (0.2, 42, 180, 200, 7500)]
    ['under 1 s', '42 s', '3 min', '3 min 20 s', '2 h 5 min']
    """
    if seconds < 1:
        return "under 1 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
