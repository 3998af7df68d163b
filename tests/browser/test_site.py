"""The site of docs/: it builds without a warning, and works from a folder, without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_site(site) -> None:
    for page in (ROOT / "docs").rglob("[!R]*.md"):  # docs/images/README.md is for who draws them
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).exists(), page
    assert not list(site.rglob("*.md")) + list(site.glob("*.py"))


def test_no_page_asks_for_anything_from_elsewhere(site) -> None:
    asked = re.compile(r"""<(?:script|img|link|iframe)[^>]*\s(?:src|href)=["']?(?:https?:)?//""")
    for page in site.rglob("*.html"):
        assert not asked.search(page.read_text(encoding="utf-8")), page


def test_pages_that_stand_outside_docs_are_in_it_and_links_lead_to_them(site) -> None:
    security = (site / "explain" / "security.html").read_text(encoding="utf-8")
    assert "What is trusted" in security
    assert 'href="../how-to/review.html#network"' in security
    assert 'href="../explain/security.html"' in (site / "how-to" / "configuration.html").read_text(
        encoding="utf-8"
    )


def test_pages_from_a_folder_show_their_pictures_and_are_searched(site, chromium: Any) -> None:
    page = chromium.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in sorted(site.rglob("*.html")):
        if path.name == "404.html" or "<img" not in path.read_text(encoding="utf-8"):
            continue
        page.goto(path.as_uri())
        broken = page.evaluate(
            "Promise.all([...document.images].map(i => i.decode().then(() => '', () => i.src)))"
        )
        assert not [one for one in broken if one], path
    page.goto((site / "index.html").as_uri())
    page.locator("input[name=query]").fill("margin_px")
    page.locator(".md-search-result__item").first.wait_for(state="attached", timeout=60_000)
    assert "mask.margin_px" in page.locator(".md-search-result__list").inner_text()
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    page.close()
