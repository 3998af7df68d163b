"""Keys of other commands: which are left out of a command line, and who reads the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from synthgen.config.suggest import find_near_key
from synthgen.errors import ConfigError
from synthgen.storage.files import find_shipped

__all__ = ["leave_out_others", "list_readers", "read_shipped"]


def leave_out_others(pipeline: str, overrides: Sequence[str]) -> list[str]:
    """Return the overrides without those for a command that builds on this one.

    ``preview`` has all keys of ``generate`` and a section of its own, so that one command line is
    right for both. Raises ConfigError for a key that the other command does not have either.

    >>> leave_out_others("generate", ["seed=1", "preview.count=3"])
    ['seed=1']
    """
    own, groups = read_shipped(pipeline)
    known = own.keys() | groups
    kept = []
    for text in overrides:
        key = _key_of(text)
        section = key.partition(".")[0]
        others = [] if section in known else _builders(pipeline)  # which reads all of conf/
        trees = {name: read_shipped(name)[0] for name in others}
        found = next((name for name, tree in trees.items() if section in tree), None)
        if found is None:
            kept.append(text)
        elif not _has(trees[found], key):
            near = find_near_key(key, {section: trees[found][section]})
            hint = f"did you mean {near}? " if near else ""
            raise ConfigError(
                f"{key} is not a key of {found}; {hint}see synthgen {found} --cfg job for all of "
                "them"
            )
    return kept


def list_readers(key: str) -> list[str]:
    """Return the commands whose own file has a key, as they are typed.

    >>> list_readers("out")[:3], list_readers("run.cuont")
    (['adapt', 'bank', 'convert hed'], [])
    """
    names = sorted(path.stem for path in find_shipped("conf").glob("*.yaml"))
    return [name.replace("_", " ") for name in names if _has(read_shipped(name)[0], key)]


def read_shipped(pipeline: str) -> tuple[dict[str, Any], set[str]]:
    """Return a pipeline's config as its file has it, and for which keys a file is chosen."""
    node = _read_file(pipeline)
    groups: set[str] = set()
    for default in node.pop("defaults", []):
        if isinstance(default, Mapping):
            names = (str(key).removeprefix("optional ").partition("@")[0] for key in default)
            groups |= {name for name in names if "/" not in name}
        elif default != "_self_":
            inner, others = read_shipped(default)
            node, groups = inner | node, groups | others
    return node, groups


def _read_file(pipeline: str) -> dict[str, Any]:
    path = find_shipped("conf") / f"{pipeline}.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})


def _builders(pipeline: str) -> list[str]:
    """Return the commands whose file begins with all that this one's has."""
    names = sorted(path.stem for path in find_shipped("conf").glob("*.yaml"))
    return [name for name in names if pipeline in _read_file(name).get("defaults", [])]


def _key_of(text: str) -> str:
    """Return the key of an override, '' of a flag."""
    return "" if text.startswith("-") else text.partition("=")[0].lstrip("+~")


def _has(tree: Any, key: str) -> bool:
    node = tree
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return False
        node = node[name]
    return True
