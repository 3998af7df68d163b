"""What a config names: read, checked against the types of what it is given to, and made."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from synthgen.config.invalid import explain_invalid
from synthgen.config.overrides import OPEN
from synthgen.config.suggest import did_you_mean, list_settings
from synthgen.errors import ConfigError, SynthgenError

__all__ = [
    "build",
    "check_keys",
    "check_value",
    "find_text",
    "read_text",
    "to_plain",
]

Value = TypeVar("Value")
ORDERS = {"_args_": Sequence, "_convert_": str, "_partial_": bool, "_recursive_": bool}


def build(node: Any, key: str, needs: Sequence[str] = (), **extra: Any) -> Any:
    """Construct what a config node's ``_target_`` names; errors carry the key they come from.

    ``needs``: methods that it must have. ``extra``: arguments beside those of the node. Raises
    ConfigError for a node that names nothing, for arguments of other types and where a method is
    missing; an error of the project's own that a constructor raises stays as it is.
    """
    _check_named(node, key)
    try:
        target = hydra.utils.get_object(node["_target_"])
    except Exception as error:  # whatever importing it raises
        raise ConfigError(
            f"{key}._target_={node['_target_']!r} names nothing that can be imported"
        ) from error
    _check_arguments(target, node, key)
    try:
        made = hydra.utils.instantiate(node, _convert_="all", **extra)
    except InstantiationException as error:
        raise _explain_cause(error, node, key) from error
    for name in needs:
        if not callable(getattr(made, name, None)):
            raise ConfigError(
                f"{key}._target_={node['_target_']} is of another kind: {key} needs {name}()"
            )
    return made


def _check_named(node: Any, key: str) -> None:
    """Raise ConfigError for a node whose ``_target_`` is not a name."""
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        named = node.get("_target_") if isinstance(node, Mapping) else node
        raise ConfigError(
            f"{key}._target_={str(named)[:100]} is not possible: it must be the name of a class"
        )


def _explain_cause(error: InstantiationException, node: Any, key: str) -> SynthgenError:
    """Return what went wrong in a constructor, with the key."""
    cause = error.__cause__
    if isinstance(cause, SynthgenError):
        return cause
    if isinstance(cause, ValidationError):
        return ConfigError(explain_invalid(cause, key, _target(node)))
    if isinstance(cause, TypeError) and (found := re.search(r"argument '(\w+)'", str(cause))):
        near = did_you_mean(found[1], list_settings(_target(node), ()))
        return ConfigError(f"{key}.{found[1]} is unknown or missing: {near}{cause}")
    if isinstance(cause, TypeError) and str(cause).endswith("takes no arguments"):
        return ConfigError(f"{key}.{next(name for name in node if name != '_target_')}: {cause}")
    lines = str(cause or error).strip().splitlines() or [type(cause).__name__]
    return ConfigError(f"{key} cannot be made: {lines[0]}")


def _check_arguments(
    target: Any, node: Mapping[str, Any], key: str, *, is_deep: bool = False
) -> None:
    """Raise ConfigError where an argument is not of the type that its parameter says.

    ``is_deep``: also those that have keys of their own; what is made checks them itself.
    """
    for order, kind in ORDERS.items():
        if order in node and not isinstance(node[order], kind):
            raise ConfigError(f"{key}.{order}={node[order]!r} is none of Hydra's orders")
    if hasattr(target, "__pydantic_validator__"):  # which checks them itself
        return
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):
        return
    for name, value in node.items():
        if name in hints and (is_deep or not isinstance(value, Mapping) or _is_plain(hints[name])):
            try:
                adapter = TypeAdapter(hints[name])
            except PydanticUserError:  # a type of others
                continue
            is_config = OmegaConf.is_config(value)
            plain = OmegaConf.to_container(value, resolve=True) if is_config else value
            _validate(adapter, plain, f"{key}.{name}", hints[name])


def _is_plain(hint: Any) -> bool:
    """Say whether a type is that of numbers and texts, or of rows of them."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal or hint in (int, float, str, bool, type(None), Ellipsis):
        return True
    if origin is Annotated:
        return _is_plain(inner[0])
    is_mapping = inspect.isclass(origin) and issubclass(origin, Mapping)
    return bool(inner) and not is_mapping and all(map(_is_plain, inner))


def check_keys(node: Any, key: str) -> None:
    """Raise ConfigError for a key that the ``_target_`` of a node does not take, at any depth.

    Values of another type are refused too. Nothing is made, so no model is loaded. A node whose
    ``_target_`` cannot be imported is not checked.
    """
    _check_named(node, key)
    target = _target(node)
    if target is not None:
        _check_arguments(target, node, key, is_deep=True)
    waiting: list[tuple[tuple[str, ...], Any]] = [((), node)]
    while target is not None and waiting:
        path, inner = waiting.pop()
        here = ".".join((key, *path))
        if not isinstance(inner, Mapping) or here in OPEN:
            continue
        known = list_settings(target, path)
        for name in map(str, inner):
            if known and name not in known and name != "_target_":
                near = did_you_mean(name, known)
                raise ConfigError(f"{here}.{name} is unknown; {near}it is not read")
        waiting += [((*path, str(name)), value) for name, value in inner.items()]


def check_value(kind: type[Value], value: Any, key: str) -> Value:
    """Return ``value`` as ``kind`` (a dataclass, a mapping of them, a number).

    Raises ConfigError with the first fault, by its whole key: ``key`` is that of the value.
    """
    valid: Value = _validate(TypeAdapter(kind), value, key, kind)
    return valid


def _validate(adapter: TypeAdapter[Any], value: Any, key: str, kind: Any) -> Any:
    """Return a value of the adapter's type; raises ConfigError."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise ConfigError(explain_invalid(error, key, kind)) from error
    except ArithmeticError as error:
        raise ConfigError(f"{key} is not possible: {error}") from error


def read_text(config: DictConfig, key: str) -> str:
    """Return a text of a config that must be there, as ``run.folder``; raises ConfigError."""
    found = find_text(config, key)
    if not found:
        raise ConfigError(f"{key} must be given as a text of one character or more")
    return found


def find_text(config: DictConfig, key: str) -> str | None:
    """Return a text of a config, None where it is null or not there.

    A whole number is read as a text. Raises ConfigError for something else.
    """
    node = OmegaConf.select(config, key)
    if node is None or isinstance(node, str):
        return node
    if isinstance(node, int) and not isinstance(node, bool):  # a folder may be called 2
        return str(node)
    raise ConfigError(f"{key}={str(node)[:100]} is not possible: it should be a text")


def _target(node: Any) -> Any:
    """Return what a node constructs; None where that cannot be known."""
    try:
        return hydra.utils.get_object(node["_target_"])
    except (KeyError, TypeError, ValueError, ImportError):
        return None


def to_plain(config: DictConfig) -> Mapping[str, Any]:
    """Return a config as plain dictionaries, lists and numbers, interpolations resolved."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
