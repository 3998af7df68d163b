"""A page of the product in a real Chromium, without a network: what it shows and asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["HOSTILE", "LoadedPage", "load_page"]

# Names that people give classes and files, and that break pages that do not escape them.
HOSTILE = "crack <img src=x onerror=alert(1)> \"q\" 'a' & 裂纹 🦠 " + "x" * 24

FIND_BROKEN = """() => [...document.images]
    .filter(one => !one.complete || one.naturalWidth === 0 || one.naturalHeight === 0)
    .map(one => one.alt || one.currentSrc.slice(0, 60))"""
FIND_EMPTY = """() => [...document.querySelectorAll("svg")]
    .filter(one => one.getBoundingClientRect().width > 0 && one.children.length === 0)
    .map(one => one.getAttribute("aria-label") || "svg")"""
LOAD_ALL = """() => Promise.all([...document.images].map(one => {
    one.loading = "eager";
    return one.decode().catch(() => null);
}))"""


@dataclass(frozen=True, kw_only=True)
class LoadedPage:
    """What came of a page. ``broken``: pictures that do not load, and charts without anything.

    ``complaints``: of the console, scripts that failed and dialogs. ``elsewhere``: requests for
    anything but the page itself. ``wide_px``: how far it reaches to the right.
    """

    pictures: int
    text: str
    broken: list[str]
    complaints: list[str]
    elsewhere: list[str]
    wide_px: int

    def check(self, width: int) -> None:
        """Fail on a picture that does not load, a complaint, a request, or what sticks out."""
        assert self.broken == []
        assert self.complaints == []
        assert self.elsewhere == []
        assert self.wide_px <= width


def load_page(chromium, path: Path, width: int = 1400) -> LoadedPage:
    """Open a page with the network off, and wait for its pictures, those below the fold too."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, offline=True)
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def refuse(dialog) -> None:
        complaints.append(f"a script ran: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", refuse)
    page.goto(path.as_uri())
    page.evaluate(LOAD_ALL)
    page.wait_for_load_state("networkidle")
    found = LoadedPage(
        pictures=page.locator("img").count(),
        text=page.locator("body").inner_text(),
        broken=page.evaluate(FIND_BROKEN) + page.evaluate(FIND_EMPTY),
        complaints=complaints,
        elsewhere=[url for url in asked if url != path.as_uri() and not url.startswith("data:")],
        wide_px=page.evaluate("document.documentElement.scrollWidth"),
    )
    context.close()
    return found
