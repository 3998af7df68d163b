"""What is wrong with a setting, in one sentence that names its whole key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ArgsKwargs

from synthgen.config.suggest import did_you_mean, list_settings

__all__ = ["explain_invalid"]

UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")  # pydantic's types of error


def explain_invalid(error: ValidationError, key: str, kind: Any) -> str:
    """Return the first fault of a ``kind``, which the config has at ``key``, as one sentence.

    ``key`` is "" at the top of the config. ``kind``: the class or type that was asked for; its
    settings are where near names come from.
    """
    first = error.errors()[0]
    inner = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-"))
    where = ".".join(part for part in (key, inner) if part)
    text = first["msg"].removeprefix("Value error, ")
    if first["type"] == "too_short":
        text = f"it needs {first['ctx']['min_length']} or more entries"
    if first["type"] in UNKNOWN:
        near = did_you_mean(str(first["loc"][-1]), list_settings(kind, first["loc"][:-1]))
        return f"{where} is unknown; {near}it is not read"
    if first["type"] == "value_error" and isinstance(first["input"], Mapping | ArgsKwargs):
        word, _, rest = text.partition(" ")  # of a check of several settings: it names the first
        if rest and word in list_settings(kind, first["loc"]):
            where, text = f"{where}.{word}", rest
    given = first["input"]
    shown = "" if isinstance(given, Mapping | ArgsKwargs) else f"={given!r}"  # long, and not it
    return f"{where}{shown} is not possible: {text[0].lower() + text[1:]}"
