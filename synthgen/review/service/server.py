"""FiftyOne's App on a port of this machine, for as long as a review lasts."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import synthgen
from synthgen.errors import ConfigError
from synthgen.review.app.guard import LOCAL
from synthgen.review.fields import REVIEWER
from synthgen.review.look import WORKSPACE
from synthgen.review.service.database import load_fiftyone
from synthgen.review.service.startup import start_patiently, wait_for_answer
from synthgen.review.settings import ReviewSettings

__all__ = ["find_port", "serve", "wait", "warn_of_address"]

PORTS = 50  # tried from the one asked for


@contextmanager
def serve(dataset: str, settings: ReviewSettings) -> Iterator[str]:
    """Show a dataset in the App while inside; yield its address, and open it in a browser if asked.

    The server listens at ``settings.port``, or at the next free port. It answers only those who ask
    for it by that address, and ends with this context. Raises ConfigError where no port is free or
    nothing can listen at ``settings.address``, RunError where the App does not start.
    """
    load_fiftyone()
    from fiftyone.core.service import ServerService

    os.environ[REVIEWER] = settings.who  # read by the plugin, in the server's process,
    paths = [str(Path(synthgen.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))  # which finds this synthgen
    ServerService.command = property(  # behind the guard, instead of FiftyOne's own
        lambda service: [
            *(sys.executable, "-m", "synthgen.review.app.guard"),
            *("--port", str(service.port), "--address", str(service.address)),
        ]
    )

    def start() -> Any:
        port = find_port(settings.address, settings.port)
        server = ServerService(port, address=settings.address, do_not_track=True)
        host = "127.0.0.1" if settings.address == "0.0.0.0" else settings.address
        wait_for_answer(server, f"http://{host}:{port}/")
        return server

    server = start_patiently(start, "review.port=... gives it another port")
    address = f"http://{settings.address}:{server.port}/datasets/{dataset}?workspace={WORKSPACE}"
    try:
        if settings.browser:
            webbrowser.open(address)
        yield address
    finally:
        server.stop()


def find_port(address: str, first: int) -> int:
    """Return the first port from ``first`` on at which nothing listens; ``PORTS`` are tried.

    Raises ConfigError where none is free, where one may not be used, and for an unknown address.
    """
    for port in range(first, min(first + PORTS, 65536)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not for one just left
            try:
                probe.bind((address, port))
            except PermissionError as error:
                raise ConfigError(f"review.port={port} is not allowed: {error.strerror}") from error
            except socket.gaierror as error:
                raise ConfigError(f"review.address={address} is unknown here") from error
            except OSError:
                continue
            return port
    raise ConfigError(
        f"no port from {first} on is free at {address}; give review.port=... and an address of "
        "this machine"
    )


def warn_of_address(address: str) -> str:
    """Return what to say of an address that others reach, '' for one of this machine alone."""
    if address in LOCAL:
        return ""
    return (
        f"review.address={address} lets everyone who reaches this machine read every file that you "
        "can read: FiftyOne's App asks for no password"
    )


def wait() -> None:
    """Return at Ctrl-C, or when this process is asked to end (SIGTERM).

    Call it from the main thread; no other may handle signals. The handlers of before are put back.
    """
    asked = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: asked.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        while not asked.wait(0.5):  # without a timeout no signal gets through on some systems
            pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
