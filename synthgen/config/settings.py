"""The parts of a run's config that belong to no room of their own."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic import dataclasses as checked

from synthgen.generation.retries import Retry

__all__ = ["AugmentSettings", "LabelSettings", "MaskSettings", "Mode", "RunSettings", "Seed"]


@checked.dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class RunSettings:
    """The ``run`` part of the config."""

    folder: str = Field(min_length=1)  # or an address, as s3://bucket/prefix
    count: int = Field(ge=1, le=10_000_000)  # defect images; with mode=vary, good ones
    good_fraction: float = Field(ge=0, le=100)  # good images on top, as a share of count
    batch_size: int = Field(ge=1, le=4096)  # samples that are painted together
    retries: list[Retry] = Field(max_length=100)  # what a rejected sample changes, try by try
    candidates: int = Field(ge=1, le=64)  # paintings a try, of which the best is kept
    storage: Literal["files", "tar"] = "files"


@checked.dataclass(frozen=True)
class Mode:
    """What a run makes: defects on good images, or new good images from good ones."""

    mode: Literal["defects", "vary"] = "defects"


@checked.dataclass(frozen=True)
class Seed:
    """The run's seed."""

    seed: int = Field(ge=0, lt=2**63)


@checked.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MaskSettings:
    """The ``mask`` part of the config."""

    margin_px: int = Field(ge=0, le=64)  # how far the model may change pixels beyond the asked mask


@checked.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LabelSettings:
    """The ``label`` part of the config."""

    ignore_border: bool  # whether pixels beside a label that visibly changed too are 255 in masks


@checked.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AugmentSettings:
    """The ``augment`` part of the config; None = no augmentation."""

    source: dict[str, Any] | None = None
    finish: dict[str, Any] | None = None
