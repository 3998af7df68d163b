"""Ctrl-C and SIGTERM: what is under way is finished, nothing new is begun."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TypeVar

__all__ = ["Stop", "StoppedAtOnce"]

Item = TypeVar("Item")


class StoppedAtOnce(KeyboardInterrupt):
    """Stopped without waiting for what is under way: threads may be in the middle of it."""


class Stop:
    """Handles SIGINT and SIGTERM within a ``with`` block of the main thread.

    The first signal asks to stop, the second raises StoppedAtOnce. The handlers of before are put
    back at the end. Python lets the main thread alone listen to signals; in another one nobody
    asks.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Stop:
        is_main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()
        self._before = {number: signal.signal(number, self._ask) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise StoppedAtOnce
        self.asked = True
        print("Finishing the batch in hand; once more stops at once.", file=sys.stderr)

    def until(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items until a stop is asked for."""
        for item in items:
            if self.asked:
                return
            yield item

    def check(self) -> None:
        """Raise KeyboardInterrupt where a stop was asked for."""
        if self.asked:
            raise KeyboardInterrupt
