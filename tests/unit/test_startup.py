"""What starts slowly is waited for as long as it works; what stands still is told."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import psutil
import pytest

from synthgen.errors import RunError
from synthgen.progress import show_progress
from synthgen.review.service import startup
from synthgen.review.service.startup import (
    StartupProgress,
    is_alive,
    start_patiently,
    wait_for_answer,
    wait_for_port,
)

WORK = "import time; end = time.process_time() + {}\nwhile time.process_time() < end: pass\n"
LISTEN = "import socket; s = socket.create_server(('127.0.0.1', 0)); print('up', flush=True)\n"
LISTEN += "import time; time.sleep(600)\n"


@contextmanager
def service(code: str) -> Iterator[SimpleNamespace]:
    """A service as FiftyOne starts one: a process whose child does the work."""
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    child = psutil.Popen([sys.executable, "-c", inner], **pipes)
    try:
        yield SimpleNamespace(child=child, service_name="server")
    finally:
        for one in startup.family_of([child])[::-1]:
            one.kill()
        child.stdin.close()
        child.wait()


@pytest.fixture
def hasty(monkeypatch) -> None:
    monkeypatch.setattr(startup, "STILL_S", 1.0)
    monkeypatch.setattr(startup, "WORK_S", 0.01)
    monkeypatch.setattr(startup, "POLL_S", 0.02)
    monkeypatch.setattr(startup, "END_S", 0.1)


def test_what_works_is_waited_for_and_told(hasty, capsys) -> None:
    with show_progress(), service(WORK.format(1.5) + LISTEN) as slow:  # longer than it may stand
        port = wait_for_port(slow)
        assert port == wait_for_port(slow, port)
    assert capsys.readouterr().err == 2 * "waiting for FiftyOne's App\n"


@pytest.mark.parametrize(
    ("code", "did"), [("import time; time.sleep(600)", "does nothing"), ("", "ended")]
)
def test_what_stands_still_or_ends_is_told(hasty, code, did) -> None:
    with service(code) as broken, pytest.raises(RunError, match=f"FiftyOne's App {did} and"):
        wait_for_port(broken)
    assert not is_alive(broken.child)  # the next try starts from nothing


def test_what_does_not_start_is_started_again(hasty, capsys) -> None:
    codes = iter(["", "import time; time.sleep(600)", LISTEN])

    def start() -> int:
        with service(next(codes)) as one:
            return wait_for_port(one)

    with show_progress():
        assert start_patiently(start) > 0
    told = [line.split("; ") for line in capsys.readouterr().err.splitlines() if "again" in line]
    assert [line[0] for line in told] == [
        f"FiftyOne's App {did} and does not listen" for did in ("ended", "does nothing")
    ]
    assert [line[-1] for line in told] == [f"starting it again ({n} of 3)" for n in (2, 3)]


def test_what_never_starts_is_one_sentence(hasty) -> None:
    def start() -> int:
        with service("") as one:
            return wait_for_port(one)

    with pytest.raises(RunError, match=r"ended and does not listen; .*tried 3 times; see there$"):
        start_patiently(start, "see there")


def test_an_app_is_there_once_it_answers(hasty) -> None:
    answer = (
        "import http.server as h; s = h.HTTPServer(('127.0.0.1', {}), h.BaseHTTPRequestHandler)"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with service(WORK.format(0.5) + answer.format(port) + "; s.serve_forever()") as slow:
        wait_for_answer(slow, f"http://127.0.0.1:{port}/")  # 501, which is an answer


def test_the_work_of_those_that_ended_counts(hasty) -> None:
    with service(WORK.format(0.2)) as short:
        progress = StartupProgress(short.child)
        while not progress.is_over():
            time.sleep(0.01)
        assert short.child.poll() == 0
        assert sum(progress._used_s.values()) > 0.1
