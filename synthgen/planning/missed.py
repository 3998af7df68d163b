"""What a detector missed, as wishes for new samples: more of those classes, sizes, places."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic import dataclasses as checked

from synthgen.errors import ConfigError

__all__ = ["MissedDefect", "MissedSettings", "near_place", "read_missed", "severity_for"]

STRICT = ConfigDict(extra="forbid", str_strip_whitespace=True)
FAINT_DELTA_E, STRONG_DELTA_E = 2.0, 25.0  # asked contrasts that mean the weakest, the strongest


def _refuse_bool(value: Any) -> Any:
    """Raise ValueError for true and false, which pydantic would read as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")
    return value


NO_BOOL = BeforeValidator(_refuse_bool)
Fraction = Annotated[float, Field(ge=0, le=1), NO_BOOL]


@checked.dataclass(frozen=True, config=STRICT)
class MissedDefect:
    """One missed defect. What is None is not asked for.

    ``area_px`` counts the source's pixels; ``contrast_delta_e`` is the difference to the surface
    around it in CIELAB; ``x`` and ``y`` are the centre's place, in shares 0..1 of the image's
    width and height. Raises ValueError where only one of ``x`` and ``y`` is given.
    """

    defect_class: str
    area_px: Annotated[float, Field(gt=0, allow_inf_nan=False), NO_BOOL] | None = None
    contrast_delta_e: Annotated[float, Field(ge=0, allow_inf_nan=False), NO_BOOL] | None = None
    x: Fraction | None = None
    y: Fraction | None = None

    def __post_init__(self) -> None:
        if (self.x is None) != (self.y is None):
            raise ValueError("x and y belong together; give both, or none")


@checked.dataclass(frozen=True, config=STRICT)
class MissedSettings:
    """The ``missed`` part of the config. ``fraction`` of the defect images are drawn from the
    misses; ``path`` None = from none."""

    path: Annotated[str, Field(min_length=1)] | None = None
    fraction: Fraction = 0.5


def read_missed(path: str, classes: Collection[str]) -> list[MissedDefect]:
    """Read misses: a CSV with a column ``defect_class``, or a JSON list of objects with that key.

    Further ones are as in ``MissedDefect``; an empty one is not asked for. ``classes`` are those
    of the run. Raises ConfigError with the number of the miss, counted from 1.
    """
    file = Path(path).expanduser()
    try:
        text = file.read_text(encoding="utf-8-sig")
        rows = json.loads(text) if file.suffix.lower() == ".json" else _read_csv(text)
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"missed.path={str(file)!r} cannot be read ({reason}); give a CSV or a JSON file"
        ) from error
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise ConfigError(f"missed.path={str(file)!r} must hold a list of objects, one per miss")
    missed = []
    for number, row in enumerate(rows, start=1):
        where = f"missed.path={path}, miss {number}"
        given = {
            str(key).strip(): value
            for key, value in row.items()
            if value is not None and str(value).strip() != ""
        }
        try:
            miss = TypeAdapter(MissedDefect).validate_python(given)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            told = first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{where}: {f'{key} {told}'.strip().lower()}") from error
        if miss.defect_class not in classes:
            raise ConfigError(
                f"{where}: the run has no class {miss.defect_class!r}, only "
                f"{', '.join(sorted(classes))}"
            )
        missed.append(miss)
    if not missed:
        raise ConfigError(f"missed.path={path} holds no misses; set missed.path to null")
    return missed


def _read_csv(text: str) -> list[Mapping[Any, Any]]:
    """Return the rows of a table by column; raises ValueError or csv.Error for what is not one."""
    table = csv.DictReader(text.splitlines(), strict=True)
    names = table.fieldnames or ()
    if len(names) == 1 and ";" in names[0]:
        raise ValueError("its columns are separated by ; where a comma is wanted")
    rows = list(table)
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise ValueError(f"miss {number} has more values than there are columns")
    return list(rows)


def severity_for(contrast_delta_e: float, span: Sequence[float]) -> float:
    """Return the severity, within a class's ``span``, that an asked contrast stands for.

    It is linear between: contrasts of 2 Delta E and less are the class's weakest, of 25 and more
    its strongest.

    >>> severity_for(25, (0.2, 0.8))
    0.8
    """
    fraction = (contrast_delta_e - FAINT_DELTA_E) / (STRONG_DELTA_E - FAINT_DELTA_E)
    low, high = span
    return low + min(1.0, max(0.0, fraction)) * (high - low)


def near_place(free: NDArray[np.bool_], x: float, y: float, spread: float) -> NDArray[np.bool_]:
    """Return the free pixels (H, W) within ``spread`` of the longer side around a place.

    ``free`` (H, W) says where a defect may lie; ``x`` and ``y`` are shares 0..1 of width and
    height. All free pixels are returned where none is so near.
    """
    height, width = free.shape
    rows, columns = np.ogrid[:height, :width]
    away = np.hypot(rows - y * (height - 1), columns - x * (width - 1))
    near = free & (away <= spread * max(height, width))
    return near if near.any() else free
