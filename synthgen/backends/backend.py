"""The one seam of painting: a Backend turns conditions into images, and says what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from synthgen.samples.sample import Condition

__all__ = ["Backend", "BackendInfo", "LoadsAhead", "SketchBackend"]

NO_WHOLE_IMAGES = (
    "it paints no whole images; choose one with a checkpoint and a ControlNet, e.g. backend=sd15"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """What a backend says of itself, before any weights are loaded.

    ``checkpoint``: names and digests of all weights, '' where there are none. ``cell_px``: its mask
    grid; the repaint mask is grown to whole cells. ``models``: by config key below
    ``backend.model``, what a run records of each: name, class, revision, digest, licence, weights.
    ``dtype``: of the weights, on this machine. ``reads``: names of the control images that its
    ControlNets read. ``taught``: the noun of each class that an adapter has learned.
    ``tokenizers``: a folder of tokenizers that cut long prompts off; None = any length is read.
    ``safety_checker``: whether one runs; None = there is none. ``why_not_whole``: why it cannot
    paint whole images (mode=vary), a sentence; None = it can.
    """

    name: str
    checkpoint: str = ""
    cell_px: int = 1
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dtype: str | None = None
    reads: tuple[str, ...] = ()
    taught: Mapping[str, str] = field(default_factory=dict)
    tokenizers: Path | None = None
    safety_checker: bool | None = None
    why_not_whole: str | None = NO_WHOLE_IMAGES


class Backend(Protocol):
    """Paints defects. One image per condition, same order, same size; no state between calls."""

    def describe(self) -> BackendInfo:
        """Return what it is, without loading weights; raises ConfigError for a missing device."""
        ...

    def paint(self, conditions: Sequence[Condition]) -> list[NDArray[np.uint8]]:
        """Return one image (H, W, 3) uint8 RGB per condition, of the size of its ``image``.

        What differs from that outside the repaint mask is dropped later. Called from one thread at
        a time.
        """
        ...


@runtime_checkable
class LoadsAhead(Protocol):
    """A backend that can load its weights before it is given anything to paint."""

    def load(self) -> object:
        """Load the weights, once; raises what ``paint`` would."""
        ...


class SketchBackend:
    """Paints nothing: the sketch is the image. For comparison, and for tests without a model."""

    def describe(self) -> BackendInfo:
        """Return its name; it has no weights."""
        return BackendInfo(name="sketch")

    def paint(self, conditions: Sequence[Condition]) -> list[NDArray[np.uint8]]:
        """Return the sketch of each condition inside its repaint mask, its image outside."""
        return [
            np.where(c.repaint_mask[..., None], c.sketch, c.image).astype(np.uint8)
            for c in conditions
        ]
