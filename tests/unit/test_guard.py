"""The server of a review answers its own address only, whatever the names that lead to it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from synthgen.review.app.guard import OwnHostOnly, names_of_address


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def ask(address: str, host: str | None, origin: str = "", kind: str = "http") -> Any:
    """Return how a server that listens at an address begins to answer."""
    headers = [] if host is None else [(b"host", host.encode())]
    headers += [(b"origin", origin.encode())] if origin else []
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    guard = OwnHostOnly(_app, names_of_address(address), any_ip=address == "0.0.0.0")
    asyncio.run(guard({"type": kind, "headers": headers}, None, send))
    return sent[0].get("status", sent[0]["type"])


@pytest.mark.parametrize("host", ["127.0.0.1:5151", "localhost:5151", "LOCALHOST", "[::1]:5151"])
def test_its_own_names_are_answered(host) -> None:
    assert ask("127.0.0.1", host) == 200
    assert ask("127.0.0.1", host, origin=f"http://{host}") == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:5151",
        "127.0.0.1.evil.example",
        "localhost.evil:5151",
        "",
        None,
        "[",
        "10.0.0.1",
    ],
)
def test_a_foreign_name_is_refused(host) -> None:
    assert ask("127.0.0.1", host) == 421
    assert ask("127.0.0.1", host, kind="websocket") == "websocket.close"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil"])
def test_a_page_of_another_site_is_refused(origin) -> None:
    assert ask("127.0.0.1", "127.0.0.1:5151", origin=origin) == 421


def test_a_server_for_everyone_answers_figures_and_its_own_name() -> None:
    assert ask("0.0.0.0", "192.168.1.7:5151") == 200
    assert ask("0.0.0.0", "evil.example:5151") == 421
    assert ask("line2.factory", "line2.factory:5151") == 200
    assert ask("line2.factory", "192.168.1.7:5151") == 421
