"""What fidelity is measured on, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.backends.diffusion.backend import DiffusionBackend
from synthgen.conditioning.control.controls import Control
from synthgen.planning.plan import DefectClass, draw_plan
from synthgen.realdata.settings import RealSettings
from synthgen.samples.arrays import Image
from synthgen.samples.sample import SampleSpec
from synthgen.sources import ProceduralSources, Sources

__all__ = ["DRAWN", "Fidelity", "FidelitySettings", "PhotoSet", "Subject"]

STRICT = ConfigDict(extra="forbid")
DRAWN = "drawn"  # the set of the drawn sources, beside the names of the photographed ones


@checked(frozen=True, config=STRICT)
class PhotoSet:
    """Photos of good parts that the model has not learned from.

    ``surface`` is the word for it in the prompt. ``defects`` are real ones of the same product.
    """

    path: Annotated[str, Field(min_length=1)]
    surface: Annotated[str, Field(min_length=1)]
    defects: RealSettings | None = None  # docs/reference/real-images.md


@checked(frozen=True, config=STRICT, kw_only=True)
class FidelitySettings:
    """What is measured on how much. ``probes`` of the conditions are painted in every way."""

    folder: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)] = 0
    count: Annotated[int, Field(ge=12)] = 500  # on drawn sources
    photo_count: Annotated[int, Field(ge=0)] = 200  # on photographed ones, over all sets
    probes: Annotated[int, Field(ge=12)] = 144
    steps: tuple[int, ...] = (4, 8, 20)
    examples: Annotated[int, Field(ge=64)] = 9000  # sketches that the classifier learns from
    sweeps: Annotated[int, Field(ge=1)] = 4  # scenes of each class painted at rising severity
    timed: Annotated[int, Field(ge=1)] = 24  # images per timing
    batch_size: Annotated[int, Field(ge=1)] = 8
    photos: Mapping[str, PhotoSet] = field(default_factory=dict)
    card: bool = False  # put the table into the model's card


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is measured: a backend, and what its conditions are made of.

    ``sources`` are the drawn ones; ``margin_px`` is that of the repaint mask.
    """

    backend: DiffusionBackend
    classes: Mapping[str, DefectClass]
    sources: ProceduralSources
    controls: Mapping[str, Control]  # the first of edges, which are looked for in the result
    margin_px: int

    def plan(self, sources: Sources, count: int, seed: int) -> list[SampleSpec]:
        """Return ``count`` specs with a defect each, classes evenly mixed, in one split."""
        return draw_plan(sources, self.classes, count, 0, {"all": 1.0}, seed)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fidelity:
    """What was measured. ``rows``: one per condition; ``crops[set][kind]``: what KID compares.

    ``severities``: the change in the asked mask (Delta E), by class, sweep and asked severity.
    ``accuracy_on_sketches`` is the classifier's on sketches that it has not seen.
    ``images_per_s`` by "<init> <steps>".
    """

    rows: pd.DataFrame
    severities: pd.DataFrame
    crops: Mapping[str, Mapping[str, list[Image]]]
    accuracy_on_sketches: float
    images_per_s: Mapping[str, float]
