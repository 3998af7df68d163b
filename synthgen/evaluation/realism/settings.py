"""What realism is measured on."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.realdata.settings import RealSettings

__all__ = ["RealismSettings"]


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class RealismSettings:
    """A run, and real images of the same product: with defects, and good ones for crop-paste."""

    folder: Annotated[str, Field(min_length=1)]
    run: Annotated[str, Field(min_length=1)]
    real: RealSettings
    seed: Annotated[int, Field(ge=0)] = 0
    crop_px: Annotated[int, Field(ge=32, le=512)] = 96  # a side; larger defects are shrunk to fit
    count: Annotated[int, Field(ge=20)] = 400  # crops of each set, at most
    folds: Annotated[int, Field(ge=2)] = 5  # no photo is in two
    sheet: Annotated[int, Field(ge=2)] = 60  # crops on the sheet, half of them real
    card: str | None = None  # a model's or an adapter's folder, whose README.md gets the table
