"""From YAML to objects: compose, construct, and say what is wrong in one sentence."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ArgsKwargs

from synthgen.backends.renamed import (
    find_former,
    rename_config,
    rename_overrides,
    tell_renamed,
)
from synthgen.errors import ConfigError, SynthgenError
from synthgen.files import find_shipped

__all__ = ["build", "check_value", "compose", "finish", "open_keys", "to_plain"]

log = logging.getLogger(__name__)
Value = TypeVar("Value")
OPEN = (  # may get keys of any name
    "adapt.words",
    "backend.model.controlnets",
    "backend.model.loras",
    "evaluate.arms",
    "quality.classes",
)
ITEM = re.compile(r"""("[^"]*"|'[^']*')|[^\s\[\]{},:"'][^\[\]{},:"']*""")  # quoted, or a bare text


def compose(pipeline: str, overrides: Sequence[str]) -> DictConfig:
    """Return the config of a pipeline; raises ConfigError that names the key."""
    renamed, former = rename_overrides(overrides)
    with hydra.initialize_config_dir(str(find_shipped("conf")), version_base="1.3"):
        try:
            config = _compose(pipeline, overrides)
        except ConfigError as error:
            if not former:
                raise
            try:  # a backend of one's own may have keys of these names
                config = _compose(pipeline, renamed)
            except ConfigError as other:
                raise other from error
            _tell(tell_renamed(former))
    return finish(config, pipeline)


def _compose(pipeline: str, overrides: Sequence[str]) -> DictConfig:
    try:
        return hydra.compose(pipeline, open_keys(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_one_sentence(str(error), _shown(pipeline))) from error


def finish(config: DictConfig, pipeline: str) -> DictConfig:
    """Return a composed config with its references resolved and former keys under their new names.

    Raises ConfigError where a key must be given.
    """
    try:
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        raise ConfigError(_one_sentence(str(error), _shown(pipeline))) from error
    plain: Any = OmegaConf.to_container(config)
    if former := find_former(plain):  # in a file of one's own
        _tell(tell_renamed(former))
        config = OmegaConf.create(rename_config(plain))
    if missing := sorted(OmegaConf.missing_keys(config)):
        keys = " and ".join(missing)
        raise ConfigError(
            f"{keys} must be given, e.g. synthgen {_shown(pipeline)} {missing[0]}=..."
        )
    return config


def _shown(pipeline: str) -> str:
    return pipeline.replace("_", " ")


def _tell(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        log.warning("synthgen: %s", sentence)


def open_keys(overrides: Sequence[str]) -> list[str]:
    """Return overrides as Hydra wants them: new keys of open dictionaries are marked as such, and
    texts that its grammar does not know, as umlauts and brackets, are quoted; raises ConfigError.

    >>> open_keys(["adapt.words.hole=pit", "real.path=Fötos", "real.only=[a, ö]"])
    ['++adapt.words.hole=pit', 'real.path="Fötos"', 'real.only=[a, "ö"]']
    """
    starts = tuple(f"{key}{end}" for key in OPEN for end in (".", "="))
    parser = OverridesParser.create()
    quoted = [_quote(text, parser) for text in overrides]
    return [f"++{text}" if text.startswith(starts) else text for text in quoted]


def _quote(text: str, parser: OverridesParser) -> str:
    key, _, value = text.partition("=")
    if not value or text.startswith("-") or _can_read(text, parser):
        return text
    if not _can_read(f"{key}=1", parser):
        raise ConfigError(f"{key} is no key: keys are of letters without accents, digits, _ and .")
    is_nested = value[0] in "[{"
    quoted = f"{key}={_quote_items(value) if is_nested else _quote_text(value)}"
    if value[0] in "\"'" or not _can_read(quoted, parser):
        raise ConfigError(
            f"{text} cannot be read: close all brackets and quotes, give names before a colon "
            f"without accents, and quote a text that looks like a list, as in '{key}=\"[a]b\"'"
        )
    return quoted


def _can_read(text: str, parser: OverridesParser) -> bool:
    try:
        parser.parse_override(text)
    except HydraException:
        return False
    return True


def _quote_text(text: str) -> str:
    """Return a text in quotes; backslashes are doubled where they would escape one."""
    inner = re.sub(r'(\\*)("|\Z)', lambda found: 2 * found[1] + found[2].replace('"', '\\"'), text)
    return f'"{inner}"'


def _quote_items(value: str) -> str:
    """Return a list or dictionary with its texts in quotes where they are not plain ASCII."""
    return ITEM.sub(
        lambda found: found[0] if found[0].isascii() or found[1] else _quote_text(found[0].strip()),
        value,
    )


def _one_sentence(message: str, shown: str) -> str:
    if unknown := re.search(r"Could not override '([^']+)'", message):
        return f"{unknown[1]} is no key of {shown}; see synthgen {shown} --cfg job for all of them"
    if option := re.search(r"Could not (?:find|load) '([^/']+)/([^']+)'", message):
        known = sorted(path.stem for path in (find_shipped("conf") / option[1]).glob("*.yaml"))
        near = difflib.get_close_matches(option[2], known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{option[1]}={option[2]} is unknown; {hint}choose from {', '.join(known)}"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return " ".join(lines[:2]) or "the configuration cannot be read"


def build(node: Any, key: str, **extra: Any) -> Any:
    """Construct what a config node's ``_target_`` names; errors carry the key they come from."""
    try:
        return hydra.utils.instantiate(node, _convert_="all", **extra)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, SynthgenError):
            raise cause from error
        if isinstance(cause, ValidationError):
            raise ConfigError(_validation_sentence(cause, key)) from error
        if isinstance(cause, TypeError) and (found := re.search(r"argument '(\w+)'", str(cause))):
            raise ConfigError(f"{key}.{found[1]} is unknown or missing: {cause}") from error
        raise ConfigError(f"{key} cannot be made: {cause or error}") from error


def check_value(kind: type[Value], value: Any, key: str) -> Value:
    """Return ``value`` as ``kind`` (a dataclass, a mapping of them, a number), or ConfigError."""
    try:
        checked: Value = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ConfigError(_validation_sentence(error, key)) from error
    return checked


def _validation_sentence(error: ValidationError, key: str) -> str:
    first = error.errors()[0]
    inner = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-"))
    where = ".".join(part for part in (key, inner) if part)
    text = first["msg"].removeprefix("Value error, ")
    if first["type"] == "too_short":
        text = f"it needs {first['ctx']['min_length']} or more entries"
    given = first["input"]
    shown = "" if isinstance(given, Mapping | ArgsKwargs) else f"={given!r}"  # long, and not it
    return f"{where}{shown} is not possible: {text[0].lower() + text[1:]}"


def to_plain(config: DictConfig) -> Mapping[str, Any]:
    """Return a config as plain dictionaries, lists and numbers, interpolations resolved."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
