"""Crops to learn from: a surface with a defect on it, the same without, and the prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.conditioning.control.edges import canny_control
from synthgen.defects import DEFECTS, Drawing, Scene, lay_on, zoom
from synthgen.imaging.geometry import grow_mask, grow_to_cells
from synthgen.imaging.images import to_levels
from synthgen.imaging.optics import Optics
from synthgen.imaging.outline import depth_inside
from synthgen.planning.prompts import SYNONYMS, describe
from synthgen.samples.arrays import Image, Mask
from synthgen.samples.seeds import stream
from synthgen.sources.surfaces import draw_surface
from synthgen.training.photos import Photos, SurfaceView, draw_camera

__all__ = ["PHOTO_FRACTION", "Crop", "draw_crop", "draw_crops", "fade_out", "fill_shape", "loosen"]

Rng = np.random.Generator

PHOTO_FRACTION = 0.4  # of the crops, where there are photos
MIN_CHANGE = 3.0  # grey levels: a weaker defect teaches nothing


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Crop:
    """One training example: images (S, S, 3) uint8 RGB, masks (S, S) bool, and the prompt.

    ``source`` and ``defective`` are equal outside ``repaint_mask``. ``control_image`` has the edges
    of the source there, and those of the sketch on the defect.
    """

    source: Image
    defective: Image  # with the fine grain of a photograph
    sketch: Image  # as a generator would draw it: without that grain
    defect_mask: Mask
    repaint_mask: Mask
    control_image: Image
    prompt: str


def draw_crops(
    seed: int, step: int, count: int, size_px: int, photos: Photos | None = None
) -> list[Crop]:
    """Return the crops of one step; the same for the same seed and step, whatever came before.

    ``size_px`` must be a multiple of 16. Where there are ``photos``, 40 % of the crops show them,
    the others a drawn surface.
    """
    return [
        draw_crop(stream(seed, "crops", step, number), size_px, photos) for number in range(count)
    ]


def draw_crop(rng: Rng, size_px: int, photos: Photos | None = None) -> Crop:
    """Draw one crop (S, S) that shows some of a defect; ``size_px`` must be a multiple of 16.

    It is drawn again until the defect has 4 pixels and changes them by 3 grey levels on average.
    """
    while True:
        crop = _try_crop(rng, size_px, photos)
        change = np.abs(crop.defective.astype(np.int16) - crop.source)[crop.defect_mask]
        if len(change) >= 4 and change.mean() >= MIN_CHANGE:
            return crop


def _try_crop(rng: Rng, size_px: int, photos: Photos | None) -> Crop:
    view = _look_at_surface(rng, size_px, photos)
    camera = draw_camera(rng, view.optics.kernel_px)
    scene, optics = camera.take(rng, view)
    defect_class = str(rng.choice(sorted(DEFECTS)))
    severity = float(rng.random())
    sketch, defective, defect_mask = _lay_defects(rng, scene, defect_class, severity, optics)
    if rng.random() < 0.12:  # in the shape of another class, in the middle of the crop
        other = str(rng.choice(sorted(set(DEFECTS) - {defect_class})))
        drawing = _draw(rng, other, 0.5, size_px, Optics())
        row, column = ((size_px - length) // 2 for length in drawing.mask.shape)
        _, shape = lay_on(np.zeros_like(scene), drawing, (row, column), Optics())
        sketch, defective, defect_mask = fill_shape(
            rng, scene, defect_class, severity, optics, shape
        )
    weight = 1.0
    if rng.random() < 0.2:  # lost in the texture, nearly
        weight, severity = float(rng.uniform(0.25, 0.7)), severity / 3
    repaint_mask = loosen(rng, defect_mask)
    source = camera.compress(scene)
    if camera.is_grey:  # it does not see the colour of a defect
        defective, sketch = (
            np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
            for image in (defective, sketch)
        )
    change = weight * (defective.astype(np.float32) - scene)
    drawn = weight * (sketch.astype(np.float32) - scene)
    sketch = _add(source, drawn)
    finished = camera.compress(_add(scene, change)).astype(np.float32)
    defective = _add(source, fade_out(repaint_mask) * (finished - source))
    control = canny_control().draw(source, sketch, defect_mask, repaint_mask)
    names = SYNONYMS[defect_class]
    noun = names[0] if rng.random() < 0.6 else str(rng.choice(names))
    shown = view.surface if rng.random() < 0.85 else "surface"
    prompt = describe(noun, severity, shown, int(rng.integers(12)))
    return Crop(
        source=source,
        defective=defective,
        sketch=sketch,
        defect_mask=defect_mask,
        repaint_mask=repaint_mask,
        control_image=control,
        prompt=prompt,
    )


def _look_at_surface(rng: Rng, size_px: int, photos: Photos | None) -> SurfaceView:
    light_deg, directedness = float(rng.uniform(0, 360)), float(rng.random())
    if photos is not None and len(photos) and rng.random() < PHOTO_FRACTION:
        view = photos.draw(rng, size_px)
        image = view.image
        if rng.random() < 0.35:  # grey photos would make a grey model
            colour = rng.uniform(0.45, 1, 3)
            image = np.rint(image * (colour / colour.max())).astype(np.uint8)
        optics = replace(view.optics, light_deg=light_deg, light_directedness=directedness)
        return SurfaceView(image, view.surface, optics)
    near = rng.uniform(1, 2.5, 2) if rng.random() < 0.15 else np.repeat(rng.uniform(1, 2.5), 2)
    if rng.random() < 0.65:
        near = np.ones(2)  # the others: coarse and soft, or drawn out in one direction
    height, width = (max(16, round(size_px / factor)) for factor in near)
    drawn = draw_surface(rng, (height, width))
    image = drawn.image
    if near.max() > 1:
        image = np.asarray(
            cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_CUBIC), np.uint8
        )
    turned = np.ascontiguousarray(np.rot90(image, int(rng.integers(4))))
    optics = Optics(kernel_px=0.4, light_deg=light_deg, light_directedness=directedness)
    return SurfaceView(turned, drawn.name, optics)


def _lay_defects(
    rng: Rng, scene: Image, defect_class: str, severity: float, optics: Optics
) -> tuple[Image, Image, Mask]:
    """Return the scene with a few defects as sketched, with their grain, and where they are."""
    size_px = len(scene)
    sketch, defective, defect_mask = scene, scene, np.zeros(scene.shape[:2], bool)
    for _ in range(1 + int(rng.choice(3, p=[0.75, 0.17, 0.08]))):
        drawing = _draw(rng, defect_class, severity, size_px, optics)
        rows, columns = np.nonzero(drawing.mask)
        if len(rows) == 0:
            continue
        anchor = rng.integers(len(rows))
        at = rng.integers(size_px // 6, size_px - size_px // 6, 2)
        corner = int(at[0] - rows[anchor]), int(at[1] - columns[anchor])
        sketch, _ = lay_on(sketch, drawing, corner, optics, detail=False)
        defective, mask = lay_on(defective, drawing, corner, optics)
        defect_mask = defect_mask | mask
    return sketch, defective, defect_mask


def _draw(rng: Rng, defect_class: str, severity: float, size_px: int, optics: Optics) -> Drawing:
    """Draw a defect for a part that is wider than the crop."""
    scene = Scene(short_side_px=size_px * rng.uniform(1.2, 4), optics=optics)
    return DEFECTS[defect_class]().draw(rng, severity, scene)


def fill_shape(
    rng: Rng, scene: Image, defect_class: str, severity: float, optics: Optics, shape: Mask
) -> tuple[Image, Image, Mask]:
    """Return the sketch, the defective scene and the mask of a shape filled with a defect's matter.

    The mask says where, the prompt says what: in these crops one does not follow from the other.
    ``scene`` (S, S, 3), ``shape`` (S, S); ``severity`` 0..1. Where the shape or the drawing is
    empty, the scene is returned as it is.
    """
    drawing = _draw(rng, defect_class, severity, len(scene), optics)
    rows, columns = np.nonzero(shape)
    if len(rows) == 0 or not drawing.mask.any():
        return scene, scene, shape
    reach = max(float(np.ptp(rows)), float(np.ptp(columns)), 6.0)
    factor = float(np.clip(reach / min(drawing.mask.shape), 1, 4))
    drawing = zoom(drawing, factor) if factor > 1.05 else drawing
    middle = np.argwhere(drawing.mask).mean(axis=0)
    corner = int(rows.mean() - middle[0]), int(columns.mean() - middle[1])
    sketch, _ = lay_on(scene, drawing, corner, optics, detail=False)
    defective, mask = lay_on(scene, drawing, corner, optics)
    weight = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 0.8)[..., None]
    sketch, defective = (
        _add(scene, weight * (image.astype(np.float32) - scene)) for image in (sketch, defective)
    )
    return sketch, defective, shape & mask


def fade_out(mask: Mask) -> NDArray[np.float32]:
    """Return (S, S, 1) weights that rise from the border of what may be repainted, over 3 px.

    What is learned ends before the border does, so that none is seen.
    """
    return np.asarray(np.clip(depth_inside(mask)[..., None] / 3, 0, 1), np.float32)


def _add(image: Image, change: NDArray[np.float32]) -> Image:
    return to_levels(image + change)


def loosen(rng: Rng, mask: Mask) -> Mask:
    """Return what may be repainted: the mask and some pixels around, or a loose shape around it.

    A third are hulls and boxes of the mask (S, S), 3 to 9 px larger; the others follow it at 2 to
    13 px, some of them in whole cells of 8 px.
    """
    kind = rng.random()
    if kind < 0.35 and mask.any():
        points = cv2.findNonZero(mask.astype(np.uint8))
        loose = np.zeros(mask.shape, np.uint8)
        if rng.random() < 0.5:
            cv2.fillConvexPoly(loose, cv2.convexHull(points), 1)
        else:
            x, y, width, height = cv2.boundingRect(points)
            loose[y : y + height, x : x + width] = 1
        return grow_mask(loose > 0, int(rng.integers(3, 10)))
    reach = int(rng.integers(2, 8)) if kind < 0.9 else int(rng.integers(8, 14))
    grown = grow_mask(mask, reach)
    return grow_to_cells(grown, 8) if rng.random() < 0.15 else grown
