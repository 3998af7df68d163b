"""Crops to learn from: a surface with a defect on it, the same without, and the prompt."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.control.edges import CannyControl, draw_control
from synthgen.defects import DEFECTS, lay_on
from synthgen.geometry import grow_mask, grow_to_cells
from synthgen.prompts import SYNONYMS, describe
from synthgen.seeds import stream
from synthgen.surfaces import draw_surface

__all__ = ["Crop", "draw_crop", "draw_crops"]

Rng = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """One lesson: images (S, S, 3) uint8 RGB, masks (S, S) bool, and the prompt."""

    source: NDArray[np.uint8]
    defective: NDArray[np.uint8]  # with the fine grain of a photograph
    sketch: NDArray[np.uint8]  # as a generator would draw it: without that grain
    defect_mask: NDArray[np.bool_]
    repaint_mask: NDArray[np.bool_]
    control_image: NDArray[np.uint8]
    prompt: str


def draw_crops(seed: int, step: int, count: int, size_px: int) -> list[Crop]:
    """Return the lessons of one step; the same for the same seed and step, whatever came before."""
    return [draw_crop(stream(seed, "crops", step, number), size_px) for number in range(count)]


def draw_crop(rng: Rng, size_px: int) -> Crop:
    """Draw one crop that shows some of a defect; ``size_px`` must be a multiple of 16."""
    while True:
        crop = _try_crop(rng, size_px)
        if crop.defect_mask.sum() >= 4:
            return crop


def _try_crop(rng: Rng, size_px: int) -> Crop:
    zoom = 1.0 if rng.random() < 0.75 else rng.uniform(1, 2.5)  # coarse, soft textures too
    drawn = draw_surface(rng, (max(16, round(size_px / zoom)),) * 2)
    source = drawn.image
    if zoom > 1:
        source = cv2.resize(source, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    severity, light = float(rng.random()), rng.uniform(0, 360)
    defect_class = str(rng.choice(sorted(DEFECTS)))
    defective, sketch, defect_mask = source, source, np.zeros((size_px, size_px), bool)
    kind = DEFECTS[defect_class]()
    for _ in range(1 + (rng.random() < 0.15)):
        drawing = kind.draw(rng, severity, 256)
        rows, columns = np.nonzero(drawing.mask)
        if len(rows) == 0:
            continue
        anchor = rng.integers(len(rows))
        at = rng.integers(size_px // 6, size_px - size_px // 6, 2)
        corner = int(at[0] - rows[anchor]), int(at[1] - columns[anchor])
        sketch, _ = lay_on(sketch, drawing, corner, light)
        defective, mask = lay_on(defective, drawing, corner, light, detail=True)
        defect_mask = defect_mask | mask
    repaint_mask = _grow(rng, defect_mask)
    control = draw_control(CannyControl(), source, sketch, defect_mask, repaint_mask)
    source, defective, sketch = _camera(rng, source, defective, sketch)
    names = SYNONYMS[defect_class]
    noun = names[0] if rng.random() < 0.6 else str(rng.choice(names))
    surface = drawn.name if rng.random() < 0.85 else "surface"
    prompt = describe(noun, severity, surface, int(rng.integers(12)))
    return Crop(source, defective, sketch, defect_mask, repaint_mask, control, prompt)


def _grow(rng: Rng, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask grown by 2 to 7 px, sometimes by more, sometimes to whole 8 px cells."""
    reach = int(rng.integers(2, 8)) if rng.random() < 0.85 else int(rng.integers(8, 14))
    grown = grow_mask(mask, reach)
    return grow_to_cells(grown, 8) if rng.random() < 0.15 else grown


def _camera(rng: Rng, *images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    """Blur, brighten and compress the images alike, now and then; make some of them grey."""
    gain, blur = rng.uniform(0.75, 1.25), rng.uniform(0.4, 1.1)
    is_blurred, is_brightened, is_grey = rng.random(3) < (0.15, 0.25, 0.15)
    result = []
    for image in images:
        if is_grey:
            image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
        if is_blurred:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), np.uint8)
        if is_brightened:
            image = np.clip(image * gain, 0, 255).astype(np.uint8)
        result.append(image)
    return tuple(result)
