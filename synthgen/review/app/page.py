"""The page of FiftyOne's App as a review shows it: without advertisement, close to the defects.

The server of ``synthgen.review.app.guard`` sends FiftyOne's files, three of them changed: the
page, which is told what is dismissed already, the script that draws pictures, and the one that
counts. The first script crops to labels in views of patches alone, and asks where; here it crops in
every view and in an open sample, to what ``close_up.js`` says. The second one speaks of groups with
a slice where a view is chosen; here of samples. Where a later FiftyOne has another script, it shows
what it shows itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["AppPage", "ChangedFiles", "change_files"]

Message = MutableMapping[str, Any]
App = Callable[[Message, Any, Any], Awaitable[None]]
DISMISSED = {  # what the App looks up in the browser's storage before it advertises or asks
    "fiftyone-enterprise-tooltip-seen": "true",
    "fiftyone-do-not-track": "true",
    "fo-annotate-video-ai-upsell-dismissed": "true",
}
STYLE = (
    '#fo-cta-enterprise-button, a[href*="why-upgrade"], [data-cy$="upsell"] '
    "{ display: none !important }"
)
FONTS = re.compile(r'\s*<link rel="preload" href="https://fonts[^>]*>')  # of another site
# zoom:isPatches()&&cropToContent(isModal),showPatchLabels: ... of the options of a picture
CROPS = re.compile(r"\bzoom:((\w+)\(\w+\))&&(\2\(\w+\((\w+)\)\)),showPatchLabels:")
CROPS_HERE = r"zoom:\3,showPatchLabels:"
# (state,overlays)=>{let points=overlays.map(one=>one.getPoints(state)).flat(), ... what is shown
SHOWN = re.compile(r"\((\w+),(\w+)\)=>\{let (\w+)=\2\.map\((\w+)=>\4\.getPoints\(\1\)\)\.flat\(\),")
SHOWN_HERE = r"(\1,\2)=>{let \3=window.synthgenCloseUp(\2,\1),"
# (name={plural:`groups`,singular:`group`}) ... ,!isWhole&&hasSlices&&` with slice`
COUNTS = re.compile(
    r"\((\w+)=\{plural:`groups`,singular:`group`\}\)([^;]{0,500}?)!\w+&&\w+&&` with slice`"
)
COUNTS_HERE = r"(\1={plural:`samples`,singular:`sample`})\2!1"
# a page that may ask nobody but its own server sends nothing to others, whatever runs in it
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'"
)
PAGES = ("/index.html", "/datasets/")  # and / itself
CONDITIONS = (b"if-none-match", b"if-modified-since")  # a browser may know FiftyOne's own file
OF_THE_FILE = (b"content-length", b"etag", b"last-modified", b"cache-control")


@dataclass(frozen=True, slots=True)
class ChangedFiles:
    """What is sent in place of FiftyOne's own: its page, and scripts by name."""

    page: bytes
    scripts: dict[str, bytes]


def change_files(static: Path) -> ChangedFiles:
    """Return the changed files of the App, whose own lie in ``static``."""
    stored = json.dumps(DISMISSED)
    close_up = Path(__file__).with_name("close_up.js").read_text(encoding="utf-8")
    told = (
        f"<script>for (const [key, value] of Object.entries({stored})) "
        f"localStorage.setItem(key, value);\n{close_up}</script><style>{STYLE}</style></head>"
    )
    page = FONTS.sub("", (static / "index.html").read_text(encoding="utf-8"))
    scripts = {}
    for path in sorted((static / "assets").glob("*.js")):
        text = path.read_text(encoding="utf-8")
        changed, crops = CROPS.subn(CROPS_HERE, text)
        changed, shows = SHOWN.subn(SHOWN_HERE, changed)
        if crops != 1 or shows != 1:
            changed = text
        changed, counts = COUNTS.subn(COUNTS_HERE, changed)
        if crops == shows == 1 or counts == 1:
            scripts[path.name] = changed.encode()
    return ChangedFiles(page.replace("</head>", told, 1).encode(), scripts)


class AppPage:
    """An ASGI application that sends changed files in place of FiftyOne's own."""

    def __init__(self, app: App, files: ChangedFiles) -> None:
        self._app, self._files = app, files

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        script = self._files.scripts.get(path.rpartition("/")[2])
        is_page = path == "/" or (path.startswith(PAGES) and "/assets/" not in path)
        page = self._files.page if is_page else None
        if script is None and page is None:
            await self._app(scope, receive, send)
            return
        headers = [one for one in scope["headers"] if one[0].lower() not in CONDITIONS]
        await self._app({**scope, "headers": headers}, receive, _Sender(send, script, page))


class _Sender:
    """Passes on what is sent, or sends another body: a script, or the page where it is HTML."""

    def __init__(self, send: Any, script: bytes | None, page: bytes | None) -> None:
        self._send, self._body, self._page = send, script, page
        self._is_sent = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = self._start(message)
        elif message["type"] == "http.response.body" and self._body is not None:
            if self._is_sent:
                return
            self._is_sent = True
            message = {"type": message["type"], "body": self._body, "more_body": False}
        await self._send(message)

    def _start(self, message: Message) -> Message:
        """Return the head of the answer, that of the other file where there is one."""
        kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
        is_page = bool(kinds) and kinds[0].startswith(b"text/html")
        if message["status"] != 200:
            self._body = None
        elif is_page and self._page is not None:
            self._body = self._page
        if self._body is None:
            return message
        headers = [one for one in message["headers"] if one[0].lower() not in OF_THE_FILE]
        headers += [
            (b"content-length", str(len(self._body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if is_page:
            headers.append((b"content-security-policy", POLICY.encode()))
        return {**message, "headers": headers}
