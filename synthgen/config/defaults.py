"""What a key of the config means where it is not given.

A run of an older version lacks keys that came since. It is the same run where they have the value
that they would have without being given.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import hydra
import yaml

from synthgen.planning.plan import DefectClass
from synthgen.storage.files import find_shipped

__all__ = ["find_default"]


def find_default(config: Mapping[str, Any], key: str) -> Any:
    """Return the value that a key of a generate ``config`` has without being given; None = none.

    ``key``: with dots, as ``backend.painting.steps``. In a node with a ``_target_`` it is the
    default of its parameter, in a class of defects that of DefectClass, else what
    conf/generate.yaml says.
    """
    parts = key.split(".")
    if parts[0] == "quality":  # several files choose limits: any of their values is a default
        value = _descend(config.get("quality"), parts[1:])
        files = (find_shipped("conf") / "quality").glob("*.yaml")
        shipped = [_descend(_read_shipped(f"quality/{path.name}"), parts[1:]) for path in files]
        return value if value in shipped else None
    reader, inner = _find_reader(config, parts)
    if reader is None:
        return _descend(_read_shipped("generate.yaml"), parts)
    return _plain(_descend(_default_of(reader, inner[0]), inner[1:]))


def _find_reader(config: Mapping[str, Any], parts: list[str]) -> tuple[Any, list[str]]:
    """Return what is made of the innermost node that holds a key, and the key inside of it."""
    reader, inner = None, parts
    for number in range(1, len(parts)):
        node = _descend(config, parts[:number])
        if isinstance(node, Mapping) and "_target_" in node:
            reader, inner = hydra.utils.get_object(str(node["_target_"])), parts[number:]
        elif number == 2 and parts[0] == "defect":
            reader, inner = DefectClass, parts[number:]
    return reader, inner


def _default_of(reader: Any, name: str) -> Any:
    """Return the default of a field or parameter; None where it must be given."""
    checked = getattr(reader, "__pydantic_fields__", {}).get(name)
    if checked is not None:
        return None if checked.is_required() else checked.get_default(call_default_factory=True)
    parameter = inspect.signature(reader).parameters.get(name)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def _descend(value: Any, names: list[str]) -> Any:
    """Return what lies in nested mappings or objects; None where one has no such thing."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


def _plain(value: Any) -> Any:
    """Return a default as a config has it."""
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _read_shipped(name: str) -> Any:
    return yaml.safe_load((find_shipped("conf") / name).read_text(encoding="utf-8")) or {}
