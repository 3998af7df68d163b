"""Small real objects for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from synthgen.conditioning.conditioner import Conditioner
from synthgen.conditioning.control.edges import canny_control
from synthgen.defects import DEFECTS
from synthgen.planning.plan import DefectClass, draw_plan
from synthgen.samples.sample import Condition
from synthgen.sources import ProceduralSources


def draw_classes(*names: str, **options: Any) -> dict[str, DefectClass]:
    ids = {name: number for number, name in enumerate(sorted(DEFECTS), start=1)}
    return {
        name: DefectClass(class_id=ids[name], noun=name, shape=DEFECTS[name](), **options)
        for name in (names or sorted(DEFECTS))
    }


def draw_conditions(
    *names: str, count: int = 4, size: int = 128, seed: int = 3, cell_px: int = 1, **options: Any
) -> list[Condition]:
    sources = ProceduralSources(count, (size, size), (), seed)
    classes = draw_classes(*names, **options)
    specs = draw_plan(sources, classes, count, 0, {"train": 1}, seed)
    build = Conditioner(sources, classes, {"canny": canny_control()}, 4, cell_px)
    return [build(spec) for spec in specs]


def flat_image(level: int = 120, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)
