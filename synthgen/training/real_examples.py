"""Real defects to learn from beside drawn ones: the photo, and how it looks without its defect.

What a drawn sketch is to become is shown by laying one into a real defect's own mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.defects import Drawing, lay_on
from synthgen.defects.drawing.drawing import SCALE
from synthgen.imaging.images import LUMA, to_levels
from synthgen.imaging.optics import Optics, estimate_optics
from synthgen.realdata.read import read_real
from synthgen.realdata.settings import RealSettings
from synthgen.samples.arrays import Image, Mask
from synthgen.sources.surfaces.noise import fractal_noise
from synthgen.training.adaptation.crops import (
    Augmentation,
    RealExample,
    blur_sketch,
    by_class,
    draw_real_crop,
    make_examples,
    name_classes,
)
from synthgen.training.crops import Crop

__all__ = ["RealExamples", "RealFolder"]

Rng = np.random.Generator
Text = Annotated[str, Field(min_length=1)]

DRAWN_SKETCHES = 0.6  # of the crops; the others have a blurred copy of the real defect
MAX_FACTOR = 4.0  # of a sketch's strength, to meet the real one's


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class RealFolder:
    """Real images with masks (docs/reference/real-images.md), and what the card says of them."""

    real: RealSettings
    surface: Text  # its word in prompts
    origin: Text
    licence: Text
    words: Mapping[str, str] = field(default_factory=dict)  # nouns of classes; or their own names


class RealExamples:
    """Crops of real defects; folders come equally often, and classes within a folder.

    ``counts``: how many photos with defects each folder has, by its name. Raises SourceError where
    a folder cannot be read, holds no masked defect, or lacks a class of ``words``.
    """

    def __init__(self, folders: Mapping[str, RealFolder]) -> None:
        self.counts: dict[str, int] = {}
        self._kinds: list[list[list[RealExample]]] = []
        self._good: list[Sequence[Image]] = []
        self._optics: dict[int, Optics] = {}
        for name, folder in sorted(folders.items()):
            images = read_real(folder.real, key=f"pretrain.real.{name}.real")
            examples, good = make_examples(
                images, name_classes(images, folder.words), folder.surface
            )
            self.counts[name] = len({one.image_id for one in examples})
            self._kinds.append(by_class(examples))
            self._good.append(good)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def draw(self, rng: Rng, size_px: int) -> Crop:
        """Return a crop (S, S) around a random place of a random real defect.

        It is zoomed by 0.6 to 1.4. Its sketch is an even tone in the defect's mask for 60 % of the
        crops, and a blurred copy of the defect for the others.
        """
        number = int(rng.integers(len(self._kinds)))
        kind = self._kinds[number][int(rng.integers(len(self._kinds[number])))]
        example = kind[int(rng.integers(len(kind)))]
        draw_sketch = None
        if rng.random() < DRAWN_SKETCHES:
            if id(example) not in self._optics:
                self._optics[id(example)] = estimate_optics(example.removed)
            draw_sketch = partial(_draw_alike, self._optics[id(example)])
        vary = Augmentation(scale=(0.6, 1.4))
        return draw_real_crop(rng, example, self._good[number], size_px, vary, draw_sketch)


def _draw_alike(
    optics: Optics, rng: Rng, source: Image, change: NDArray[np.float32], mask: Mask
) -> Image:
    """Return the surface with an even tone in a real defect's mask, about as strong as that."""
    wanted = change[mask] @ LUMA
    if not mask.any() or np.abs(wanted).mean() < 1:
        return blur_sketch(rng, source, change, mask)
    size = (SCALE * mask.shape[1], SCALE * mask.shape[0])
    fine = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    uneven = np.maximum(1 + rng.uniform(0, 0.3) * fractal_noise(rng, fine.shape, 15), 0)
    tone = np.float32(np.sign(wanted.mean()) or 1.0) * fine * uneven
    nothing, white = np.zeros_like(fine), np.ones(3, np.float32)
    gone = fine * np.float32(rng.random())
    drawing = Drawing(
        mask=mask,
        contrast=0.3,
        tone=tone,
        height=nothing,
        gone=gone,
        lift=nothing,
        tint=white,
        tinted=nothing,
        grit=nothing,
        seed=0,
    )
    sketch, _ = lay_on(source, drawing, (0, 0), optics, detail=False)
    drawn = sketch.astype(np.float32) - source
    own = drawn[mask] @ LUMA
    factor = float(np.abs(wanted).mean()) / max(float(np.abs(own).mean()), 1.0)
    factor = min(factor, MAX_FACTOR) * float(np.exp(rng.normal(0, 0.25)))
    turns = float(wanted.mean()) * float(own.mean()) < 0  # the renderer found no room on that side
    return to_levels(source + np.float32(-factor if turns else factor) * drawn)
