"""A review in the real App: the command runs, Debian's Chromium opens its page."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from synthgen.review.service.startup import StartupProgress, is_alive

WAIT_MS = 90_000
WIDTH, HEIGHT = 1400, 900
FAILED = Path(tempfile.gettempdir()) / "synthgen-review-failed.png"


class Review:
    """One ``synthgen review`` that runs, until ``end``."""

    def __init__(self, folder: Path, database: Path, *more: str) -> None:
        command = [
            *(sys.executable, "-m", "synthgen", "review", f"run.folder={folder}"),
            *("review.browser=false", "review.reviewer=ann", f"review.cache={database}-cache"),
            *more,
        ]
        self.process = subprocess.Popen(
            command,
            env=os.environ | {"FIFTYONE_DATABASE_DIR": str(database), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if found := re.search(r"open\s+(http\S+)", line):
                self.address = found[1]
                return
        raise AssertionError(f"the review did not begin: {self.said}")

    def __enter__(self) -> Review:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:  # the test failed
            self.process.kill()
            self.process.communicate()

    def children(self) -> list[psutil.Process]:
        """Return the processes that it started: the App's server, the database."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> str:
        """Press Ctrl-C; return what was said, once nothing that it started runs any more."""
        started = self.children()
        progress = StartupProgress(psutil.Process(self.process.pid), *started)
        self.process.send_signal(signal.SIGINT)
        while True:
            try:
                self.said += self.process.communicate(timeout=1)[0]
                break
            except subprocess.TimeoutExpired:
                assert not progress.is_over() or self.process.poll() is not None, self.said
        while alive := [one for one in psutil.wait_procs(started, timeout=1)[1] if is_alive(one)]:
            assert not progress.is_over(), f"still running: {alive}"
        assert self.process.returncode == 0, self.said
        return self.said


@contextmanager
def open_app(chromium: Any, address: str) -> Iterator[Any]:
    """Give the page of the App, ready; fail where it asks another site for anything."""
    asked: list[str] = []
    refused: list[str] = []  # by the page's own policy, before anything is sent
    page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    try:
        page.set_default_timeout(WAIT_MS)
        page.on("request", lambda request: asked.append(request.url))
        page.on(
            "requestfailed",
            lambda one: refused.append(one.url) if "csp" in str(one.failure).lower() else None,
        )
        page.goto(address)
        page.get_by_role("button", name="Accept", exact=True).wait_for()
        pictures(page).first.wait_for()
        yield page
        own = ("http://127.0.0.1:", "data:", "blob:")
        assert {url for url in asked if not url.startswith(own)} <= set(refused)
    except Exception:
        page.screenshot(path=FAILED)
        raise
    finally:
        page.close()


def pictures(page: Any) -> Any:
    """Return the pictures of the grid."""
    return page.locator("[data-cy=looker]")


def advertisements(page: Any) -> list[str]:
    """Return the texts on the page that advertise something of FiftyOne's, or ask to be tracked."""
    words = ("Enterprise", "upgrade", "Dismiss", "Help us improve", "book a demo", "Teams")
    told = page.locator("body").inner_text().lower()
    return [word for word in words if word.lower() in told]


def fractions_shown(page: Any) -> list[float]:
    """Return how much of their width the pictures of the grid show, as FiftyOne asks for it."""
    page.evaluate(
        """() => {
            const closeUp = window.synthgenCloseUp;
            window.shown = [];
            window.synthgenCloseUp = (...asked) => {
                const [[left], [right]] = closeUp(...asked);
                window.shown.push(right - left);
                return closeUp(...asked);
            };
        }"""
    )
    page.set_viewport_size({"width": WIDTH - 60, "height": HEIGHT})  # draws the grid anew
    page.wait_for_function("window.shown.length")
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    page.wait_for_timeout(3000)
    return [float(one) for one in page.evaluate("window.shown")]


def watch_open_sample(page: Any) -> None:
    """Let ``window.opened`` be set once an open sample asks where its labels are."""
    page.evaluate(
        """() => {
            const closeUp = window.synthgenCloseUp;
            window.synthgenCloseUp = (overlays, state) => {
                window.opened ||= !state.config.thumbnail;
                return closeUp(overlays, state);
            };
        }"""
    )


def tick(page: Any, *numbers: int) -> None:
    """Tick pictures of the grid; again where the App was still drawing them."""
    for done, number in enumerate(numbers, start=1):
        for _ in range(5):
            picture = pictures(page).nth(number)
            if not picture.locator("input").is_checked():
                picture.hover()
                picture.click(position={"x": 12, "y": 12})
            with suppress(Exception):  # Playwright's own, which need not be installed
                page.get_by_text(f"{done} chosen").wait_for(timeout=8000)
                break
        else:
            raise AssertionError(f"picture {number} cannot be ticked")


def close_sample(page: Any) -> None:
    """Close the sample that is open; again where the App was still loading it."""
    for _ in range(20):
        if not page.locator('[data-cy="modal"]').is_visible():
            return
        page.wait_for_timeout(1500)
        page.mouse.click(8, HEIGHT // 2)  # beside it
    raise AssertionError("the sample does not close")


def press(page: Any, button: str, told: str) -> None:
    """Press a button of the panel and wait for what the App says of it."""
    page.get_by_role("button", name=button, exact=True).click()
    page.get_by_text(told).first.wait_for()
