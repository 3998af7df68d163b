"""What mkdocs does beside its plugins: pages that stand outside docs/, and links to files there.

SECURITY.md and others are pages of the site, too, without a copy in docs/. A link from a page to a
file of the repository that is not a page becomes the file's name, since the site is read without
the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "SECURITY.md": "explain/security.md",
    "CONTRIBUTING.md": "explain/contributing.md",
    "CHANGELOG.md": "changelog.md",
    "data/models/embedded/README.md": "reference/embedded-model.md",
}
STANDS_AT = {page: path for path, page in OUTSIDE.items()}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/."""
    for path, page in OUTSIDE.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Mend links that lead out of docs/, and those of pages that stand outside."""
    return mend_links(markdown, page.file.src_uri)


def mend_links(markdown: str, page: str) -> str:
    """Return the text of a page of the site with links that work inside the site."""
    stands_at = STANDS_AT.get(page, f"docs/{page}")

    def mend(link: re.Match[str]) -> str:
        text, path, anchor = link[1], link[2], link[3] or ""
        if not path or re.match(r"[a-z]+:", path):
            return link[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(stands_at), path))
        inside = OUTSIDE.get(target) or (target[5:] if target.startswith("docs/") else None)
        if inside is None or inside == "images/README.md":  # of who draws pictures, not of the site
            return text if text == f"`{target}`" else f"{text} (`{target}`)"
        return f"[{text}]({posixpath.relpath(inside, posixpath.dirname(page) or '.')}{anchor})"

    return LINK.sub(mend, markdown)
