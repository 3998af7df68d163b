"""The licence that a model's own card or licence file states; none is ever guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

__all__ = ["describe_licence", "read_licence"]

FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
STATED = re.compile(r"^\|\s*licen[cs]e\s*\|([^|\n]+)", re.I | re.M)
LICENCE_FILES = "LICEN[CS]E*"


def read_licence(folder: Path) -> str | None:
    """Return the licence of a model's folder, None where it states none.

    README.md says it in its front matter (as on the model hub,
    https://huggingface.co/docs/hub/model-cards) or in a row of a table; else the first line of a
    LICENSE file does, 200 letters of it at most.
    """
    card = _read(folder / "README.md")
    if (front := FRONT_MATTER.match(card)) and (stated := _from_front_matter(front[1])):
        return stated
    if row := STATED.search(card):
        stated = row[1].strip()
        quote, inside = stated[:1], stated[1:-1]
        if quote in ("'", '"', "`") and stated.endswith(quote) and quote not in inside:
            stated = inside.strip()  # only quotes around all of it: those inside stay
        return stated or None
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
    """Return the licence of a card's YAML; None where that states none or cannot be read."""
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    if not isinstance(fields, Mapping):
        return None
    texts = []
    for key in ("license", "license_name", "license_link"):
        value = fields.get(key)
        if isinstance(value, list):
            texts.append(", ".join(str(one) for one in value))
        else:
            texts.append("" if value is None else str(value).strip())
    licence, name, link = texts
    if licence.lower() == "other" or not licence:  # of its own: a name, an address
        licence = name or licence
        return f"{licence} ({link})" if licence and link else licence or None
    return licence


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
