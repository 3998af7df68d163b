"""Overrides of the command line as Hydra wants them: quoted where its grammar needs it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from synthgen.config.others import leave_out_others
from synthgen.errors import ConfigError
from synthgen.storage.files import find_shipped

__all__ = ["OPEN", "open_keys", "prepare_overrides", "search_in", "to_override"]

OPEN = (  # may get keys of any name
    "adapt.words",
    "backend.model.controlnets",
    "backend.model.loras",
    "evaluate.arms",
    "quality.classes",
)
KEY = re.compile(r"[+~]{0,2}[^\s=+~-][^\s=]*")  # of a setting from Python
ITEM = re.compile(r"""("[^"]*"|'[^']*')|[^\s\[\]{},:"'][^\[\]{},:"']*""")  # quoted, or a bare text


def prepare_overrides(
    pipeline: str, overrides: Sequence[str], own: Sequence[Path]
) -> tuple[list[str], list[Path]]:
    """Return overrides and folders of one's own as the pipeline takes them.

    Keys of a command that builds on this one are left out, see ``leave_out_others``. The
    folder of experiment=<folder> becomes one of one's own: it holds experiment/recipe.yaml, as
    those of synthgen adapt. A name that an experiment in conf/ or in ``own`` has is that
    experiment. Raises ConfigError where a path has no recipe.
    """
    found, folders = leave_out_others(pipeline, overrides), list(own)
    for place, text in enumerate(found):
        key, _, value = text.partition("=")
        value = value.strip("\"'")
        if key.lstrip("+") != "experiment" or not value or value in _list_experiments(own):
            continue
        folder = Path(value).expanduser().absolute()
        if (folder / "experiment" / "recipe.yaml").is_file():
            found[place], folders = f"{key}=recipe", [folder, *folders]
        elif "/" in value or os.sep in value:
            raise ConfigError(
                f"experiment={value} has no experiment/recipe.yaml; give a folder that synthgen "
                f"adapt wrote, or one of {', '.join(_list_experiments(own))}"
            )
    return found, folders


def _list_experiments(own: Sequence[Path]) -> list[str]:
    folders = [find_shipped("conf"), *own]
    return sorted({path.stem for one in folders for path in (one / "experiment").glob("*.yaml")})


def search_in(folders: Sequence[Path]) -> list[str]:
    """Return the override that has Hydra look into folders, after what ships; [] without any."""
    places = ",".join(_quote_text(f"file://{folder}") for folder in folders)
    return [f"hydra.searchpath=[{places}]"] if folders else []


def open_keys(overrides: Sequence[str]) -> list[str]:
    """Return overrides as Hydra wants them, in the same order; raises ConfigError.

    New keys of open dictionaries are marked as such. Texts that Hydra's grammar does not know, as
    umlauts and brackets, are quoted.

    >>> open_keys(["adapt.words.hole=pit", "real.path=Fötos", "real.only=[a, ö]"])
    ['++adapt.words.hole=pit', 'real.path="Fötos"', 'real.only=[a, "ö"]']
    """
    starts = tuple(f"{key}{end}" for key in OPEN for end in (".", "="))
    parser = OverridesParser.create()
    quoted = [_quote(text, parser) for text in overrides]
    return [f"++{text}" if text.startswith(starts) else text for text in quoted]


def to_override(key: str, value: object) -> str:
    """Return the override that gives a key a value of Python; raises ConfigError for other kinds.

    >>> to_override("splits", {"train": 0.5, "test": 0.5}), to_override("bank.path", None)
    ('splits={train: 0.5, test: 0.5}', 'bank.path=null')
    >>> to_override("source.path", Path("my photos")), to_override("defect", ("pit", "dent"))
    ('source.path="my photos"', 'defect=["pit", "dent"]')
    """
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise ConfigError(f"{key!r} is not a key: keys are names with dots, such as 'run.count'")
    return f"{key}={_write(value, key)}"


def _write(value: object, key: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quote_text(str(value))
    if isinstance(value, os.PathLike):
        return _quote_text(str(os.fspath(value)))
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, Mapping):
        inner = (f"{name}: {_write(one, f'{key}.{name}')}" for name, one in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_write(one, key) for one in value) + "]"
    raise ConfigError(
        f"{key} is given a {type(value).__name__}; give a text, a path, a number, True, False, "
        "None, a list or a mapping"
    )


def _quote(text: str, parser: OverridesParser) -> str:
    """Return an override that Hydra can read; raises ConfigError where quotes do not help."""
    key, _, value = text.partition("=")
    if not value or text.startswith("-") or _can_read(text, parser):
        return text
    if not _can_read(f"{key}=1", parser):
        raise ConfigError(
            f"{key} is not a key: keys are of letters without accents, digits, _ and ."
        )
    if value[0] in "[{":  # of a list or dictionary, the texts that are not plain ASCII
        quoted = ITEM.sub(
            lambda item: item[0] if item[0].isascii() or item[1] else _quote_text(item[0].strip()),
            value,
        )
    else:
        quoted = _quote_text(value)
    if value[0] in "\"'" or not _can_read(f"{key}={quoted}", parser):
        raise ConfigError(
            f"{text} cannot be read: close all brackets and quotes, give names before a colon "
            f"without accents, and quote a text that looks like a list, as in '{key}=\"[a]b\"'"
        )
    return f"{key}={quoted}"


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
