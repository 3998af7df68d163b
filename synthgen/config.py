"""From YAML to objects: compose, construct, and say what is wrong in one sentence."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import hydra
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict
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
from synthgen.suggest import did_you_mean, find_near_key, list_settings

__all__ = [
    "build",
    "check_choices",
    "check_value",
    "compose",
    "find_own_folders",
    "finish",
    "open_keys",
    "search_in",
    "to_plain",
]

log = logging.getLogger(__name__)
Value = TypeVar("Value")
OPEN = (  # may get keys of any name
    "adapt.words",
    "backend.model.controlnets",
    "backend.model.loras",
    "evaluate.arms",
    "quality.classes",
)
UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")  # pydantic's types of error
ITEM = re.compile(r"""("[^"]*"|'[^']*')|[^\s\[\]{},:"'][^\[\]{},:"']*""")  # quoted, or a bare text


def compose(
    pipeline: str, overrides: Sequence[str], folders: Sequence[Path] | None = None
) -> DictConfig:
    """Return the config of a pipeline; raises ConfigError that names the key.

    ``folders``: configuration of one's own (see ``find_own_folders``, the default), whose files are
    choices beside those that ship.
    """
    own = find_own_folders() if folders is None else list(folders)
    renamed, former = rename_overrides(overrides)
    with hydra.initialize_config_dir(str(find_shipped("conf")), version_base="1.3"):
        try:
            config = _compose(pipeline, overrides, own)
        except ConfigError as error:
            if not former:
                raise
            try:  # a backend of one's own may have keys of these names
                config = _compose(pipeline, renamed, own)
            except ConfigError as other:
                raise other from error
            _tell(tell_renamed(former))
    return finish(config, pipeline)


def find_own_folders(given: str | None = None) -> list[Path]:
    """Return the folders of one's own configuration that are there: ``given`` (--config-dir),
    ./conf and ~/.config/synthgen (XDG_CONFIG_HOME); raises ConfigError where ``given`` is not."""
    places = [Path.cwd() / "conf", _config_home() / "synthgen"]
    if given is not None:
        place = Path(given).expanduser().absolute()
        if not place.is_dir():
            raise ConfigError(f"--config-dir={given}: there is no such folder")
        places.insert(0, place)
    shipped = find_shipped("conf").resolve()
    there = [place for place in places if place.is_dir() and place.resolve() != shipped]
    return list(dict.fromkeys(there))


def _config_home() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME")
    return Path(home) if home else Path.home() / ".config"


def search_in(folders: Sequence[Path]) -> list[str]:
    """Return the override that has Hydra look into folders, after what ships; [] without any."""
    places = ",".join(_quote_text(f"file://{folder}") for folder in folders)
    return [f"hydra.searchpath=[{places}]"] if folders else []


def _compose(pipeline: str, overrides: Sequence[str], own: Sequence[Path]) -> DictConfig:
    opened = open_keys(overrides)
    try:
        config = hydra.compose(pipeline, [*search_in(own), *opened], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(str(error), pipeline, opened, own)) from error
    check_choices(pipeline, config.hydra.runtime.choices, own)
    with open_dict(config):
        del config["hydra"]
    return config


def check_choices(pipeline: str, choices: Mapping[str, Any], own: Sequence[Path]) -> None:
    """Raise ConfigError where a file of one's own would count, but has the name of one that ships.

    ``choices``: the names that were chosen, by group; those of lists (defect, control, format) are
    not among them, so that any such file of these groups is an error.
    """
    shipped, groups = find_shipped("conf"), _list_top_keys(pipeline)
    for folder in own:
        for path in sorted(folder.glob("*/*.yaml")):
            group, name = path.parent.name, path.stem
            is_chosen = choices.get(group, name) == name
            if group in groups and is_chosen and (shipped / group / path.name).is_file():
                raise ConfigError(
                    f"{path} is not read, since a {group}={name} ships with synthgen; give your "
                    "file another name"
                )


def finish(config: DictConfig, pipeline: str) -> DictConfig:
    """Return a composed config with its references resolved and former keys under their new names.

    Raises ConfigError where a key must be given, or one stands at the top that nobody reads.
    """
    shown = _shown(pipeline)
    try:
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        raise ConfigError(_first_lines(str(error))) from error
    known = _list_top_keys(pipeline)
    if unknown := sorted(str(key) for key in config if str(key) not in known):
        near = did_you_mean(unknown[0], known)
        raise ConfigError(
            f"{unknown[0]} is no key of {shown}; {near}see synthgen {shown} --cfg job for all of "
            "them"
        )
    plain: Any = OmegaConf.to_container(config)
    if former := find_former(plain):  # in a file of one's own
        _tell(tell_renamed(former))
        config = OmegaConf.create(rename_config(plain))
    if missing := sorted(OmegaConf.missing_keys(config)):
        keys = " and ".join(missing)
        raise ConfigError(f"{keys} must be given, e.g. synthgen {shown} {missing[0]}=...")
    return config


def _list_top_keys(pipeline: str) -> set[str]:
    """Return the keys at the top of a pipeline's config, as it ships."""
    path = find_shipped("conf") / f"{pipeline}.yaml"
    node = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    keys = set()
    for default in node.pop("defaults", []):
        if isinstance(default, Mapping):
            keys |= {str(key).removeprefix("optional ").partition("@")[0] for key in default}
        elif default != "_self_":
            keys |= _list_top_keys(default)
    return keys | set(node)


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


def _explain(message: str, pipeline: str, overrides: Sequence[str], own: Sequence[Path]) -> str:
    """Return what Hydra's message says in one sentence, with the near names."""
    shown = _shown(pipeline)
    if unknown := re.search(r"Could not override '([^']+)'", message):
        key = unknown[1]
        near = find_near_key(key, _compose_without(key, pipeline, overrides, own))
        hint = f"did you mean {near}? " if near else ""
        return f"{key} is no key of {shown}; {hint}see synthgen {shown} --cfg job for all of them"
    if option := re.search(r"Could not (?:find|load) '(\w+(?:/\w+)*)/([^/']+)'", message):
        group, name = option[1], option[2]
        folders = [find_shipped("conf"), *own]
        known = sorted({path.stem for f in folders for path in (f / group).glob("*.yaml")})
        hint = did_you_mean(name, known)
        return f"{group}={name} is unknown; {hint}choose from {', '.join(known)}"
    return _first_lines(message)


def _first_lines(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return " ".join(lines[:2]) or "the configuration cannot be read"


def _compose_without(
    key: str, pipeline: str, overrides: Sequence[str], own: Sequence[Path]
) -> Mapping[str, Any]:
    """Return the config without the overrides of a key, or else as it ships."""
    others = [text for text in overrides if text.partition("=")[0].lstrip("+~") != key]
    choices = [text for text in others if "." not in text.partition("=")[0]]
    for kept in (others, choices, []):
        try:
            config = hydra.compose(pipeline, [*search_in(own), *kept])
        except (HydraException, OmegaConfBaseException):
            continue
        plain = OmegaConf.to_container(config)
        return plain if isinstance(plain, dict) else {}  # type: ignore[return-value]
    return {}


def build(node: Any, key: str, **extra: Any) -> Any:
    """Construct what a config node's ``_target_`` names; errors carry the key they come from."""
    try:
        return hydra.utils.instantiate(node, _convert_="all", **extra)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, SynthgenError):
            raise cause from error
        if isinstance(cause, ValidationError):
            raise ConfigError(_validation_sentence(cause, key, _target(node))) from error
        if isinstance(cause, TypeError) and (found := re.search(r"argument '(\w+)'", str(cause))):
            near = did_you_mean(found[1], list_settings(_target(node), ()))
            raise ConfigError(f"{key}.{found[1]} is unknown or missing: {near}{cause}") from error
        raise ConfigError(f"{key} cannot be made: {cause or error}") from error


def check_value(kind: type[Value], value: Any, key: str) -> Value:
    """Return ``value`` as ``kind`` (a dataclass, a mapping of them, a number), or ConfigError."""
    try:
        checked: Value = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ConfigError(_validation_sentence(error, key, kind)) from error
    return checked


def _target(node: Any) -> Any:
    """Return what a node constructs; None where that cannot be known."""
    try:
        return hydra.utils.get_object(node["_target_"])
    except (KeyError, TypeError, ValueError, ImportError):
        return None


def _validation_sentence(error: ValidationError, key: str, kind: Any) -> str:
    first = error.errors()[0]
    inner = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-"))
    where = ".".join(part for part in (key, inner) if part)
    text = first["msg"].removeprefix("Value error, ")
    if first["type"] == "too_short":
        text = f"it needs {first['ctx']['min_length']} or more entries"
    if first["type"] in UNKNOWN:
        near = did_you_mean(str(first["loc"][-1]), list_settings(kind, first["loc"][:-1]))
        return f"{where} is unknown; {near}it is not read"
    given = first["input"]
    shown = "" if isinstance(given, Mapping | ArgsKwargs) else f"={given!r}"  # long, and not it
    return f"{where}{shown} is not possible: {text[0].lower() + text[1:]}"


def to_plain(config: DictConfig) -> Mapping[str, Any]:
    """Return a config as plain dictionaries, lists and numbers, interpolations resolved."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
