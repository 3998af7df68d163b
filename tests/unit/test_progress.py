"""What a person sees while a command works, with clocks that the tests move."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from rich.console import Console

from synthgen.errors import RunError
from synthgen.progress import show, show_progress, stage, tell, track
from synthgen.progress.displays import BarDisplay, LineDisplay, NotebookDisplay
from synthgen.progress.pace import Pace
from synthgen.progress.stages import Stage
from synthgen.runs.progress import TaskProgress


class Clock:
    """A clock that stands still unless it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def of_workers(count: int, batch: int, period_s: float, loading_s: float) -> list[float]:
    """When items are finished by workers that load, and then need about a period a batch."""
    rng = np.random.default_rng(4)
    times = []
    for _ in range(count):
        now = loading_s * rng.uniform(0.9, 1.1)
        for _ in range(40):
            now += period_s * rng.uniform(0.7, 1.3)  # retries take longer
            times += [now] * batch
    return sorted(times)


FINISHED = {
    "eight at once": np.repeat(30.0 + 40.0 * np.arange(1, 26), 8).tolist(),
    "two lanes, nearly at once": sorted(
        (np.repeat(10 + 60.0 * np.arange(1, 21), 16) + np.tile([0.0] * 8 + [0.02] * 8, 20)).tolist()
    ),
    "one by one, many a second": (2 + 0.01 * np.arange(1, 4000)).tolist(),
    "one by one, slowly": (5.0 * np.arange(1, 60)).tolist(),
    "four workers, out of order": of_workers(4, 8, 30, 20),
    "a worker that loads long": of_workers(1, 4, 3, 90),
}


@pytest.mark.parametrize("times", FINISHED.values(), ids=FINISHED)
def test_the_time_left_is_honest_at_every_moment(times: Sequence[float]) -> None:
    """Never over half too short or two times too long, whenever somebody looks."""
    clock = Clock()
    pace, told, spread = Pace(clock), 0, max(np.diff(times))
    for number, (at, following) in enumerate(pairwise(times), start=1):
        clock.now = at
        pace.add()
        for look in (at, (at + following) / 2, following - 1e-3):
            clock.now = max(look, at)
            left_s, true_s = pace.seconds_left(len(times) - number), times[-1] - clock.now
            if left_s is not None:
                told += 1
                assert true_s / 2 - spread <= left_s <= 2 * true_s + spread, (clock.now, left_s)
    assert told > len(times) / 2  # of three looks at each: it is not silent either


def test_there_is_no_time_left_before_the_second_batch() -> None:
    clock = Clock()
    at = Stage("painting", 200, unit="images", waiting="first batch under way", clock=clock)
    assert at.describe() == "0 of 200 images, first batch under way, under 1 s so far"
    clock.now = 42
    for _ in range(8):  # the burst that was taken for a speed of thousands a second
        at.add()
    assert at.describe() == "8 of 200 images, 42 s so far"
    clock.now = 82
    for _ in range(8):
        at.add()
    assert "left" not in at.describe()  # more of the second burst may come
    clock.now = 103
    assert at.describe() == "16 of 200 images, 0.20 images/s, 15 min left"


def test_loading_before_the_first_batch_is_no_measure_of_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    display = LineDisplay(lambda line: None, clock)
    monkeypatch.setattr(show, "_shown", show._Shown(display))
    with stage("painting", 200, unit="images", clock=clock) as at:
        with stage("loading the model", clock=clock):
            clock.now = 50
        for clock.now in (54.0, 58.0):
            at.add(2)
        clock.now = 61
        assert at.describe() == "4 of 200 images, 0.50 images/s, 6 min 30 s left"
    assert at.ended_s == 61


def test_what_is_waited_for_is_not_under_way_while_something_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(show, "_shown", show._Shown(LineDisplay(lambda line: None, clock)))
    with stage("painting", 8, waiting="first batch under way", clock=clock) as at:
        with stage("loading the workers", 2, clock=clock):
            clock.now = 50
            assert at.describe() == "0 of 8, 50 s so far"
        assert at.describe() == "0 of 8, first batch under way, 50 s so far"


def test_what_an_error_ended_does_not_read_like_success() -> None:
    clock = Clock()
    stages: list[Stage] = []

    def fail() -> None:
        with stage("painting", 9, unit="images", clock=clock) as at:
            stages.append(at)
            clock.now = 2
            raise RunError("the disk is full")

    with pytest.raises(RunError, match="full"):
        fail()
    assert stages[0].describe() == "0 of 9 images, stopped after 2 s"


def test_what_was_there_before_is_no_speed() -> None:
    clock = Clock()
    at = Stage("painting", 1000, done=900, unit="images", clock=clock)
    assert at.announce() == "painting: 1000 images, 900 are there already"
    for clock.now in (10.0, 20.0, 30.0, 40.0):
        at.add(10)
    assert at.at == 940
    clock.now = 45.0
    assert at.describe() == "940 of 1000 images, 1.00 images/s, 55 s left"


def test_work_that_stands_still_has_ever_more_time_left() -> None:
    clock = Clock()
    pace = Pace(clock)
    for clock.now in (10.0, 20.0, 30.0, 40.0):
        pace.add(10)
    left = []
    for clock.now in (45.0, 50.0, 100.0, 400.0):
        left.append(pace.seconds_left(100) or 0.0)
    assert left[:2] == [95, 90]  # as usual
    assert left[2] > 150
    assert left[3] > 1000


def test_work_that_has_become_slower_is_told_by_its_last_batches() -> None:
    clock = Clock()
    pace = Pace(clock)
    for clock.now in [*range(10, 1010, 10), *range(1010, 3000, 40)]:
        pace.add(8)
    clock.now += 20
    assert pace.rate() == pytest.approx(8 / 40)


def test_lines_come_at_the_start_of_a_stage_and_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, lines = Clock(), list[str]()
    display = LineDisplay(lines.append, clock)
    monkeypatch.setattr(show, "_shown", show._Shown(display))
    with stage("painting", 80, unit="images", clock=clock) as at:
        for number in range(1, 11):  # eight images every 30 s, 0.01 s apart
            for part in range(8):
                clock.now = 30 * number + part / 100
                at.add()
            display.beat()
        with stage("loading the model embedded", clock=clock):
            display.say("a sentence", "note")
            for _ in range(121):
                display.beat()
                clock.now += 1
    clock.now += 1000
    display.beat()  # nothing goes on
    assert lines == [
        "painting: 80 images",
        "painting: 16 of 80 images, 1 min so far",  # the second burst may not be over
        "painting: 40 of 80 images, 0.27 images/s, 2 min 30 s left",
        "painting: 56 of 80 images, 0.27 images/s, 1 min 30 s left",
        "painting: 72 of 80 images, 0.27 images/s, 30 s left",
        "loading the model embedded",
        "note: a sentence",
        "painting: 80 of 80 images, 6 min so far; loading the model embedded: 1 min so far",
        "painting: 80 of 80 images, 7 min so far; loading the model embedded: 2 min so far",
    ]


def test_a_terminal_gets_a_bar_per_stage_and_stdout_stays_free(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen, before = io.StringIO(), sys.stdout
    display = BarDisplay(Console(file=screen, force_terminal=True, width=100))
    monkeypatch.setattr(show, "_shown", show._Shown(display))
    with stage("painting", 2, unit="images") as at:
        assert sys.stdout is before
        with stage("loading [the] model"):
            tell("a sentence [in brackets]", "note")
        at.note = "accepted 2"
        at.add(2)
    print("the summary")
    shown = screen.getvalue()
    for text in ("painting", "loading [the] model", "a sentence [in brackets]", "2 of 2 images"):
        assert text in shown
    assert "accepted 2" in shown
    assert capsys.readouterr().out == "the summary\n"


class Terminal:
    """A real terminal in the place of stderr while inside; ``shown``: all that was written to it.

    A read returns what has come through so far, which may be the first of several pieces: so it is
    read until it is closed.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm")
        self._monkeypatch, self.shown = monkeypatch, ""

    def __enter__(self) -> Terminal:
        self._master, slave = os.openpty()
        self.file = os.fdopen(slave, "w")
        self._monkeypatch.setattr(sys, "stderr", self.file)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()
        self._reader.join()
        os.close(self._master)

    def _read(self) -> None:
        pieces = []
        with suppress(OSError):  # it is closed
            while piece := os.read(self._master, 10_000):
                pieces.append(piece)
        self.shown = b"".join(pieces).decode()


def test_a_real_terminal_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with Terminal(monkeypatch) as terminal, show_progress():
        assert list(track("abc", "looking", unit="letters")) == ["a", "b", "c"]
    shown = terminal.shown
    assert "looking" in shown
    assert "3 of 3 letters, took under 1 s" in shown


def test_an_error_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with Terminal(monkeypatch) as terminal:
        with pytest.raises(ValueError, match="c") as caught, show_progress():
            [int(letter) for letter in track("12c", "looking")]  # the error keeps the loop alive
        assert sys.stderr is terminal.file
    shown = terminal.shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is there again
    assert caught.value.__traceback__ is not None


def test_a_notebook_gets_one_text_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = list[str]()
    monkeypatch.setattr(show, "_shown", show._Shown(NotebookDisplay(texts.append)))
    tell("nothing was guessed", "note")
    with stage("painting", 4, unit="images") as at:
        at.add(2)
        with stage("loading"):
            pass
    assert texts[-1].splitlines() == [
        "note: nothing was guessed",
        "painting  ████████░░░░░░░░  2 of 4 images, took under 1 s",
        "loading   ████████████████  took under 1 s",
    ]


def test_what_work_reports_by_name_is_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(), TaskProgress() as shown:
        for done in (3, 4):
            for step in (1, 2):
                shown.report(f"model {done}", step, 2)
            shown.report("models", done, 5)
    lines = ["model 3: 2", "models: 5, 2 are there already", "model 4: 2"]
    assert capsys.readouterr() == ("", "\n".join(lines) + "\n")


def test_nothing_is_shown_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in track(range(3), "counting"):
        tell("a sentence")
    with show_progress(is_quiet=True):
        for _ in track(range(3), "counting"):
            tell("a sentence")
    assert capsys.readouterr() == ("", "")
    with show_progress():
        with show_progress():
            assert list(track([], "nothing")) == []
            assert list(track((n for n in range(2)), "counting", unit="numbers")) == [0, 1]
        tell("a sentence")
    assert capsys.readouterr() == ("", "counting\na sentence\n")


def test_a_forked_process_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with show_progress():
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with stage("counting"):
            tell("a sentence")
    assert capsys.readouterr() == ("", "")
