"""What starts slowly is waited for as long as it works; what stands still is told."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import psutil
import pytest

from synthgen.errors import RunError
from synthgen.review.service import startup
from synthgen.review.service.startup import StartupProgress, wait_for_port

WORK = "import time; end = time.process_time() + {}\nwhile time.process_time() < end: pass\n"
LISTEN = "import socket; s = socket.create_server(('127.0.0.1', 0)); print('up', flush=True)\n"
LISTEN += "import time; time.sleep(600)\n"


@contextmanager
def service(code: str) -> Iterator[SimpleNamespace]:
    """A service as FiftyOne starts one: a process whose child does the work."""
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    child = psutil.Popen([sys.executable, "-c", inner], stdout=subprocess.DEVNULL)
    try:
        yield SimpleNamespace(child=child, service_name="server")
    finally:
        for one in startup.family_of([child])[::-1]:
            one.kill()
        child.wait()


@pytest.fixture
def hasty(monkeypatch) -> None:
    monkeypatch.setattr(startup, "STILL_S", 1.0)
    monkeypatch.setattr(startup, "WORK_S", 0.01)
    monkeypatch.setattr(startup, "POLL_S", 0.02)


def test_what_works_is_waited_for(hasty) -> None:
    with service(WORK.format(1.5) + LISTEN) as slow:  # longer than it may stand still
        port = wait_for_port(slow)
        assert port == wait_for_port(slow, port)


@pytest.mark.parametrize(
    ("code", "did"), [("import time; time.sleep(600)", "does nothing"), ("", "ended")]
)
def test_what_stands_still_or_ends_is_told(hasty, code, did) -> None:
    with service(code) as broken, pytest.raises(RunError, match=f"FiftyOne's server {did} and"):
        wait_for_port(broken)


def test_the_work_of_those_that_ended_counts(hasty) -> None:
    with service(WORK.format(0.2)) as short:
        progress = StartupProgress(short.child)
        while not progress.is_over():
            time.sleep(0.01)
        assert short.child.poll() == 0
        assert sum(progress._used_s.values()) > 0.1
