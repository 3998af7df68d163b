"""Near names: what a mistyped key, option or setting was probably meant to be."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args, get_type_hints

__all__ = ["did_you_mean", "find_near_key", "list_settings"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "did you mean count? " for the nearest known name, or '' where none is near.

    Near is what difflib finds similar at its own cutoff, .6.

    >>> did_you_mean("cuont", ["count", "folder"])
    'did you mean count? '
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}? " if near else ""


def find_near_key(key: str, tree: Any) -> str:
    """Return the key of a config that a mistyped one was probably meant to be, or ''.

    First one beside it, under the part that is spelled right; else one of the same or of a near
    name anywhere; of several, the least deep.

    >>> tree = {"run": {"count": 1}, "backend": {"painting": {"steps": 4}}}
    >>> find_near_key("run.cuont", tree), find_near_key("backend.stepz", tree)
    ('run.count', 'backend.painting.steps')
    """
    before, node, parts = [], tree, key.split(".")
    while parts and isinstance(node, Mapping) and parts[0] in node:
        before.append(parts[0])
        node = node[parts.pop(0)]
    if not parts:
        return ""
    beside = [str(name) for name in node] if isinstance(node, Mapping) else []
    if near := difflib.get_close_matches(parts[0], beside, n=1, cutoff=0.7):
        found = [*before, near[0]]
        below = node[near[0]]
        rest = parts[1:]
        return ".".join([*found, *rest]) if _has(below, rest) else ".".join(found)
    keys = sorted(_list_keys(tree), key=lambda one: (one.count("."), one))
    last = {one.rpartition(".")[2]: one for one in reversed(keys)}
    near = difflib.get_close_matches(parts[-1], last, n=1, cutoff=0.7)
    return last[near[0]] if near else ""


def _has(node: Any, path: Sequence[str]) -> bool:
    """Say whether nested mappings hold something at a path; () is always there."""
    for name in path:
        if not isinstance(node, Mapping) or name not in node:
            return False
        node = node[name]
    return True


def _list_keys(tree: Any, prefix: str = "") -> list[str]:
    """Return all keys of nested mappings with dots, those of sections too."""
    if not isinstance(tree, Mapping):
        return []
    keys = []
    for name, node in tree.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        keys += [key, *_list_keys(node, key)]
    return keys


def list_settings(kind: Any, path: Sequence[str | int]) -> list[str]:
    """Return the names that a class, function or type takes at a path below it; [] = any.

    ``path`` is that of a validation error, e.g. ("controlnets", "canny") in ``ModelSettings``.
    """
    kinds = [kind]
    for step in path:
        kinds = [inner for outer in kinds for inner in _step(outer, step)]
    return sorted({name for one in kinds for name in _names_of(one)})


def _step(kind: Any, step: str | int) -> list[Any]:
    """Return the classes that a setting of a class may have as its value; [] = unknown."""
    if step not in _names_of(kind):
        return [kind]  # the name of an entry, as of one ControlNet of several
    is_plain_class = inspect.isclass(kind) and not dataclasses.is_dataclass(kind)
    try:
        hint = get_type_hints(kind.__init__ if is_plain_class else kind).get(str(step))
    except (NameError, TypeError):
        return []
    return [] if hint is None else _open(hint)


def _open(hint: Any) -> list[Any]:
    """Return the classes in a hint: of unions each, of lists and dictionaries what is in them."""
    inner = get_args(hint)
    return [one for part in inner for one in _open(part)] if inner else [hint]


def _names_of(kind: Any) -> list[str]:
    """Return the fields of a dataclass or the parameters of something else; [] = none."""
    if not callable(kind) or kind in (str, int, float, bool, dict, list, type(None)):
        return []
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    try:
        return [name for name in inspect.signature(kind).parameters if name != "self"]
    except (TypeError, ValueError):
        return []
