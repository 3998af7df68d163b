"""Crops around defects: real, painted and pasted ones, each in the fold of its photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthgen.errors import RunError, SourceError
from synthgen.evaluation.realism.settings import RealismSettings
from synthgen.evaluation.utility.arms import cut_patch
from synthgen.evaluation.utility.pastes import paste_defect
from synthgen.exporting.labels import read_labels
from synthgen.imaging.images import crop_around
from synthgen.realdata.read import read_real
from synthgen.samples.arrays import Image, Mask
from synthgen.samples.seeds import stream
from synthgen.training.pictures import Picture, read_picture, read_pictures

__all__ = [
    "MIN_DEFECTS",
    "PAINTED",
    "PASTED",
    "REAL",
    "DefectCrop",
    "collect_crops",
    "cut_crops",
    "deal_folds",
]

REAL, PAINTED, PASTED = "real", "painted", "crop-paste"
MIN_DEFECTS = 10  # of real and of painted ones; below it nothing is told
PER_IMAGE = 4  # connected defects of one class of one image, the largest: no image weighs more
TRIES = 20  # until a paste leaves a mark


@dataclass(frozen=True, eq=False, kw_only=True)
class DefectCrop:
    """One crop, (S, S, 3) uint8. ``group``: the physical part in the photo that it was cut from.

    ``fold``: which part of the data it belongs to; all crops of a group share it.
    """

    pixels: Image
    kind: str  # REAL, PAINTED or PASTED
    name: str
    defect_class: str
    group: str
    fold: int = 0


def collect_crops(settings: RealismSettings) -> list[DefectCrop]:
    """Return the crops of all sets; without good images there is no crop-paste.

    A paste takes defect and photo of one fold, so that neither is known in another. Raises
    SourceError where there are too few real defects or parts, RunError where too few are painted.
    """
    pictures = read_pictures(read_real(settings.real, key="evaluate.real"))
    is_grey = all(picture.pixels.shape[2] == 1 for picture in pictures)
    bad = [picture for picture in pictures if picture.masks]
    good = [picture for picture in pictures if not picture.masks]
    labels = read_labels(settings.run)
    made = [one for one in labels if one.is_synthetic and one.defects]
    parts = {picture.group for picture in bad}
    if len(bad) < MIN_DEFECTS or len(parts) < 2:
        raise SourceError(
            f"evaluate.real has {len(bad)} images with defects of {len(parts)} parts; "
            f"{MIN_DEFECTS} of two or more are needed"
        )
    if len(made) < MIN_DEFECTS:
        raise RunError(
            f"evaluate.run={settings.run} holds {len(made)} accepted defects; "
            f"{MIN_DEFECTS} are needed"
        )
    folds = min(settings.folds, len(parts), len({one.group for one in made}))
    if folds < 2:
        raise RunError(f"evaluate.run={settings.run} is painted on one part; two are needed")
    order = stream(settings.seed, "realism", PAINTED).permutation(len(made))
    chosen = [made[int(at)] for at in order[: settings.count]]
    painted = [read_picture(one, labels.names, is_grey=is_grey) for one in chosen]
    place = deal_folds(parts, folds, settings.seed)
    place |= deal_folds({one.group for one in [*painted, *good]} - parts, folds, settings.seed)
    crops = []
    for kind, own in ((REAL, bad), (PAINTED, painted)):
        cut = [
            crop for picture in own for crop in cut_crops(picture, kind, settings.crop_px, place)
        ]
        crops += _take(cut, settings)
    return crops + _paste(bad, good, place, settings, len(crops) // 2)


def deal_folds(groups: set[str], folds: int, seed: int) -> dict[str, int]:
    """Return the fold of each group: all of about one size, drawn by the seed."""
    order = stream(seed, "folds").permutation(sorted(groups))
    return {str(group): number % folds for number, group in enumerate(order)}


def cut_crops(picture: Picture, kind: str, side: int, place: Mapping[str, int]) -> list[DefectCrop]:
    """Return crops of ``side`` px around the largest defects of each class of a picture.

    ``place``: the fold of each group.
    """
    shown = _as_rgb(picture.pixels)
    crops = []
    for name, regions in sorted(picture.regions.items()):
        for region in sorted(regions, key=len, reverse=True)[:PER_IMAGE]:
            mask = np.zeros(shown.shape[:2], bool)
            mask[region[:, 0], region[:, 1]] = True
            crops.append(
                DefectCrop(
                    pixels=crop_around(shown, mask, side),
                    kind=kind,
                    name=picture.name,
                    defect_class=name,
                    group=picture.group,
                    fold=place[picture.group],
                )
            )
    return crops


def _take(crops: Sequence[DefectCrop], settings: RealismSettings) -> list[DefectCrop]:
    """Return ``settings.count`` of the crops at most, drawn by the seed."""
    order = stream(settings.seed, "realism", crops[0].kind).permutation(len(crops))
    return [crops[at] for at in sorted(order[: settings.count])]


def _paste(
    bad: Sequence[Picture],
    good: Sequence[Picture],
    place: Mapping[str, int],
    settings: RealismSettings,
    count: int,
) -> list[DefectCrop]:
    """Return so many crops of real defects pasted on good photos of their own fold."""
    rng, crops = stream(settings.seed, "realism", PASTED), []
    lots = []
    for fold in sorted(set(place.values())):
        lenders = [one for one in bad if place[one.group] == fold]
        photos = [one for one in good if place[one.group] == fold]
        if lenders and photos:
            lots.append((fold, lenders, photos))
    for number in range(count if lots else 0):
        fold, lenders, photos = lots[number % len(lots)]
        lender = lenders[int(rng.integers(len(lenders)))]
        photo = photos[int(rng.integers(len(photos)))]
        name = str(rng.choice(sorted(lender.masks)))
        pasted, mask = _try_paste(rng, lender, name, photo)
        if mask.any():
            crops.append(
                DefectCrop(
                    pixels=crop_around(_as_rgb(pasted), mask, settings.crop_px),
                    kind=PASTED,
                    name=f"{lender.name} on {photo.name}",
                    defect_class=name,
                    group=photo.group,
                    fold=fold,
                )
            )
    return crops


def _try_paste(
    rng: np.random.Generator, lender: Picture, name: str, photo: Picture
) -> tuple[Image, Mask]:
    """Return a photo with one pasted defect; its mask is empty where no try left a mark."""
    for _ in range(TRIES):
        patch = cut_patch(rng, lender, name, min(photo.pixels.shape[:2]) // 2)
        pasted, mask = paste_defect(rng, photo.pixels, patch, is_poisson=False)
        if mask.any():
            return pasted, mask
    return photo.pixels, np.zeros(photo.pixels.shape[:2], bool)


def _as_rgb(pixels: Image) -> Image:
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
