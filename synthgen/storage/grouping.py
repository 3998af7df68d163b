"""Names and groups of files: a stable id for each, and the physical part that it shows."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from synthgen.errors import ConfigError

__all__ = ["grouping", "name_files"]


def name_files(relatives: Sequence[Path]) -> list[str]:
    """Return an id per file: its relative path, safe as a file name; the suffix where needed."""
    plain = [_safe(relative.with_suffix("")) for relative in relatives]
    taken = Counter(plain)
    full = [
        name if taken[name] == 1 else f"{name}-{_safe(Path(relative.suffix[1:].lower()))}"
        for name, relative in zip(plain, relatives, strict=True)
    ]
    taken = Counter(full)
    return [
        name if taken[name] == 1 else f"{name}-{hashlib.sha256(str(r).encode()).hexdigest()[:8]}"
        for name, r in zip(full, relatives, strict=True)
    ]


def _safe(path: Path) -> str:
    return re.sub(r"[^\w.-]+", "-", "_".join(path.parts)).strip("-.") or "image"


def grouping(group_by: str, key: str = "source.group_by") -> Callable[[Path, str], str]:
    """Return a function that names the group of a file, from its relative path and its own id.

    ``group_by``: file | folder | a regular expression with one group on the path; a file that it
    does not match is a group of its own. Raises ConfigError that names the ``key``.
    """
    if group_by == "file":
        return lambda relative, source_id: source_id
    if group_by == "folder":
        return lambda relative, source_id: relative.parent.as_posix()
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise ConfigError(
            f"{key}={group_by!r} must be file, folder or a regular expression: {error}"
        ) from error
    if pattern.groups != 1:
        raise ConfigError(
            f"{key}={group_by!r} must hold one group in brackets, as in '(part\\d+)_'"
        )

    def by_pattern(relative: Path, source_id: str) -> str:
        found = pattern.search(relative.as_posix())
        return found[1] if found and found[1] is not None else source_id

    return by_pattern
