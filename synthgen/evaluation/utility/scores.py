"""Scores of anomaly maps against masks, on maps whose logits were rounded to 65,536 levels.

Levels make it a matter of counting: torchmetrics would sort 30 million pixels for each score.
``pixel AP`` and ``best F1`` pool all pixels of all images, box AP all boxes; PRO is that of MVTec
AD (Bergmann et al. 2021, IJCV 129, section 5.1): the mean overlap with each connected defect,
integrated over the false positive rate up to 30 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.evaluation.inspectors.prediction import Boxes
from synthgen.training.pictures import MIN_PX, Picture

__all__ = [
    "REACH",
    "LevelCounts",
    "box_regions",
    "boxes_above",
    "f1_at",
    "pool",
    "precision_recall_at",
    "pro",
    "score_boxes",
    "score_classes",
    "score_image_threshold",
    "score_images",
    "to_probability",
    "to_score_levels",
    "top_mean",
]

Levels = NDArray[np.uint16]
Counts = NDArray[np.float64]
STEPS = 65536
REACH = 16.0  # logits beyond +-16 are all the same
MIN_OVERLAP = 0.5  # intersection over union from which a box counts as found: AP50


def to_score_levels(logits: NDArray[np.float32]) -> Levels:
    """Return logits -16..16 as levels 0..65535; those beyond are the first or the last level."""
    scaled = (logits + REACH) * ((STEPS - 1) / (2 * REACH))
    return np.asarray(np.clip(np.rint(scaled), 0, STEPS - 1), np.uint16)


@dataclass(frozen=True, eq=False)
class LevelCounts:
    """How many pixels of each level are defects (``bad``) and are not (``good``), (65536,) each."""

    bad: Counts
    good: Counts

    @cached_property
    def found(self) -> Counts:
        """Defect pixels at or above each level."""
        return np.asarray(np.cumsum(self.bad[::-1])[::-1])

    @cached_property
    def wrong(self) -> Counts:
        """Good pixels at or above each level."""
        return np.asarray(np.cumsum(self.good[::-1])[::-1])

    def average_precision(self) -> float:
        """Return the mean precision over recall, as scikit-learn and torchmetrics; NaN for none."""
        if self.found[0] == 0:
            return math.nan
        precision = self.found / np.maximum(self.found + self.wrong, 1)
        return float((precision * self.bad).sum() / self.found[0])

    def f1(self) -> Counts:
        """Return the F1 at each level as the threshold (at or above = defect)."""
        return np.asarray(2 * self.found / np.maximum(self.found + self.wrong + self.found[0], 1))

    def best_threshold(self) -> int:
        """Return the level with the highest F1."""
        return int(self.f1().argmax())


def pool(maps: Sequence[Levels], masks: Sequence[NDArray[np.bool_]]) -> LevelCounts:
    """Count the pixels of all maps; each mask (H, W) has its map's size."""
    bad, every = np.zeros(STEPS), np.zeros(STEPS)
    for levels, mask in zip(maps, masks, strict=True):
        bad += np.bincount(levels[mask], minlength=STEPS)
        every += np.bincount(levels.ravel(), minlength=STEPS)
    return LevelCounts(bad, every - bad)


def to_probability(level: float) -> float:
    """Return a level as the 0..1 that the sigmoid of its logit is; what users set a threshold on.

    >>> round(to_probability((STEPS - 1) / 2), 3)
    0.5
    """
    return 1 / (1 + math.exp(REACH - level * 2 * REACH / (STEPS - 1)))


def precision_recall_at(pooled: LevelCounts, threshold: int) -> tuple[float, float]:
    """Return precision and recall at a threshold (a level); NaN where nothing is marked, or is."""
    found, wrong = float(pooled.found[threshold]), float(pooled.wrong[threshold])
    every = float(pooled.found[0])
    marked = found + wrong
    return found / marked if marked else math.nan, found / every if every else math.nan


def f1_at(pooled: LevelCounts, threshold: int) -> float:
    """Return the F1 of a threshold (a level) that was found elsewhere, such as in validation."""
    return float(pooled.f1()[threshold])


def pro(
    maps: Sequence[Levels],
    masks: Sequence[NDArray[np.bool_]],
    pooled: LevelCounts,
    limit: float = 0.3,
) -> float:
    """Return the area under the per-region overlap up to a false positive rate of ``limit``, over
    that limit; NaN without a defect."""
    fractions, regions = np.zeros(STEPS), 0
    for levels, mask in zip(maps, masks, strict=True):
        count, labels = cv2.connectedComponents(mask.astype(np.uint8))
        regions += count - 1
        areas = np.bincount(labels.ravel(), minlength=count)
        own = labels[mask]
        fractions += np.bincount(levels[mask], weights=1.0 / areas[own], minlength=STEPS)
    if regions == 0:
        return math.nan
    overlap = np.cumsum(fractions[::-1]) / regions
    rate = pooled.wrong[::-1] / max(pooled.wrong[0], 1)
    rate, overlap = np.append(0.0, rate), np.append(0.0, overlap)
    within = rate <= limit
    end = float(np.interp(limit, rate, overlap))
    xs, ys = np.append(rate[within], limit), np.append(overlap[within], end)
    return float(np.trapezoid(ys, xs) / limit)


def top_mean(levels: Levels, fraction: float) -> float:
    """Return the mean level of the highest ``fraction`` (0..1) of a map: the image's own score.

    At least one pixel counts.
    """
    count = max(1, round(fraction * levels.size))
    flat = levels.ravel()
    return float(np.partition(flat, flat.size - count)[flat.size - count :].mean())


def score_images(scores: Sequence[float], is_bad: Sequence[bool]) -> dict[str, float]:
    """Return AUROC and AP of telling defective images from good ones; NaN where one is missing.

    ``scores`` are those of ``top_mean``, one for each image; the keys are ``image_auroc`` and
    ``image_ap``.
    """
    import torch
    from torchmetrics.functional.classification import binary_auroc, binary_average_precision

    if all(is_bad) or not any(is_bad):
        return {"image_auroc": math.nan, "image_ap": math.nan}
    predicted, truth = torch.tensor(scores) / STEPS, torch.tensor(list(is_bad)).int()
    return {
        "image_auroc": float(binary_auroc(predicted, truth)),
        "image_ap": float(binary_average_precision(predicted, truth)),
    }


def score_image_threshold(
    held: tuple[Sequence[float], Sequence[bool]], scored: tuple[Sequence[float], Sequence[bool]]
) -> dict[str, float]:
    """Return the threshold on images' own scores with the highest F1 on ``held``, as 0..1, and
    precision and recall of ``scored`` there; NaN where there is nothing to divide by.

    Each is the images' ``top_mean`` and whether they are defective.
    """
    tops, is_bad = np.asarray(held[0], float), np.asarray(held[1], bool)
    choices = np.unique(tops)
    f1 = [2 * is_bad[tops >= t].sum() / ((tops >= t).sum() + is_bad.sum()) for t in choices]
    threshold = float(choices[int(np.argmax(f1))])
    marked, truth = np.asarray(scored[0], float) >= threshold, np.asarray(scored[1], bool)
    right = float((marked & truth).sum())
    return {
        "image_threshold": to_probability(threshold),
        "image_precision": right / float(marked.sum()) if marked.any() else math.nan,
        "image_recall": right / float(truth.sum()) if truth.any() else math.nan,
    }


def score_classes(pictures: Sequence[Picture], maps: Sequence[Levels]) -> dict[str, float]:
    """Return the pixel AP of each class: its pixels against good ones, others' left out.

    Only images of the class and good images are looked at. Keys are ``ap_<class>``, by name.
    """
    result: dict[str, float] = {}
    for name in sorted({name for picture in pictures for name in picture.masks}):
        levels, masks = [], []
        for picture, own in zip(pictures, maps, strict=True):
            if not picture.masks or name in picture.masks:
                mask = picture.masks.get(name, np.zeros_like(picture.mask))
                kept = mask | ~picture.mask
                levels.append(own[kept])
                masks.append(mask[kept])
        result[f"ap_{name}"] = pool(levels, masks).average_precision()
    return result


def box_regions(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the boxes (N, 4) of the connected areas of a mask (H, W), x0 y0 x1 y1, half-open.

    Specks under 4 px are left out where there are larger areas.

    >>> box_regions(np.array([[0, 1, 1], [0, 1, 1], [0, 0, 0]], bool)).tolist()
    [[1.0, 0.0, 3.0, 2.0]]
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[1:]  # the first is what is left
    large = areas[areas[:, cv2.CC_STAT_AREA] >= MIN_PX]
    kept = np.asarray((large if len(large) else areas)[:, :4], np.float32).copy()
    kept[:, 2:] += kept[:, :2]
    return kept


def boxes_above(levels: Levels, threshold: int) -> Boxes:
    """Return boxes around what a map marks at a threshold (a level), scored by its highest level.

    Of over 100 areas, those with the highest levels.
    """
    marked = (levels >= threshold).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(marked)
    tops = np.zeros(count, np.float32)
    np.maximum.at(tops, labels.ravel(), levels.ravel().astype(np.float32))
    chosen = 1 + np.argsort(-tops[1:], kind="stable")[:100]
    found = stats[chosen, :4].astype(np.float32)
    found[:, 2:] += found[:, :2]
    return Boxes(found, tops[chosen] / np.float32(STEPS))


def score_boxes(found: Sequence[Boxes], masks: Sequence[NDArray[np.bool_]]) -> float:
    """Return AP50: the average precision of boxes, found from an IoU of .5 with a connected defect.

    ``found`` and ``masks`` (H, W): an entry per image. NaN without a defect.
    """
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    if not any(mask.any() for mask in masks):
        return math.nan
    metric = MeanAveragePrecision(iou_thresholds=[MIN_OVERLAP])
    for boxes, mask in zip(found, masks, strict=True):
        true = torch.from_numpy(box_regions(mask))
        labels = torch.zeros(len(boxes.scores), dtype=torch.int64)
        guess = {"boxes": torch.from_numpy(boxes.xyxy).reshape(-1, 4), "labels": labels}
        guess["scores"] = torch.from_numpy(boxes.scores)
        real = {"boxes": true, "labels": torch.zeros(len(true), dtype=torch.int64)}
        metric.update([guess], [real])
    return float(metric.compute()["map"])
