"""Where stages are shown: on a terminal, below a notebook's cell, or in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

from synthgen.progress.pace import Clock
from synthgen.progress.stages import Stage

__all__ = ["BarDisplay", "Display", "LineDisplay", "NotebookDisplay"]

LINE_EVERY_S = 60.0  # without a terminal
BAR_CELLS = 16


class Display(Protocol):
    """Where stages are shown; called from several threads."""

    def begin(self, one: Stage) -> None:
        """Show a stage that begins."""
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

    def close(self) -> None:
        """Leave the screen, also where an error has left stages open."""
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
                    _Bar(BAR_CELLS),
                    _Words(),
                    console=self._console,
                    refresh_per_second=4,
                    redirect_stdout=False,  # what scripts read
                )
                self._bars.start()
            self._tasks[one] = self._bars.add_task(
                escape(one.name), total=one.total, completed=one.at, stage=one
            )

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

    def close(self) -> None:
        """Give the terminal back."""
        with self._lock:
            self._tasks.clear()
            if self._bars is not None:
                self._bars.stop()
                self._bars = None


class _Bar(BarColumn):
    """How far a stage is, read when it is drawn."""

    def render(self, task: Task) -> ProgressBar:
        one: Stage = task.fields["stage"]
        if one.ended_s is None:
            task.completed = one.at
        return super().render(task)


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

    def close(self) -> None:
        """Write no more lines of these stages."""
        with self._lock:
            self._open.clear()


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

    def close(self) -> None:
        """Leave the text as it is."""

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


def _draw_bar(one: Stage) -> str:
    """Return the bar of a stage as text; one without a total is empty until its end."""
    fraction = one.at / one.total if one.total else float(one.ended_s is not None)
    cells = round(min(1.0, fraction) * BAR_CELLS)
    return "█" * cells + "░" * (BAR_CELLS - cells)
