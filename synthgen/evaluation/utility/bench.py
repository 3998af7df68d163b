"""The bench: real images read once; a model trained on an arm's draw and scored on held-out ones.

Arms of one seed share the draw of real defects and the validation part, their n-th models also the
initial weights and the order of real crops: their differences are paired.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from synthgen.errors import ConfigError
from synthgen.evaluation.inspectors.fitting import ComputePlace
from synthgen.evaluation.inspectors.models import MODELS
from synthgen.evaluation.inspectors.prediction import Boxes, Predictor
from synthgen.evaluation.realism.filtering import find_most_real
from synthgen.evaluation.utility import scores
from synthgen.evaluation.utility.arms import Arm, Draw, Synthesis, make_synthesis
from synthgen.evaluation.utility.learning import Examples
from synthgen.evaluation.utility.pictures import (
    Tally,
    carve_validation,
    classes_of,
    cut_good_areas,
    draw_budget,
    tally,
)
from synthgen.evaluation.utility.settings import GOOD_ONLY, TrainingJob, UtilitySettings
from synthgen.quality.near_duplicates import bits_between, perceptual_hash
from synthgen.realdata.read import read_real
from synthgen.samples.seeds import stream
from synthgen.training.inspection import standardise_crop
from synthgen.training.pictures import Picture, read_pictures

__all__ = ["Bench"]

Report = Callable[[str, int, int], None]
MIN_GOOD = 2 / 3  # of the crop's side: good surface cut out where there are no good images
GOOD_CROP_PX = 96  # that crop's side where the settings leave it to the inspection model
MIRRORS: tuple[tuple[int, ...], ...] = ((), (1,), (0,), (0, 1))  # axes that are flipped
SYNTHETIC_LOOKS = 40  # whole synthetic images, and as many good ones, that a threshold is set on


class Bench:
    """The real images, read once, and what is done with them for each model.

    Raises ConfigError where a split has no image with a defect, or nothing good to learn from, and
    SourceError for images that cannot be read.
    """

    def __init__(self, settings: UtilitySettings) -> None:
        self._settings = settings
        images = read_real(settings.real, key="evaluate.real")
        wanted = (settings.learn_split, settings.score_split)
        kept = [image for image in images if image.split in wanted]
        split_of = {image.image_id: image.split for image in kept}
        pictures = read_pictures(kept)
        self._learn = [p for p in pictures if split_of[p.name] == settings.learn_split]
        self._score = [p for p in pictures if split_of[p.name] == settings.score_split]
        for split, own in zip(wanted, (self._learn, self._score), strict=True):
            if not any(p.masks for p in own):
                raise ConfigError(f"the split {split!r} of evaluate.real needs images with defects")
        if all(p.masks for p in self._learn):
            least = round((settings.training.crop_px or GOOD_CROP_PX) * MIN_GOOD)
            areas = cut_good_areas(self._learn, least)
            if not areas:
                raise ConfigError(
                    f"the split {settings.learn_split!r} of evaluate.real needs good images, or "
                    f"ones with {least} px a side free of defects"
                )
            self._learn += areas

    @property
    def class_ids(self) -> dict[str, int]:
        """The defect classes of all images, numbered by name from 1."""
        names = classes_of([*self._learn, *self._score])
        return {name: number for number, name in enumerate(names, start=1)}

    @property
    def scored(self) -> list[Tally]:
        """What models are scored on: images and physical parts of each class."""
        return tally(self._score)

    def draw(self, budget: int | None, seed: int) -> Draw:
        """Return what a seed and a budget (None = all) give all arms; no group is on both sides."""
        fraction = self._settings.validation_fraction
        held = carve_validation(self._learn, fraction, seed)
        open_ = [picture for picture in self._learn if picture.group not in held]
        return Draw(
            draw_budget(open_, budget, seed),
            [picture for picture in open_ if not picture.masks],
            [picture for picture in self._learn if picture.group in held],
        )

    def run(self, job: TrainingJob, steps: int, report: Report) -> dict[str, Any]:
        """Train one model, score it and return its row; ``report`` gets name, done, of how many.

        Scores are fractions 0..1 and ``nearest_bits`` is of 64; ``train_s`` and ``score_s`` are
        seconds of wall clock, ``cpu_s`` those of all threads. Scores on synthetic images are there
        for arms that have some.
        """
        begun, cpu_begun = time.perf_counter(), time.process_time()
        draw = self.draw(job.budget, job.seed)
        is_good_only = job.arm == GOOD_ONLY and MODELS[job.inspector].is_good_only
        arm = None if is_good_only else self._settings.chosen[job.arm]
        synthesis = None
        if arm is not None and arm.is_synthetic:
            runs = arm.runs_at(job.shown_budget, job.seed)
            side = MODELS[job.inspector].training(self._settings.training, steps).crop_px
            drop = arm.mixes.drop_least_real
            keep = partial(find_most_real, real=draw.defects, drop=drop, seed=job.seed)
            synthesis = make_synthesis(arm, draw, runs, side, keep if drop else None)
        look = self._train(job, arm or Arm(), draw, synthesis, steps, report)
        trained = time.perf_counter()
        row: dict[str, Any] = {"inspector": job.inspector, "arm": job.arm}
        row |= {"budget": job.shown_budget, "seed": job.seed, "model": job.model}
        row |= self._judge(look, draw)
        row |= self._judge_synthetic(look, draw, synthesis, job.seed, row)
        row |= {
            "real_defect_images": len(draw.defects) if arm is not None and arm.real else 0,
            "train_s": trained - begun,
            "score_s": time.perf_counter() - trained,
            "cpu_s": time.process_time() - cpu_begun,
        }
        row.pop("curve")
        return row

    def validate(self, job: TrainingJob, steps: int, report: Report) -> float:
        """Train one model without synthetic defects; return its pixel AP on the validation part.

        The images to score on are not looked at.
        """
        draw = self.draw(job.budget, job.seed)
        look = self._train(job, Arm(), draw, None, steps, report)
        found, _ = self._look(look, draw.validation)
        return scores.pool(found, [p.mask for p in draw.validation]).average_precision()

    def _train(
        self,
        job: TrainingJob,
        arm: Arm,
        draw: Draw,
        synthesis: Synthesis | None,
        steps: int,
        report: Report,
    ) -> Predictor:
        settings, row = self._settings, MODELS[job.inspector]
        training = row.training(settings.training, steps)
        return row.train(
            Examples(training, arm, draw, synthesis, job.luck),
            draw.good[0].pixels.shape[2],
            ComputePlace(settings.place, settings.precision),
            lambda done, total: report(job.name, done, total),
        )

    def _look(
        self, look: Predictor, pictures: Sequence[Picture]
    ) -> tuple[list[Any], list[Boxes | None]]:
        """Return the map of each picture, as levels, and the boxes where the model draws them."""
        maps, boxes = [], []
        axes = MIRRORS[: self._settings.mirrors]
        for picture in pictures:
            pixels = standardise_crop(picture)
            first = look(pixels)
            total = first.logits.copy()
            for own in axes[1:]:
                total += np.flip(look(np.ascontiguousarray(np.flip(pixels, own))).logits, own)
            maps.append(scores.to_score_levels(total / np.float32(len(axes))))
            boxes.append(first.boxes)
        return maps, boxes

    def _judge(self, look: Predictor, draw: Draw) -> dict[str, Any]:
        """Score on the held-out images; the threshold is the best one of the validation part."""
        maps, boxes = self._look(look, self._score)
        masks = [p.mask for p in self._score]
        pooled = scores.pool(maps, masks)
        held, _ = self._look(look, draw.validation)
        validation = scores.pool(held, [p.mask for p in draw.validation])
        threshold = validation.best_threshold()
        tops, held_tops = (
            [scores.top_mean(levels, self._settings.top_fraction) for levels in own]
            for own in (maps, held)
        )
        precision, recall = scores.precision_recall_at(pooled, threshold)
        found = [
            scores.boxes_above(levels, threshold) if own is None else own
            for levels, own in zip(maps, boxes, strict=True)
        ]
        return {
            "pixel_ap": pooled.average_precision(),
            "best_f1": float(pooled.f1().max()),
            "f1": scores.f1_at(pooled, threshold),
            "threshold": scores.to_probability(threshold),
            "precision": precision,
            "recall": recall,
            "best_threshold": scores.to_probability(pooled.best_threshold()),
            "pro": scores.pro(maps, masks, pooled),
            "box_ap": scores.score_boxes(found, masks),
            **scores.score_images(tops, [bool(p.masks) for p in self._score]),
            **scores.score_image_threshold(
                (held_tops, [bool(p.masks) for p in draw.validation]),
                (tops, [bool(p.masks) for p in self._score]),
            ),
            **scores.score_classes(self._score, maps),
            "validation_ap": validation.average_precision(),
            "curve": pooled,
        }

    def _judge_synthetic(
        self,
        look: Predictor,
        draw: Draw,
        synthesis: Synthesis | None,
        seed: int,
        row: Mapping[str, Any],
    ) -> dict[str, float]:
        """Return F1 at a threshold set on synthetic images alone (as FLASH, arXiv:2609.37314),
        and the fraction of synthetic defects that repeat a real one."""
        if synthesis is None:
            return {}
        rng = stream(seed, "threshold")
        made = [synthesis.whole(rng, number) for number in range(SYNTHETIC_LOOKS)]
        clean = [p for p in draw.validation if not p.masks][:SYNTHETIC_LOOKS]
        maps, _ = self._look(look, [*made, *clean])
        pooled = scores.pool(maps, [p.mask for p in [*made, *clean]])
        threshold = pooled.best_threshold()
        found = {"f1_synthetic_threshold": scores.f1_at(row["curve"], threshold)}
        found["synthetic_threshold"] = scores.to_probability(threshold)
        hashes = [  # of the real defects, mirrored and turned, too
            _hash(picture, turn, mirrored)
            for picture in draw.defects
            for turn in range(4)
            for mirrored in (False, True)
        ]
        if hashes:
            nearest = [min(bits_between(_hash(one), real) for real in hashes) for one in made]
            is_copy = [bits <= self._settings.memorised_bits for bits in nearest]
            found["memorised"] = float(np.mean(is_copy))
            found["nearest_bits"] = float(np.median(nearest))
        return found


def _hash(picture: Picture, turn: int = 0, mirrored: bool = False) -> str:
    pixels, mask = np.rot90(picture.pixels, turn), np.rot90(picture.mask, turn)
    if mirrored:
        pixels, mask = pixels[:, ::-1], mask[:, ::-1]
    shown = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    return perceptual_hash(np.ascontiguousarray(shown), np.ascontiguousarray(mask))
