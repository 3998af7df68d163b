"""What a person sees while a command works: its stages, how far they are, and the time left.

Any room names its stages with ``stage`` and ``track``, and says a sentence with ``tell``. A command
is wrapped in ``show_progress``, which shows them on stderr: bars on a terminal, a text that changes
in a notebook, and elsewhere a line when a stage begins and then at most one a minute. Outside of
``show_progress``, and in other processes, nothing is shown.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

__all__ = [
    "BarDisplay",
    "LineDisplay",
    "NotebookDisplay",
    "Pace",
    "Stage",
    "show_progress",
    "stage",
    "tell",
    "track",
]

Item = TypeVar("Item")
Clock = Callable[[], float]
LINE_EVERY_S = 60.0  # without a terminal
DRAW_EVERY_S = 0.1  # at most: a stage may have a thousand items a second
BEAT_S = 1.0  # how often it is looked whether a line is due
BAR_CELLS = 16


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
        self.ended_s: float | None = None  # how long it took
        self._clock, self._begun, self._pace = clock, clock(), Pace(clock)
        self._done, self._drawn = done, float("-inf")
        self._shown = None if _shown is None or not _shown.is_here else _shown

    def __enter__(self) -> Stage:
        if self._shown is not None:
            self._shown.open.append(self)
            self._shown.display.begin(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.ended_s = self._clock() - self._begun
        if self._shown is not None:
            self._shown.open.remove(self)
            for around in self._shown.open:  # that may have waited for this one
                around._pace.restart()
            self._shown.display.end(self)

    def add(self, count: int = 1) -> None:
        """Count items that were finished just now."""
        self.at += count
        self._pace.add(count)
        if self._shown is not None and self._clock() - self._drawn >= DRAW_EVERY_S:
            self._drawn = self._clock()
            self._shown.display.change(self)

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
            words.append(f"took {_tell_duration(self.ended_s)}")
        elif self.at == self.total or (rate := self._pace.rate()) is None:
            is_first = self.at == self._done and self.at != self.total
            words += [self.waiting] if is_first and self.waiting else []
            words.append(f"{_tell_duration(self._clock() - self._begun)} so far")
        else:
            words.append(_tell_rate(rate, self.unit))
            if self.total is not None:
                left_s = self._pace.seconds_left(self.total - self.at)
                words += [] if left_s is None else [f"{_tell_duration(_round(left_s))} left"]
        return ", ".join([*words, *([self.note] if self.note else [])])


class Display(Protocol):
    """Where stages are shown; called from several threads."""

    def begin(self, one: Stage) -> None:
        """Show a stage that begins."""
        ...

    def change(self, one: Stage) -> None:
        """Show how far a stage is."""
        ...

    def end(self, one: Stage) -> None:
        """Show that a stage is over."""
        ...

    def say(self, sentence: str, label: str) -> None:
        """Show a sentence for good; ``label`` is "" or says of what kind it is."""
        ...

    def beat(self) -> None:
        """Show what has become due; called every second."""
        ...


class BarDisplay:
    """A bar per stage on a terminal, drawn by rich; it stays when the stage is over."""

    def __init__(self, console: Console) -> None:
        self._console, self._lock = console, threading.RLock()
        self._bars: Progress | None = None
        self._tasks: dict[Stage, TaskID] = {}

    def begin(self, one: Stage) -> None:
        """Add a bar; the first one takes the terminal's last lines."""
        with self._lock:
            if self._bars is None:
                self._bars = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(BAR_CELLS),
                    _Words(),
                    console=self._console,
                    refresh_per_second=4,
                    redirect_stdout=False,  # what scripts read
                )
                self._bars.start()
            self._tasks[one] = self._bars.add_task(
                escape(one.name), total=one.total, completed=one.at, stage=one
            )

    def change(self, one: Stage) -> None:
        """Move the bar."""
        with self._lock:
            if self._bars is not None and one in self._tasks:
                self._bars.update(self._tasks[one], completed=one.at)

    def end(self, one: Stage) -> None:
        """Leave the bar as it is; the terminal is free when all stages are over."""
        with self._lock:
            if self._bars is None or one not in self._tasks:
                return
            total = max(1, one.at) if one.total is None else one.total
            completed = total if one.total is None else one.at
            self._bars.update(self._tasks.pop(one), total=total, completed=completed)
            if not self._tasks:
                self._bars.stop()
                self._bars = None

    def say(self, sentence: str, label: str) -> None:
        """Print a sentence above the bars."""
        told = f"[yellow]{label}[/yellow]: " if label else ""
        self._console.print(told + escape(sentence), highlight=False, soft_wrap=True)

    def beat(self) -> None:
        """Do nothing: rich draws by itself."""


class _Words(ProgressColumn):
    """What a stage says of itself, behind its bar."""

    def render(self, task: Task) -> Text:
        one: Stage = task.fields["stage"]
        return Text(one.describe(), no_wrap=True, overflow="ellipsis")


class LineDisplay:
    """A line when a stage begins, and at most one a minute while stages go on."""

    def __init__(self, write: Callable[[str], None], clock: Clock = time.monotonic) -> None:
        self._write, self._clock, self._lock = write, clock, threading.RLock()
        self._open: list[Stage] = []
        self._last = clock()

    def begin(self, one: Stage) -> None:
        """Write the line that a stage begins with."""
        with self._lock:
            self._open.append(one)
            self._last = self._clock()
            self._write(one.announce())

    def change(self, one: Stage) -> None:
        """Do nothing: the next beat looks whether a line is due."""

    def end(self, one: Stage) -> None:
        """Write nothing: the next stage or the summary says that it is over."""
        with self._lock:
            if one in self._open:
                self._open.remove(one)

    def say(self, sentence: str, label: str) -> None:
        """Write a sentence."""
        self._write(f"{label}: {sentence}" if label else sentence)

    def beat(self) -> None:
        """Write how far all open stages are, in one line, if a minute has passed."""
        with self._lock:
            if self._open and self._clock() - self._last >= LINE_EVERY_S:
                self._last = self._clock()
                self._write("; ".join(f"{one.name}: {one.describe()}" for one in self._open))


class NotebookDisplay:
    """One text below a notebook's cell with a line per stage and sentence, which changes.

    ``show`` puts a text in the place of the one of before.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show, self._lock = show, threading.RLock()
        self._lines: list[Stage | str] = []

    def begin(self, one: Stage) -> None:
        """Add a line."""
        with self._lock:
            self._lines.append(one)
        self._draw()

    def change(self, one: Stage) -> None:
        """Do nothing: the next beat draws it."""

    def end(self, one: Stage) -> None:
        """Draw the stage as it is at its end."""
        self._draw()

    def say(self, sentence: str, label: str) -> None:
        """Add a sentence."""
        with self._lock:
            self._lines.append(f"{label}: {sentence}" if label else sentence)
        self._draw()

    def beat(self) -> None:
        """Draw, if a stage goes on."""
        if any(isinstance(line, Stage) and line.ended_s is None for line in self._lines):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            names = [len(line.name) for line in self._lines if isinstance(line, Stage)]
            width = max(names, default=0)
            self._show(
                "\n".join(
                    line
                    if isinstance(line, str)
                    else f"{line.name:<{width}}  {_draw_bar(line)}  {line.describe()}"
                    for line in self._lines
                )
            )


class _Shown:
    """Where stages are shown now, and which of them go on."""

    def __init__(self, display: Display) -> None:
        self.display, self.open, self._process = display, list[Stage](), os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether it is of this process: one that was forked from it shows nothing."""
        return os.getpid() == self._process


_shown: _Shown | None = None


@contextmanager
def show_progress(is_quiet: bool = False) -> Iterator[None]:
    """Show the stages of this block on stderr, or none where ``is_quiet``.

    Within another such block it changes nothing.
    """
    global _shown
    if is_quiet or _shown is not None:
        yield
        return
    display, over = _choose_display(), threading.Event()

    def keep_beating() -> None:
        while not over.wait(BEAT_S):
            display.beat()

    beats = threading.Thread(target=keep_beating, name="progress", daemon=True)
    _shown = _Shown(display)
    beats.start()
    try:
        yield
    finally:
        _shown = None
        over.set()
        beats.join()


@contextmanager
def stage(
    name: str, total: int | None = None, *, done: int = 0, unit: str = "", waiting: str = ""
) -> Iterator[Stage]:
    """Show a stage while the block runs; see ``Stage``. It also decorates functions."""
    with Stage(name, total, done=done, unit=unit, waiting=waiting) as one:
        yield one


def track(
    items: Iterable[Item], name: str, total: int | None = None, *, unit: str = ""
) -> Iterator[Item]:
    """Yield the items, each counted when the next is asked for.

    ``total`` None = their length, where they have one. Nothing is shown for no items.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if total == 0:
        return
    with stage(name, total, unit=unit) as at:
        for item in items:
            yield item
            at.add()


def tell(sentence: str, label: str = "") -> None:
    """Show a sentence beside the stages; ``label``, as "note", stands before it."""
    if _shown is not None and _shown.is_here:
        _shown.display.say(sentence, label)


def _choose_display() -> Display:
    if (show := _find_notebook()) is not None:
        return NotebookDisplay(show)
    console = Console(stderr=True)
    if sys.stderr.isatty() and not console.is_dumb_terminal:
        return BarDisplay(console)
    return LineDisplay(lambda line: print(line, file=sys.stderr, flush=True))


def _find_notebook() -> Callable[[str], None] | None:
    """Return what shows a text below the cell of a notebook, in place of the last; None elsewhere.

    rich would need ipywidgets there, whose bars are lost when the notebook is saved.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if not hasattr(shell, "kernel"):
        return None
    display: Any = importlib.import_module("IPython.display").display
    handle: Any = None

    def show(text: str) -> None:
        nonlocal handle
        if handle is None:
            handle = display({"text/plain": text}, raw=True, display_id=True)
        else:
            handle.update({"text/plain": text}, raw=True)

    return show


def _draw_bar(one: Stage) -> str:
    """Return the bar of a stage as text; one without a total is empty until its end."""
    fraction = one.at / one.total if one.total else float(one.ended_s is not None)
    cells = round(min(1.0, fraction) * BAR_CELLS)
    return "█" * cells + "░" * (BAR_CELLS - cells)


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
