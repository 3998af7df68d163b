"""Realism as a filter: which synthetic images a probe most surely tells from real defects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synthgen.errors import ConfigError
from synthgen.evaluation.realism.crops import PAINTED, REAL, DefectCrop, cut_crops, deal_folds
from synthgen.evaluation.realism.measure import check_probe, probe_auc, read_features
from synthgen.exporting.labels import LabelledImage, LabelledSet
from synthgen.training.pictures import Picture, read_picture

__all__ = ["drop_least_real", "find_most_real", "rate_realism"]

FOLDS = 5
CROP_PX = 96


def rate_realism(
    painted: Sequence[Picture], real: Sequence[Picture], seed: int = 0
) -> NDArray[np.float64]:
    """Return how likely a probe takes each painted picture for a real one, 0..1, shape (N,).

    The mean over its defects, as in ``synthgen evaluate realism``: the probe that is asked has not
    seen the picture's part. ``real``: what may be learned from, never what is scored on; each crop
    counts mirrored and turned, too. Raises ConfigError where real defects are of fewer than two
    parts, or packages are missing.
    """
    check_probe()
    parts = [{one.group for one in pictures} for pictures in (real, painted)]
    folds = min(FOLDS, *map(len, parts))
    if folds < 2:
        raise ConfigError(
            f"drop_least_real compares with real defects of {len(parts[0])} parts and painted ones "
            f"on {len(parts[1])}; two or more of each are needed"
        )
    ours, theirs = (deal_folds(own, folds, seed) for own in parts)
    shown = [crop for one in real for crop in cut_crops(one, REAL, CROP_PX, ours)]
    made = [crop for one in painted for crop in cut_crops(one, PAINTED, CROP_PX, theirs)]
    values = read_features([view for crop in shown for view in _views(crop)])
    place = np.repeat([crop.fold for crop in shown], len(values) // len(shown))
    own = read_features([crop.pixels for crop in made])
    _, chances = probe_auc(values, own, (place, np.array([crop.fold for crop in made])))
    chances = chances[len(values) :]
    names = np.array([crop.name for crop in made])
    return np.array([np.nanmean(chances[names == one.name]) for one in painted])


def _views(crop: DefectCrop) -> list[NDArray[np.uint8]]:
    """Return the crop turned by right angles, each mirrored, too."""
    turned = [np.rot90(crop.pixels, turn) for turn in range(4)]
    return [np.ascontiguousarray(view) for one in turned for view in (one, one[:, ::-1])]


def find_most_real(
    painted: Sequence[Picture], real: Sequence[Picture], drop: float, seed: int = 0
) -> list[int]:
    """Return the numbers of the painted pictures that stay, in order, when of each class the
    fraction ``drop`` (0..1), its least real, is left out. One of each class stays."""
    chances = rate_realism(painted, real, seed)
    by_class: dict[str, list[int]] = {}
    for number, picture in enumerate(painted):
        by_class.setdefault(min(picture.masks), []).append(number)
    kept: list[int] = []
    for own in by_class.values():
        ranked = sorted(own, key=lambda number: chances[number])
        kept += ranked[min(int(drop * len(own)), len(own) - 1) :]
    return sorted(kept)


def drop_least_real(
    labels: LabelledSet, real: LabelledSet, fraction: float, seed: int = 0
) -> LabelledSet:
    """Return ``labels`` without the least real fraction (0..1) of each class's synthetic images.

    ``real``: real images with defects to compare with, of the training split alone. Good and real
    images of ``labels`` all stay. Raises ConfigError as ``rate_realism``.
    """
    made = [image for image in labels if image.is_synthetic and image.defects]
    shown = [image for image in real if image.defects and not image.is_synthetic]
    pictures = [_read(made, labels.names), _read(shown, real.names)]
    kept = find_most_real(pictures[0], pictures[1], fraction, seed)
    gone = {one.sample_id for one in made} - {made[number].sample_id for number in kept}
    return replace(labels, images=[one for one in labels if one.sample_id not in gone])


def _read(images: Sequence[LabelledImage], names: Mapping[int, str]) -> list[Picture]:
    return [read_picture(image, names) for image in images]
