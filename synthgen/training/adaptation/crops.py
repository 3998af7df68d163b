"""Crops to learn real defects from: a real one in place of the drawn one of pretraining.

A photo of a defect has no partner without it. The partner is made (``bank.removal``); what is
learned is the change between the two, where the defect is, or laid on another good surface.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.conditioning.control.edges import canny_control
from synthgen.defects.drawing.render import add_change
from synthgen.errors import SourceError
from synthgen.imaging.geometry import grow_mask
from synthgen.imaging.images import to_levels
from synthgen.planning.prompts import describe
from synthgen.progress import track
from synthgen.realdata.records import RealImage
from synthgen.references.clean import CleanPhotos
from synthgen.references.removal import near_weights, to_fractions, to_own_texture
from synthgen.samples.arrays import Image, Mask
from synthgen.samples.seeds import stream
from synthgen.training.adaptation.loop import AdaptSettings
from synthgen.training.crops import Crop, fade_out, loosen

__all__ = [
    "Augmentation",
    "RealCrops",
    "RealExample",
    "blur_sketch",
    "draw_judged",
    "draw_real_crop",
    "hold_back",
    "make_examples",
    "name_classes",
]

Rng = np.random.Generator

DrawSketch = Callable[[Rng, Image, NDArray[np.float32], Mask], Image]

MIN_PX = 4  # smaller specks of a mask teach nothing


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RealExample:
    """One real image and one class of its defects: the photo and how it looks without them."""

    image_id: str
    group: str
    defect_class: str
    noun: str
    surface: str
    removed: Image  # (H, W, 3)
    change: NDArray[np.float32]  # (H, W, 3) levels; 0 away from the defect
    mask: Mask

    @property
    def real(self) -> Image:
        """The photo, as far as this class is concerned."""
        return to_levels(self.removed + self.change)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How examples are varied. ``transplant``: share that is laid on another good surface.

    Ranges are factors, (low, high); a crop's own is drawn evenly.
    """

    transplant: float = 0.4
    turn: float = 0.3  # share that is turned by 90, 180 or 270 degrees; all are mirrored evenly
    scale: tuple[float, float] = (0.85, 1.2)
    gain: tuple[float, float] = (0.8, 1.25)  # of the light
    contrast: tuple[float, float] = (0.8, 1.25)  # of the defect against its surface
    own_texture: float = 0.5  # share of transplants through which no new surface shows


def make_examples(
    images: Sequence[RealImage],
    nouns: Mapping[str, str],
    surface: str,
    photos: CleanPhotos | None = None,
) -> tuple[list[RealExample], list[Image]]:
    """Return the examples of all real defects, and the good photos. ``nouns``: word of each class.

    The defects of one photo are removed together, so that no example shows those of another class.
    Masks of fewer than 4 pixels are left out. ``photos`` may have made some of these already.
    Raises SourceError where no defect is left, or a file cannot be read.
    """
    photos = photos or CleanPhotos(images, keeps=False)
    examples = []
    for image in track(images, "taking the defects out of their photos", unit="images"):
        if not image.defects:
            continue
        photo, removed = photos.make(image)
        for defect in image.defects:
            if defect.mask.sum() < MIN_PX:
                continue
            change = near_weights(defect.mask) * (photo.astype(np.float32) - removed)
            examples.append(
                RealExample(
                    image_id=image.image_id,
                    group=image.group,
                    defect_class=defect.defect_class,
                    noun=nouns[defect.defect_class],
                    surface=surface,
                    removed=removed,
                    change=change,
                    mask=defect.mask,
                )
            )
    if not examples:
        raise SourceError("real holds no image with a masked defect; adapt needs some per class")
    return examples, photos.good


def draw_real_crop(
    rng: Rng,
    example: RealExample,
    good: Sequence[Image],
    size_px: int,
    vary: Augmentation,
    draw_sketch: DrawSketch | None = None,
) -> Crop:
    """Return a crop (S, S) around a random place of a real defect, varied.

    Its sketch is what ``draw_sketch`` makes of the surface, the change and the mask; by default a
    blurred copy of the defect itself. ``good``: surfaces (H, W, 3) for transplants; without any
    there are none. ``size_px`` must be a multiple of 16.
    """
    matrix = _draw_view(rng, example.mask, size_px, vary)
    removed = _warp(example.removed, matrix, size_px)
    change = _warp(example.change, matrix, size_px, cv2.BORDER_CONSTANT)
    mask = _warp(example.mask.astype(np.float32), matrix, size_px, cv2.BORDER_CONSTANT) > 0.5
    light = rng.uniform(*vary.gain)
    source = to_levels(removed * light)
    change = change * light * rng.uniform(*vary.contrast)
    surface = example.surface
    if good and rng.random() < vary.transplant:
        # A random crop of a good photo, which is mirrored beyond its border where it is small.
        photo = good[int(rng.integers(len(good)))]
        below, right = (max(0, size_px - side) for side in photo.shape[:2])
        padded = cv2.copyMakeBorder(photo, 0, below, 0, right, cv2.BORDER_REFLECT_101)
        row, column = (int(rng.integers(side - size_px + 1)) for side in padded.shape[:2])
        cut = padded[row : row + size_px, column : column + size_px]
        other = np.ascontiguousarray(cut[:, ::-1] if rng.random() < 0.5 else cut)
        fractions, veil = (
            to_own_texture(change, source, mask)
            if rng.random() < vary.own_texture
            else (to_fractions(change, source, mask), None)
        )
        change = add_change(other.astype(np.float32), fractions, veil) - other
        source = other
    repaint = loosen(rng, mask) | grow_mask(mask, 2)
    change = change * fade_out(repaint)
    sketch = (draw_sketch or blur_sketch)(rng, source, change, mask)
    control = canny_control().draw(source, sketch, mask, repaint)
    word = surface if rng.random() < 0.85 else "surface"
    prompt = describe(example.noun, float(rng.random()), word, int(rng.integers(12)))
    return Crop(
        source=source,
        defective=to_levels(source + change),
        sketch=sketch,
        defect_mask=mask,
        repaint_mask=repaint,
        control_image=control,
        prompt=prompt,
    )


def blur_sketch(rng: Rng, source: Image, change: NDArray[np.float32], mask: Mask) -> Image:
    """Return a surface (S, S, 3) with a copy of its defect, blurred by 1 to 2.5 px.

    ``change`` (S, S, 3) in grey levels is the defect; the mask is not used.
    """
    coarse = cv2.GaussianBlur(change, (0, 0), float(rng.uniform(1, 2.5)))
    return to_levels(source + coarse)


def _draw_view(rng: Rng, mask: Mask, size_px: int, vary: Augmentation) -> NDArray[np.float32]:
    """Return the affine map (2, 3) from the photo to the crop: scale, turn, mirror, place."""
    places = np.argwhere(mask)
    centre = places[int(rng.integers(len(places)))][::-1].astype(float)
    turns = int(rng.integers(1, 4)) if rng.random() < vary.turn else 0
    angle = turns * np.pi / 2
    scale = rng.uniform(*vary.scale)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = linear @ np.diag([rng.choice([-1, 1]), 1])
    target = size_px / 2 + rng.uniform(-size_px / 5, size_px / 5, 2)
    return np.hstack([linear, (target - linear @ centre)[:, None]]).astype(np.float32)


def _warp(
    image: NDArray[np.generic],
    matrix: NDArray[np.float32],
    size_px: int,
    border: int = cv2.BORDER_REFLECT_101,
) -> NDArray[np.float32]:
    warped = cv2.warpAffine(
        image, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=border
    )
    return np.asarray(warped, np.float32)


def name_classes(images: Sequence[RealImage], words: Mapping[str, str]) -> dict[str, str]:
    """Return the noun of each class: as in ``words``, or the class's own name with spaces.

    Raises SourceError where ``words`` names a class that no image has.
    """
    classes = sorted({defect.defect_class for image in images for defect in image.defects})
    for name in words:
        if name not in classes:
            raise SourceError(
                f"adapt.words names {name!r}; the data has {', '.join(classes) or 'no defect'}"
            )
    return {name: words.get(name, name.replace("_", " ").replace("-", " ")) for name in classes}


def hold_back(
    examples: Sequence[RealExample], fraction: float, seed: int
) -> tuple[list[RealExample], list[RealExample]]:
    """Return examples to learn and to validate with; whole groups, one of each class where there
    are two.

    ``fraction`` 0..1 is that of a class's groups, 0 = none. Of every class a group is left to
    learn; where none can be held back, all examples do both.
    """
    groups_of: dict[str, set[str]] = {}
    for one in examples:
        groups_of.setdefault(one.defect_class, set()).add(one.group)
    chosen: set[str] = set()
    for name, groups in sorted(groups_of.items()):
        count = min(max(1, round(fraction * len(groups))), len(groups) - 1) if fraction else 0
        free = sorted(groups - chosen)
        for place in stream(seed, "hold back", name).permutation(len(free)):
            more = chosen | {free[place]}
            if len(chosen & groups) < count and all(own - more for own in groups_of.values()):
                chosen = more
    held = [one for one in examples if one.group in chosen]
    taught = [one for one in examples if one.group not in chosen]
    return (taught, held) if taught and held else (list(examples), list(examples))


class RealCrops:
    """Crops of real defects, classes evenly; the same for the same step, whatever came before."""

    def __init__(
        self, examples: Sequence[RealExample], good: Sequence[Image], settings: AdaptSettings
    ) -> None:
        self.kinds, self.good, self.seed = by_class(examples), good, settings.seed
        self.vary = Augmentation(
            transplant=settings.transplant, turn=settings.turn, own_texture=settings.own_texture
        )

    def draw(self, step: int, count: int, size_px: int) -> list[Crop]:
        """Return ``count`` crops (S, S) of a step; each class is as likely as any other."""
        crops = []
        for number in range(count):
            rng = stream(self.seed, "real crop", step, number)
            kind = self.kinds[int(rng.integers(len(self.kinds)))]
            example = kind[int(rng.integers(len(kind)))]
            crops.append(draw_real_crop(rng, example, self.good, size_px, self.vary))
        return crops


def by_class(examples: Sequence[RealExample]) -> list[list[RealExample]]:
    """Return the examples of each class, in the order of the classes' names."""
    names = sorted({example.defect_class for example in examples})
    return [[one for one in examples if one.defect_class == name] for name in names]


def draw_judged(held: Sequence[RealExample], seed: int) -> list[list[Crop]]:
    """Return the fixed crops that a model is judged by, in batches: 48 of 64 px, classes evenly."""
    kinds, vary = by_class(held), Augmentation(transplant=0, turn=0)
    crops = []
    for number in range(48):
        kind = kinds[number % len(kinds)]
        rng = stream(seed, "held back", number)
        crops.append(draw_real_crop(rng, kind[number // len(kinds) % len(kind)], (), 64, vary))
    return [crops[at : at + 16] for at in range(0, 48, 16)]
