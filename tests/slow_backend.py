"""A backend that is in the middle of a batch when somebody stops it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthgen.backends.backend import SketchBackend
from synthgen.samples.sample import Condition


class SlowBackend(SketchBackend):
    """Paints as sketch does, ten minutes later; ``told`` is a file that says that it has begun."""

    def __init__(self, told: str) -> None:
        self._told = Path(told)

    def paint(self, conditions: Sequence[Condition]) -> list[NDArray[np.uint8]]:
        self._told.touch()
        time.sleep(600)
        return super().paint(conditions)
