"""The licence that a model's own card or licence file states; none is ever guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["describe_licence", "read_licence"]

FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
STATED = re.compile(r"^\|\s*licen[cs]e\s*\|([^|\n]+)", re.I | re.M)
LICENCE_FILES = "LICEN[CS]E*"


def read_licence(folder: Path) -> str | None:
    """Return the licence of a model's folder, None where it states none.

    README.md says it in its front matter (as on the model hub) or in a row of a table; else the
    first line of a LICENSE file does.
    """
    card = _read(folder / "README.md")
    if (front := FRONT_MATTER.match(card)) and (stated := _from_front_matter(front[1])):
        return stated
    if row := STATED.search(card):
        return _unquote(row[1].strip()) or None
    for path in sorted(folder.glob(LICENCE_FILES)):
        if first := _read(path).strip():
            return " ".join(first.splitlines()[0].strip("#* ").split())[:200] or None
    return None


def describe_licence(licence: str | None) -> str:
    """Return the half sentence about a model's licence that a person should read once."""
    if licence is None:
        return "none is stated with it; ask who made it before you use what it paints"
    return f"{licence}; its terms apply to what you make with it"


def _from_front_matter(text: str) -> str | None:
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    if not isinstance(fields, Mapping):
        return None
    licence, name, link = (_text(fields.get(f"license{end}")) for end in ("", "_name", "_link"))
    if licence.lower() == "other" or not licence:  # of its own: a name, an address
        licence = name or licence
        return f"{licence} ({link})" if licence and link else licence or None
    return licence


def _unquote(text: str) -> str:
    """Return a text without the quotes around all of it; quotes inside stay."""
    quote, inside = text[:1], text[1:-1]
    is_quoted = quote in ("'", '"', "`") and text.endswith(quote) and quote not in inside
    return inside.strip() if is_quoted else text


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return "" if value is None else str(value).strip()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
