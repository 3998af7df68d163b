"""What a review's server sends in place of FiftyOne's own page and script."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from synthgen.review.app.page import AppPage, ChangedFiles, change_files

FILES = ChangedFiles(b"<html>ours</html>", {"draws-Ab1.js": b"ours()"})
HTML, SCRIPT = (b"content-type", b"text/html; charset=utf-8"), (b"content-type", b"text/javascript")


def ask(path: str, kind: tuple[bytes, bytes], status: int = 200, **more: Any) -> tuple[Any, Any]:
    """Return what is sent for a path, head and body, and which headers FiftyOne's own App got."""
    got: list[Any] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.extend(scope["headers"])
        headers = [kind, (b"content-length", b"6"), (b"etag", b"theirs")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for part in (b"the", b"irs"):
            await send({"type": "http.response.body", "body": part, "more_body": part == b"the"})

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"if-none-match", b"theirs"), (b"accept", b"*/*")]
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers} | more
    asyncio.run(AppPage(app, FILES)(scope, None, send))
    body = b"".join(message["body"] for message in sent[1:])
    assert dict(sent[0]["headers"])[b"content-length"] == str(len(body)).encode()
    return (dict(sent[0]["headers"]), body), [name for name, _ in got]


@pytest.mark.parametrize("path", ["/", "/datasets/run", "/index.html"])
def test_the_page_is_ours_and_may_ask_nobody_else(path) -> None:
    (headers, body), got = ask(path, HTML)
    assert body == FILES.page
    assert headers[b"content-security-policy"].startswith(b"default-src 'self'")
    assert (b"etag" in headers, headers[b"cache-control"]) == (False, b"no-store")
    assert got == [b"accept"]  # a browser must not keep FiftyOne's own


def test_the_script_is_ours_wherever_it_is_asked_for() -> None:
    for path in ("/assets/draws-Ab1.js", "/datasets/assets/draws-Ab1.js"):
        (headers, body), got = ask(path, SCRIPT)
        assert (body, got) == (b"ours()", [b"accept"])
        assert b"content-security-policy" not in headers


@pytest.mark.parametrize(
    ("path", "kind", "more"),
    [
        ("/assets/other.js", SCRIPT, {}),
        ("/media", (b"content-type", b"image/png"), {}),
        ("/datasets/gone", HTML, {"status": 404}),
        ("/datasets/picture.png", (b"content-type", b"image/png"), {}),
        ("/graphql", HTML, {}),
        ("/", HTML, {"method": "POST"}),
    ],
)
def test_everything_else_is_fiftyones(path, kind, more) -> None:
    (headers, body), _ = ask(path, kind, **more)
    assert (body, headers[b"etag"]) == (b"theirs", b"theirs")


@pytest.mark.skipif(importlib.util.find_spec("fiftyone") is None, reason="FiftyOne is not there")
def test_the_installed_app_has_what_is_changed() -> None:
    """Fails where a new FiftyOne has other files: then look what its App shows, and mend this."""
    found = importlib.util.find_spec("fiftyone")
    static = Path(found.submodule_search_locations[0]) / "server" / "static"
    files = change_files(static)
    page = files.page.decode()
    assert page.index("localStorage.setItem") < page.index("<body>")
    assert not re.search(r"(src|href)=.?https?:", page)
    drawing, counting = (
        [text for one in files.scripts.values() if told in (text := one.decode())]
        for told in ("synthgenCloseUp", '"data-cy":`entry-counts`')
    )
    assert len(drawing) == len(counting) == 1
    assert len(files.scripts) == 2
    assert len(re.findall(r"zoom:\w+\(\w+\(\w+\)\),showPatchLabels:", drawing[0])) == 1
    assert drawing[0].count("synthgenCloseUp") == 1
    assert len(re.findall(r"\(\w+=\{plural:`samples`,singular:`sample`\}\)", counting[0])) == 1
    assert page.count("window.synthgenCloseUp = ") == 1
    scripts = "".join(path.read_text(encoding="utf-8") for path in static.rglob("*.js"))
    for told in ("fiftyone-enterprise-tooltip-seen", "fiftyone-do-not-track", "upsell-dismissed"):
        assert told in scripts
