"""What of a run's config may be built. A run may come from anywhere, so its config is data: only
classes that ship with synthgen are made of it, and code of one's own where it is named again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import yaml

from synthgen.defects import DEFECTS
from synthgen.errors import RunError
from synthgen.runs.renamed import former_names
from synthgen.storage.files import find_shipped

__all__ = ["check_buildable", "list_shipped"]

ENVIRONMENT = re.compile(r"\$\{oc\.env:([A-Za-z_][A-Za-z0-9_]*)\}")
TARGET = "_target_"
ASIDE = ("_args_", "_convert_", "_partial_", "_recursive_")  # further orders to Hydra
FUNCTION = "synthgen.conditioning.control.functions.function_control"
IMPORTED = dict.fromkeys([FUNCTION, *former_names(FUNCTION)], "function")  # imports by a name
MAX_NODES, DEEPEST = 100_000, 40  # more than any config has; YAML's aliases multiply


def check_buildable(config: Any, allowed: Collection[str], run: str) -> None:
    """Raise RunError where a ``run``'s config would run code that neither ships with synthgen nor
    is ``allowed`` (``module.Class``, ``module:function``), at any depth.

    References, ``${...}``, are refused too, since they could make what is not seen here; one to a
    variable of the environment is followed where ``allowed`` names it, ``oc.env:NAME``.
    """
    if not isinstance(config, Mapping):
        raise RunError(f"{run}/run.yaml holds no config; the run folder is damaged")
    known = {*list_shipped(), *allowed}
    for key, node in _walk(config, "", run):
        if isinstance(node, str) and "${" in node:
            names = ENVIRONMENT.findall(node)
            is_allowed = {f"oc.env:{name}" for name in names} <= set(allowed)
            if not is_allowed or len(names) < node.count("${"):  # it holds another reference
                hint = "; name it if it may be read here: 'allow=[oc.env:{}]'" if names else ""
                raise RunError(
                    f"{run}/run.yaml: {key}={node!r} is a reference, and none is followed"
                    + hint.format(*names)
                )
        if not isinstance(node, Mapping):
            continue
        target = node.get(TARGET)
        if TARGET in node:
            _check(f"{key}.{TARGET}", target, known, run)
        if isinstance(target, str) and target in IMPORTED:
            name = IMPORTED[target]
            _check(f"{key}.{name}", node.get(name), set(allowed), run)
        if target not in allowed and (aside := sorted(set(ASIDE) & set(node))):
            raise RunError(
                f"{run}/run.yaml: {key}.{aside[0]} is nothing that a config of synthgen's own "
                "classes holds; the run was changed"
            )


@lru_cache(maxsize=1)
def list_shipped() -> frozenset[str]:
    """Return what ``_target_`` may name in any run: what conf/ names, and each class of defects.

    Their former names are among them, since older runs hold those.
    """
    files = sorted(find_shipped("conf").rglob("*.yaml"))
    configs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]
    named = {
        str(node[TARGET])
        for _, node in _walk(configs, "", "conf")
        if isinstance(node, Mapping) and TARGET in node
    }
    named |= {f"{kind.__module__}.{kind.__name__}" for kind in DEFECTS.values()}
    return frozenset(named.union(*(former_names(name) for name in named)))


def _check(key: str, name: Any, known: Collection[str], run: str) -> None:
    """Raise RunError where a name of code is not among those that are known."""
    if isinstance(name, str) and name in known:
        return
    raise RunError(
        f"{run}/run.yaml: {key}={name!r} is not part of synthgen, and no code that a run names is "
        f"run; if it is yours, or you trust it, name it again: 'allow=[{name}]'"
    )


def _walk(tree: Any, at: str, run: str) -> Iterator[tuple[str, Any]]:
    """Yield each value of nested mappings and lists, with its key; raises RunError for too many."""
    waiting = [(at, tree, 0)]
    for count in range(MAX_NODES):
        if not waiting:
            return
        key, node, depth = waiting.pop()
        yield key, node
        inner: Any = ()
        if isinstance(node, Mapping):
            inner = node.items()
        elif isinstance(node, list | tuple):
            inner = enumerate(node)
        children = [(f"{key}.{n}" if key else str(n), each, depth + 1) for n, each in inner]
        if children and (depth == DEEPEST or count + len(waiting) + len(children) > MAX_NODES):
            break
        waiting += reversed(children)
    raise RunError(f"{run}/run.yaml is too large or nested too deep for a config; it was changed")
