"""What every config is checked for before anything is made of it: its sections are there and are
sections, its keys are known, and its numbers and texts are ones that anything could take."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from synthgen.config.suggest import did_you_mean
from synthgen.errors import ConfigError

__all__ = ["check_sections", "check_values"]

LARGEST, SMALLEST = 1e12, 1e-30  # of a number with a fraction: beyond, sums and squares break down
MAX_ENTRIES, DEEPEST, LONGEST = 100_000, 20, 100_000  # of all values, levels, characters of a text
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # no file and no name holds these
NULLABLE = ("bank", "missed")  # sections that may be left out as a whole


def check_values(tree: Any) -> None:
    """Raise ConfigError that names the key of a value that nothing can take.

    These are a number that is not finite or absurdly large, a text with NUL or another invisible
    character, and more than ``MAX_ENTRIES`` values or ``DEEPEST`` levels.
    """
    waiting: list[tuple[str, Any, int]] = [("", tree, 0)]
    count = 0
    while waiting:
        key, node, depth = waiting.pop()
        count += 1
        inner: Any = ()
        if isinstance(node, Mapping):
            inner = node.items()
        elif isinstance(node, list | tuple):
            inner = enumerate(node)
        else:
            _check_leaf(key, node)
        children = [(f"{key}.{name}" if key else str(name), value) for name, value in inner]
        if children and (depth >= DEEPEST or count + len(waiting) + len(children) > MAX_ENTRIES):
            raise ConfigError(
                f"{key} holds more than a setting can: at most {DEEPEST} levels, and "
                f"{MAX_ENTRIES} values in all"
            )
        for child, value in reversed(children):
            if len(child) > LONGEST or UNSEEN.search(child):
                raise ConfigError(f"the key {child[:100]!r} holds a character that no key may hold")
            waiting.append((child, value, depth + 1))


def _check_leaf(key: str, value: Any) -> None:
    """Raise ConfigError for a number or a text that nothing can take."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"{key}={value} is not a finite number; null = open, where allowed")
        if abs(value) > LARGEST or 0 < abs(value) < SMALLEST:
            limit = "small" if abs(value) < 1 else "large"
            raise ConfigError(f"{key}={value:g} is too {limit} to be meant")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ConfigError(f"{key} is too large to be meant: it has {len(str(abs(value)))} digits")
    elif isinstance(value, str):
        if len(value) > LONGEST:
            raise ConfigError(f"{key} is a text of {len(value)} characters; {LONGEST} is the most")
        if found := UNSEEN.search(value):
            raise ConfigError(
                f"{key}={value[:100]!r} holds the character {found[0]!r}, which no text here may "
                "hold"
            )


def check_sections(
    config: Mapping[str, Any],
    shipped: Mapping[str, Any],
    groups: Collection[str],
    open_keys: Sequence[str],
    shown: str,
) -> None:
    """Raise ConfigError for a section that is gone, is not one, or holds a key that nobody reads.

    ``shipped``: the sections of the pipeline, as they ship. ``groups``: those that a file is chosen
    for, whose keys are that file's own. ``open_keys`` may hold anything. ``shown``: the pipeline.
    """
    for name in groups:
        if not isinstance(config.get(name), Mapping):
            raise ConfigError(
                f"{_show(name, config)} is not a choice for {name}; see conf/{name} for those that "
                f"there are, or synthgen {shown} --cfg job for the keys below it"
            )
    for name, node in shipped.items():
        if isinstance(node, Mapping) and node:
            _check_section(name, config, name, node, open_keys, shown)
        elif name not in config:
            raise ConfigError(f"{name} is gone, and {shown} needs it; leave ~{name} out")


def _check_section(
    key: str,
    holder: Mapping[str, Any],
    name: str,
    shipped: Mapping[str, Any],
    open_keys: Sequence[str],
    shown: str,
) -> None:
    if key in open_keys or (key in NULLABLE and holder.get(name) is None):
        return
    given = holder.get(name)
    if not isinstance(given, Mapping):
        first = next(iter(shipped))
        raise ConfigError(
            f"{_show(name, holder, key)} is not possible: {key} has keys of its own, e.g. "
            f"{key}.{first}=...; see synthgen {shown} --cfg job"
        )
    for inner in given:
        if inner not in shipped:
            near = did_you_mean(str(inner), list(map(str, shipped)))
            raise ConfigError(
                f"{key}.{inner} is unknown; {near}{shown} does not read it; synthgen {shown} --cfg "
                "job shows what it reads"
            )
    for inner, node in shipped.items():
        if isinstance(node, Mapping) and node:
            _check_section(f"{key}.{inner}", given, inner, node, open_keys, shown)
        elif inner not in given:
            raise ConfigError(
                f"{key}.{inner} is gone, and {shown} needs it; leave ~{key}.{inner} out"
            )


def _show(name: str, holder: Mapping[str, Any], key: str = "") -> str:
    """Return key=value, or that the key is gone."""
    if name not in holder:
        return f"~{key or name}"
    value = holder[name]
    return f"{key or name}={'null' if value is None else repr(value)[:100]}"
