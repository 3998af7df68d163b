"""Which stages go on, and whether and where they are shown."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console

from synthgen.progress.displays import BarDisplay, Display, LineDisplay, NotebookDisplay
from synthgen.progress.pace import Clock
from synthgen.progress.stages import Stage

__all__ = ["show_progress", "stage", "tell", "track"]

Item = TypeVar("Item")
BEAT_S = 1.0  # how often it is looked what has become due


class _Shown:
    """Where stages are shown now, and which of them go on."""

    def __init__(self, display: Display) -> None:
        self.display, self._open, self._process = display, list[Stage](), os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether it is of this process: one that was forked from it shows nothing."""
        return os.getpid() == self._process

    def begin(self, one: Stage) -> None:
        """Show a stage."""
        for around in self._open:
            around.inner += 1
        self._open.append(one)
        self.display.begin(one)

    def end(self, one: Stage) -> None:
        """Show that a stage is over; others may have waited for it."""
        self._open.remove(one)
        for around in self._open:
            around.inner = max(0, around.inner - 1)
            around.restart()
        self.display.end(one)


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
        display.close()


@contextmanager
def stage(
    name: str,
    total: int | None = None,
    *,
    done: int = 0,
    unit: str = "",
    waiting: str = "",
    clock: Clock = time.monotonic,
) -> Iterator[Stage]:
    """Show a stage while the block runs; see ``Stage``. It also decorates functions."""
    one = Stage(name, total, done=done, unit=unit, waiting=waiting, clock=clock)
    shown = None if _shown is None or not _shown.is_here else _shown
    if shown is not None:
        shown.begin(one)
    is_whole = True
    try:
        yield one
    except (Exception, KeyboardInterrupt):
        is_whole = False
        raise
    finally:
        one.end(is_whole=is_whole)
        if shown is not None:
            shown.end(one)


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
    # Libraries load tqdm's bars for notebooks, which miss ipywidgets; none of them is shown
    warnings.filterwarnings("ignore", message="IProgress not found")
    display: Any = importlib.import_module("IPython.display").display
    handle: Any = None

    def show(text: str) -> None:
        nonlocal handle
        if handle is None:
            handle = display({"text/plain": text}, raw=True, display_id=True)
        else:
            handle.update({"text/plain": text}, raw=True)

    return show
