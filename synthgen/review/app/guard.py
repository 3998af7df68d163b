"""FiftyOne's server, which answers only those who ask for it by its own address.

``python -m synthgen.review.app.guard --port 5151 --address 127.0.0.1``, in FiftyOne's own folder.

A page of a foreign site may have its name lead to 127.0.0.1 once it is open (DNS rebinding), and
could then read what the App shows; its requests still say the foreign name, and are refused.
"""

from __future__ import annotations

import argparse
import inspect
import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from synthgen.review.app.counting import count_samples_not_slices
from synthgen.review.app.page import AppPage, change_files

__all__ = ["OwnHostOnly", "names_of_address"]

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]
LOCAL = ("127.0.0.1", "localhost", "::1")
REFUSED = b"this server answers at its own address only"


def names_of_address(address: str) -> frozenset[str]:
    """Return the names by which a server that listens at an address may be asked for.

    One of this machine alone has the local names; any other one also this machine's own.

    >>> sorted(names_of_address("127.0.0.1"))
    ['127.0.0.1', '::1', 'localhost']
    """
    if address in LOCAL:
        return frozenset(LOCAL)
    return frozenset(
        {address.lower(), *LOCAL, socket.gethostname().lower(), socket.getfqdn().lower()}
    )


class OwnHostOnly:
    """An ASGI application that passes on what is meant for its own host, and refuses the rest.

    ``names``: see ``names_of_address``. ``any_ip``: any address in figures is its own, too, as of a
    server that listens at all of them; a name that leads there is not.
    """

    def __init__(self, app: App, names: frozenset[str], any_ip: bool = False) -> None:
        self._app, self._names, self._any_ip = app, names, any_ip

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._is_own(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 421, "headers": headers})
            await send({"type": "http.response.body", "body": REFUSED})

    def _is_own(self, scope: Scope) -> bool:
        """Say whether a request is for this host, and of one of its own pages, if of any."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        pages = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        return (
            len(hosts) == 1
            and self._knows(f"//{hosts[0]}")
            and all(self._knows(page) for page in pages)
        )

    def _knows(self, address: str) -> bool:
        try:
            name = urlsplit(address).hostname or ""
        except ValueError:
            return False
        return name in self._names or (self._any_ip and _is_ip(name))


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def main() -> None:
    """Start FiftyOne's server behind the guard, and return when it ends.

    A server that listens at all addresses may be asked for by any address in figures.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--address", required=True)
    asked = parser.parse_args()
    from fiftyone.server import main as server

    count_samples_not_slices()
    files = change_files(Path(inspect.getfile(server)).parent / "static")
    server.app.add_middleware(AppPage, files=files)
    is_open = asked.address in ("0.0.0.0", "::")
    server.app.add_middleware(OwnHostOnly, names=names_of_address(asked.address), any_ip=is_open)
    server.start_server(port=asked.port, address=asked.address)


if __name__ == "__main__":
    main()
