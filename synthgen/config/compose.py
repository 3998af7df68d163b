"""From YAML to objects: compose, construct, and say what is wrong in one sentence."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from synthgen.config.environment import resolve
from synthgen.config.objects import to_plain
from synthgen.config.overrides import OPEN, open_keys, search_in
from synthgen.config.sections import check_sections, check_values
from synthgen.config.suggest import did_you_mean, find_near_key
from synthgen.errors import ConfigError
from synthgen.runs.renamed import (
    find_former,
    find_moved,
    rename_config,
    rename_overrides,
    tell_renamed,
)
from synthgen.storage.files import find_shipped

__all__ = [
    "check_choices",
    "compose",
    "find_own_folders",
    "finish",
]

log = logging.getLogger(__name__)
NEEDED = {"source", "backend", "quality", "executor", "review"}  # groups that cannot be left out
RECIPES = ("experiment", "debug")  # groups whose files change keys of others, and have no own
UNREADABLE = (  # what Hydra and OmegaConf raise for texts that they do not expect
    *(HydraException, OmegaConfBaseException, ValueError, TypeError, AttributeError),
    *(KeyError, AssertionError, RecursionError),
)


def compose(
    pipeline: str, overrides: Sequence[str], folders: Sequence[Path] | None = None
) -> DictConfig:
    """Return the config of a pipeline; raises ConfigError that names the key.

    ``pipeline``: the name of a file of conf/, as ``generate``. ``overrides``: as on the command
    line, ``run.count=8``. ``folders``: configuration of one's own (see ``find_own_folders``, the
    default), whose files are choices beside those that ship. Former keys are read, with a warning.
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
    """Return the folders of one's own configuration that are there.

    In this order: ``given`` (--config-dir), ./conf and ~/.config/synthgen (XDG_CONFIG_HOME). The
    conf/ that ships is left out. Raises ConfigError where ``given`` is not there.
    """
    home = os.environ.get("XDG_CONFIG_HOME")
    user_config = Path(home) if home else Path.home() / ".config"
    places = [Path.cwd() / "conf", user_config / "synthgen"]
    if given is not None:
        place = Path(given).expanduser().absolute()
        if not place.is_dir():
            raise ConfigError(f"--config-dir={given}: there is no such folder")
        places.insert(0, place)
    shipped = find_shipped("conf").resolve()
    there = [place for place in places if place.is_dir() and place.resolve() != shipped]
    return list(dict.fromkeys(there))


def _compose(pipeline: str, overrides: Sequence[str], own: Sequence[Path]) -> DictConfig:
    opened = open_keys(overrides)
    try:
        config = hydra.compose(pipeline, [*search_in(own), *opened], return_hydra_config=True)
    except UNREADABLE as error:
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
    shipped, (_, groups) = find_shipped("conf"), _read_shipped(pipeline)
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
    """Return a composed config with former keys under their new names, and its references resolved
    but for those to the environment (see ``to_stored``).

    Raises ConfigError where a key must be given, or one stands at the top that nobody reads.
    """
    shown, (shipped, groups) = _shown(pipeline), _read_shipped(pipeline)
    sections = {name: node for name, node in shipped.items() if name not in groups}
    try:
        config = resolve(config)
        to_plain(config)  # those to the environment lead somewhere, too
    except UNREADABLE as error:
        raw: Any = OmegaConf.to_container(config)  # it may refer to something that is not a section
        check_sections(raw, sections, (), OPEN, shown)
        raise ConfigError(_first_lines(str(error))) from error
    plain: Any = OmegaConf.to_container(config)
    moved, former = find_moved(plain), find_former(plain)
    if moved or former:  # in a file of one's own
        _tell(tell_renamed(moved | former))
        config = OmegaConf.create(rename_config(plain))
    known = {*shipped, *groups}
    if unknown := sorted(str(key) for key in config if str(key) not in known):
        near = did_you_mean(unknown[0], known)
        raise ConfigError(
            f"{unknown[0]} is not a key of {shown}; {near}see synthgen {shown} --cfg job for all "
            "of them"
        )
    if missing := sorted(OmegaConf.missing_keys(config)):
        keys = " and ".join(missing)
        raise ConfigError(f"{keys} must be given, e.g. synthgen {shown} {missing[0]}=...")
    whole = to_plain(config)
    check_values(whole)
    check_sections(whole, sections, sorted(groups & NEEDED), OPEN, shown)
    for name in sorted(groups - NEEDED):
        _check_optional(config, name)
    return config


def _check_optional(config: DictConfig, name: str) -> None:
    """Put {} in the place of a choice that was left out; raises ConfigError where it is not one."""
    given = config.get(name)
    if given is not None and (name in RECIPES or not OmegaConf.is_dict(given)):
        raise ConfigError(f"{name}={given!r} is not a choice for {name}; see conf/{name}")
    if given is None and name not in RECIPES:
        with open_dict(config):
            config[name] = {}


@cache
def _read_shipped(pipeline: str) -> tuple[dict[str, Any], set[str]]:
    """Return a pipeline's config as its file has it, and for which keys a file is chosen."""
    path = find_shipped("conf") / f"{pipeline}.yaml"
    node = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    groups: set[str] = set()
    for default in node.pop("defaults", []):
        if isinstance(default, Mapping):
            names = (str(key).removeprefix("optional ").partition("@")[0] for key in default)
            groups |= {name for name in names if "/" not in name}
        elif default != "_self_":
            inner, others = _read_shipped(default)
            node, groups = inner | node, groups | others
    return node, groups


def _shown(pipeline: str) -> str:
    return pipeline.replace("_", " ")


def _tell(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        log.warning("synthgen: %s", sentence)


def _explain(message: str, pipeline: str, overrides: Sequence[str], own: Sequence[Path]) -> str:
    """Return what Hydra's message says in one sentence, with the near names.

    A message of another kind is told as it is, behind the override that causes it.
    """
    shown = _shown(pipeline)
    if unknown := re.search(r"Could not override '([^']+)'", message):
        key = unknown[1]
        near = find_near_key(key, _compose_without(key, pipeline, overrides, own))
        hint = f"did you mean {near}? " if near else ""
        return (
            f"{key} is not a key of {shown}; {hint}see synthgen {shown} --cfg job for all of them"
        )
    if option := re.search(r"Could not (?:find|load) '(\w+(?:/\w+)*)/([^/']+)'", message):
        group, name = option[1], option[2]
        folders = [find_shipped("conf"), *own]
        known = sorted({path.stem for f in folders for path in (f / group).glob("*.yaml")})
        hint = did_you_mean(name, known)
        return f"{group}={name} is unknown; {hint}choose from {', '.join(known)}"
    for place, text in enumerate(overrides):
        others = [*overrides[:place], *overrides[place + 1 :]]
        with suppress(*UNREADABLE):
            hydra.compose(pipeline, [*search_in(own), *others])
            return f"{text[:200]}: {_first_lines(message)}"  # without it the others can be read
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
        except UNREADABLE:
            continue
        plain = OmegaConf.to_container(config)
        return plain if isinstance(plain, dict) else {}  # type: ignore[return-value]
    return {}
