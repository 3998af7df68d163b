"""Crops for an inspection model, at native size: around defects and of good surface.

``synthgen evaluate utility`` trains on them; ``DefectCrops`` gives them to other models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from synthgen.errors import ConfigError
from synthgen.exporting.labels import LabelledImage, LabelledSet, read_labels
from synthgen.samples.seeds import stream
from synthgen.training.mixing import IGNORED, Mixing, mark_border
from synthgen.training.pictures import Picture, read_picture

__all__ = [
    "Crop",
    "DefectCrops",
    "Variation",
    "crop_defect",
    "crop_good",
    "group_by_class",
    "standardise_crop",
]

Rng = np.random.Generator
Crop = tuple[NDArray[np.float32], NDArray[np.float32]]  # pixels (S, S, C), truth (S, S) of 0 and 1
MIN_SEEN = 0.25  # of the crop's side: how far off its middle a defect may lie
IGNORED_ID = 255  # in what DefectCrops gives, as in every semantic mask
KEPT = 256  # images of a set that stay in memory, in each worker
GRID = 6  # points a side of the elastic field


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Classical augmentation: mirrored, turned, scaled, bent, other light, noise, blur.

    Each crop draws its own, again for every step; pixels and truth move together.
    """

    turn_deg: float = 6.0  # at most; 180 = any angle
    scale: float = 1.25  # at most, up and down
    bend_px: float = 0.5  # deviation of the elastic field's points
    light: float = 0.25  # deviation of brightness, in deviations of the image
    noise: float = 0.2  # deviation at most, in the same


VARIATION = Variation()


class DefectCrops(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Crops of a run, or of a labelled set, as a torch ``Dataset`` for a segmentation model.

    An item is pixels (C, S, S) float32, C = 3, of mean 0 and deviation 1 over their whole image,
    and the truth (S, S) int64: 1 = a defect of any class, 0 = good surface.

    ``labels``: the folder of a finished run (its accepted samples), or a LabelledSet, real images
    among them or not. ``split``: None = all. ``count``: items of an epoch. ``side_px``: S.
    ``defect_fraction`` of the items lie around a defect: every class, image and connected defect is
    as likely as any other. ``synthetic_fraction`` of those are synthetic where the set has real
    ones, too. ``mixing`` says more of them: their order over ``epochs`` (by the items' numbers, so
    leave them in order) and the border of their labels: where it is ignored the truth is 255, and
    where it is soft all truth is float32. ``variation``: classical augmentation, None = none. An
    item is a function of ``seed``, the epoch (see ``set_epoch``) and its number. The images read
    last are kept in memory.

    Raises ConfigError where the split has no defects, or none of its images is good.
    """

    def __init__(
        self,
        labels: LabelledSet | Path | str,
        split: str | None = "train",
        *,
        count: int = 10_000,
        side_px: int = 96,
        defect_fraction: float = 0.5,
        synthetic_fraction: float = 0.5,
        variation: Variation | None = VARIATION,
        seed: int = 0,
        mixing: Mixing | None = None,
        epochs: int = 1,
    ) -> None:
        if mixing is not None and mixing.drop_least_real:
            raise ConfigError(
                "drop_least_real needs features; drop them first with "
                "synthgen.evaluation.realism.filtering.drop_least_real"
            )
        labels = labels if isinstance(labels, LabelledSet) else read_labels(labels)
        images = [image for image in labels if split in (None, image.split)]
        self._good = [image for image in images if not image.defects]
        bad = [image for image in images if image.defects]
        made = [image for image in bad if image.is_synthetic]
        real = [image for image in bad if not image.is_synthetic]
        # images by class; real ones first where there are both
        self._lots = [_by_class(lot) for lot in (real, made) if lot]
        for name, lot in (("defects", bad), ("good images", self._good)):
            if not lot:
                raise ConfigError(
                    f"no {name} are in the split {split!r}; crops need some, e.g. by "
                    "run.good_fraction, real.path or another split"
                )
        self._names = labels.names
        self._pictures: dict[str, Picture] = {}
        self._count, self._side_px, self._seed, self._epoch = count, side_px, seed, 0
        self._defect_fraction, self._synthetic_fraction = defect_fraction, synthetic_fraction
        self._variation = variation
        self._mixing, self._epochs = mixing or Mixing(), epochs

    def set_epoch(self, epoch: int) -> None:
        """Give other crops from now on: those of ``epoch``, a whole number of 0 or more."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not 0 <= index < self._count:
            raise IndexError(index)
        rng = stream(self._seed, "crops", self._epoch, index)
        if rng.random() < self._defect_fraction:
            progress = (self._epoch + index / self._count) / self._epochs
            fraction = self._mixing.fraction_at(progress, self._synthetic_fraction)
            is_made = rng.random() < fraction
            lot = self._lots[is_made and len(self._lots) > 1]
            chosen = int(rng.choice(list(lot)))
            own = lot[chosen]
            image = own[int(rng.integers(len(own)))]
            groups = {self._names[chosen]: [self._read(image)]}
            pixels, truth = crop_defect(rng, groups, self._side_px, self._variation)
            if image.is_synthetic:
                truth = mark_border(truth, self._mixing)
        else:
            good = self._good[int(rng.integers(len(self._good)))]
            pixels, truth = crop_good(rng, [self._read(good)], self._side_px, self._variation)
        shown = torch.from_numpy(pixels).permute(2, 0, 1)
        if self._mixing.border == "soft":
            return shown, torch.from_numpy(truth)
        return shown, torch.from_numpy(np.where(truth == IGNORED, IGNORED_ID, truth)).long()

    def _read(self, image: LabelledImage) -> Picture:
        if image.sample_id not in self._pictures:
            if len(self._pictures) >= KEPT:
                self._pictures.pop(next(iter(self._pictures)))
            self._pictures[image.sample_id] = read_picture(image, self._names)
        return self._pictures[image.sample_id]


def _by_class(images: Sequence[LabelledImage]) -> dict[int, list[LabelledImage]]:
    """Return the images that show each class, by its id, in order."""
    shown = [({defect.class_id for defect in image.defects}, image) for image in images]
    ids = sorted(set().union(*(own for own, _ in shown)))
    return {class_id: [image for own, image in shown if class_id in own] for class_id in ids}


def standardise_crop(picture: Picture) -> NDArray[np.float32]:
    """Return the whole picture with mean 0 and deviation 1, as the network sees it; (H, W, C)."""
    mean, deviation = picture.light
    return np.asarray((picture.pixels - mean) / deviation, np.float32)


def group_by_class(pictures: Sequence[Picture]) -> dict[str, list[Picture]]:
    """Return the defective pictures of each class; classes take turns in what is learned.

    A picture of two classes is in both groups.
    """
    groups: dict[str, list[Picture]] = {}
    for picture in pictures:
        for name in picture.masks:
            groups.setdefault(name, []).append(picture)
    return groups


def crop_defect(
    rng: Rng, groups: Mapping[str, Sequence[Picture]], side: int, variation: Variation | None
) -> Crop:
    """Cut a crop of ``side`` px with a place of a defect, up to a quarter off its middle.

    Every class, image of a class and connected defect of an image is as likely as any other;
    ``groups`` are those of ``group_by_class``. Without a variation the crop is as it is.
    """
    name = str(rng.choice(sorted(groups)))
    picture = groups[name][int(rng.integers(len(groups[name])))]
    regions = picture.regions[name]
    places = regions[int(rng.integers(len(regions)))]
    row, column = places[int(rng.integers(len(places)))] + rng.uniform(-1, 1, 2) * side * MIN_SEEN
    height, width = picture.mask.shape
    centre = _keep_inside(row, height, side), _keep_inside(column, width, side)
    return _cut(rng, picture, centre, side, variation)


def crop_good(
    rng: Rng, pictures: Sequence[Picture], side: int, variation: Variation | None
) -> Crop:
    """Cut a crop of ``side`` px anywhere out of one of the good pictures, each as likely."""
    picture = pictures[int(rng.integers(len(pictures)))]
    row, column = (rng.uniform(0, length) for length in picture.mask.shape)
    height, width = picture.mask.shape
    centre = _keep_inside(row, height, side), _keep_inside(column, width, side)
    return _cut(rng, picture, centre, side, variation)


def _keep_inside(at: float, length: int, side: int) -> float:
    half = min(side, length) / 2
    return float(np.clip(at, half, length - half))


def _cut(
    rng: Rng,
    picture: Picture,
    centre: tuple[float, float],
    side: int,
    variation: Variation | None,
) -> Crop:
    """Sample the crop straight out of the whole image; beyond its edges it is mirrored."""
    y, x = np.mgrid[:side, :side].astype(np.float32) - (side - 1) / 2
    if variation is not None:
        y, x = _bend(rng, y, x, variation)
    elif min(picture.mask.shape) >= side:  # no half pixels: the crop is the image's own pixels
        centre = (
            round(centre[0] - side / 2) + (side - 1) / 2,
            round(centre[1] - side / 2) + (side - 1) / 2,
        )
    maps = (x + np.float32(centre[1]), y + np.float32(centre[0]))
    edge = cv2.BORDER_REFLECT_101
    pixels = cv2.remap(picture.pixels, *maps, cv2.INTER_LINEAR, borderMode=edge)
    truth = cv2.remap(picture.mask.view(np.uint8), *maps, cv2.INTER_NEAREST, borderMode=edge)
    mean, deviation = picture.light
    levels = ((pixels.astype(np.float32) - mean) / deviation).reshape(side, side, -1)
    if variation is not None:  # other light, then noise on every second crop, blur on every fifth
        contrast = float(1.33 ** rng.uniform(-1, 1))  # up or down by a third at most
        levels = levels * contrast + float(rng.normal(0, variation.light))
        if rng.random() < 0.5:
            strength = float(rng.uniform(0, variation.noise))
            levels = levels + strength * rng.standard_normal(levels.shape, np.float32)
        if rng.random() < 0.2:
            blurred = cv2.GaussianBlur(levels, (0, 0), float(rng.uniform(0.4, 1.2)))
            levels = blurred.reshape(levels.shape)
    return levels.astype(np.float32), truth.astype(np.float32)


def _bend(
    rng: Rng, y: NDArray[np.float32], x: NDArray[np.float32], variation: Variation
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn, scale, mirror and bend the places (S, S) that a crop is sampled at."""
    turn = np.deg2rad(rng.uniform(-1, 1) * variation.turn_deg)
    zoom = variation.scale ** rng.uniform(-1, 1)
    flips = rng.choice([-1.0, 1.0], 2)
    cosine, sine = np.float32(np.cos(turn) * zoom), np.float32(np.sin(turn) * zoom)
    new_x = np.float32(flips[0]) * (cosine * x - sine * y)
    new_y = np.float32(flips[1]) * (sine * x + cosine * y)
    field = rng.normal(0, variation.bend_px, (GRID, GRID, 2)).astype(np.float32)
    shift = cv2.resize(field, x.shape, interpolation=cv2.INTER_CUBIC)
    return new_y + shift[..., 0], new_x + shift[..., 1]
