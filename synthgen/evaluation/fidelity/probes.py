"""Paint conditions as configured and in other ways, and score each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from synthgen.backends.diffusion.backend import DiffusionBackend
from synthgen.evaluation.fidelity.classifier import Classifier
from synthgen.evaluation.fidelity.scores import (
    border_ratio,
    in_mask_difference,
    texture_deviation,
)
from synthgen.evaluation.fidelity.settings import FidelitySettings, Subject
from synthgen.generation.generate import build_candidate
from synthgen.imaging.images import crop_around
from synthgen.planning.plan import DefectClass
from synthgen.planning.prompts import describe
from synthgen.quality.changes import edge_agreement, fill_fraction
from synthgen.quality.measures import measure, view_change
from synthgen.samples.arrays import Image
from synthgen.samples.sample import Candidate, Condition
from synthgen.samples.seeds import stream

__all__ = ["ProbePainter", "paint_candidates", "with_own_prompt"]


class ProbePainter:
    """Paints batches in every asked way and keeps the scores, a row per condition.

    ``rows`` grow with each batch; ``crops`` are by set and by kind of painting, (S, S, 3) uint8.
    """

    def __init__(
        self,
        settings: FidelitySettings,
        subject: Subject,
        classifier: Classifier,
    ) -> None:
        self.settings, self.subject, self.classifier = settings, subject, classifier
        self.backend = subject.backend
        self.noise = self.backend.vary(init="noise")
        self.free = self.backend.vary(init="noise", control_scale=0.0)
        self.rows: list[dict[str, Any]] = []
        self.crops: dict[str, dict[str, list[Image]]] = {}
        self._finished: list[Candidate] = []
        self._first = 0

    def paint(self, conditions: Sequence[Condition], names: Sequence[str]) -> None:
        """Paint as configured; start a row for each condition.

        ``names`` says which set each condition belongs to.
        """
        self._finished = paint_candidates(self.backend, conditions)
        self._first = len(self.rows)
        found = self._classify(self._finished)
        sketched = [build_candidate(condition, condition.sketch) for condition in conditions]
        asked = self._classify(sketched)
        for at, (candidate, name) in enumerate(zip(self._finished, names, strict=True)):
            condition, image = candidate.condition, candidate.image
            mask, repaint = condition.defect_mask, condition.repaint_mask
            border = border_ratio(condition.image, image, repaint)
            texture = texture_deviation(condition.image, image, repaint, mask)
            drawn = texture_deviation(condition.image, sketched[at].image, repaint, mask)
            measured = {m.name: m.value for m in measure(candidate, view_change(candidate))}
            self.rows.append(
                {
                    "set": name,
                    "defect_class": condition.spec.defect_class,
                    "source_id": condition.spec.source_id,
                    "fill": measured["fill_fraction"],
                    "leak": measured["leak_fraction"],
                    "border_painted": border[0],
                    "border_source": border[1],
                    "changed_outside_px": measured["changed_outside_px"],
                    "answer": found[at],
                    "answer_sketch": asked[at],
                    **{f"texture_{key}": value for key, value in texture.items()},
                    **{f"sketch_texture_{key}": value for key, value in drawn.items()},
                }
            )
            kept = self.crops.setdefault(name, {})
            kept.setdefault("painted", []).append(crop_around(image, mask))
            kept.setdefault("sketch", []).append(crop_around(condition.sketch, mask))

    def probe(self, numbers: Sequence[int], conditions: Sequence[Condition]) -> None:
        """Paint these conditions of the last batch in the other ways; fill up their rows.

        ``numbers`` are those of their rows. The other ways: from noise, without control image, with
        a box to repaint, with another class in the prompt, other noise, and other numbers of steps.
        """
        others = [self._with_other_prompt(c) for c in conditions]
        boxed = [self._with_box(c) for c in conditions]
        again = [candidate for c in conditions for candidate in paint_candidates(self.backend, [c])]
        reseeded = [replace(c, spec=replace(c.spec, seed=c.spec.seed ^ 1)) for c in conditions]
        other_seed = paint_candidates(self.backend, reseeded)
        finished = {
            "noise": paint_candidates(self.noise, conditions),
            "free": paint_candidates(self.free, conditions),
            "box": paint_candidates(self.noise, boxed),
            "box_free": paint_candidates(self.free, boxed),
        }
        for steps in self.settings.steps:
            finished[f"steps_{steps}"] = paint_candidates(self.noise.vary(steps=steps), conditions)
        answers = {name: self._classify(candidates) for name, candidates in finished.items()}
        answers["swapped"] = self._classify(paint_candidates(self.noise, others))
        answers["swapped_free"] = self._classify(paint_candidates(self.free, others))
        answers["reseeded_free"] = self._classify(paint_candidates(self.free, reseeded))
        for at, (number, condition) in enumerate(zip(numbers, conditions, strict=True)):
            row, mask = self.rows[number], condition.defect_mask
            first = self._finished[number - self._first]
            row["other_class"] = others[at].spec.defect_class
            row["same_seed"] = in_mask_difference(first.image, again[at].image, mask)
            row["other_seed"] = in_mask_difference(first.image, other_seed[at].image, mask)
            row["edges_sketch"] = _edges(condition, condition.sketch)
            row["edges_painted"] = _edges(condition, first.image)
            for name, candidates in finished.items():
                candidate = candidates[at]
                row[f"edges_{name}"] = _edges(candidate.condition, candidate.image)
                row[f"fill_{name}"] = fill_fraction(candidate.realised_mask, mask)
                kept = self.crops[row["set"]].setdefault(name, [])
                kept.append(crop_around(candidate.image, mask))
            for name, found in answers.items():
                row[f"answer_{name}"] = found[at]

    def _classify(self, candidates: Sequence[Candidate]) -> list[str]:
        crops, befores = [], []
        for candidate in candidates:
            mask = candidate.condition.defect_mask
            crops.append(crop_around(candidate.image, mask))
            befores.append(crop_around(candidate.condition.image, mask))
        return self.classifier.classify(crops, befores)

    def _with_other_prompt(self, condition: Condition) -> Condition:
        spec = condition.spec
        others = sorted(set(self.subject.classes) - {str(spec.defect_class)})
        name = str(stream(spec.seed, "other class").choice(others))
        other = replace(condition, spec=replace(spec, defect_class=name))
        return with_own_prompt(other, self.subject.classes)

    def _with_box(self, condition: Condition) -> Condition:
        """Return the condition with a box to repaint, which says nothing of the shape in it."""
        rows, columns = np.nonzero(condition.repaint_mask)
        box = np.zeros_like(condition.repaint_mask)
        box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        controls = {
            name: control.draw(condition.image, condition.sketch, condition.defect_mask, box)
            for name, control in self.subject.controls.items()
        }
        return replace(condition, repaint_mask=box, controls=controls)


def _edges(condition: Condition, image: Image) -> float:
    return edge_agreement(condition.control_image, condition.image, image, condition.repaint_mask)


def with_own_prompt(condition: Condition, classes: Mapping[str, DefectClass]) -> Condition:
    """Return the condition with the prompt that its spec's class and severity have."""
    spec, surface = condition.spec, condition.source.surface
    prompt = describe(classes[str(spec.defect_class)].noun, spec.severity, surface)
    return replace(condition, spec=replace(spec, prompt=prompt))


def paint_candidates(backend: DiffusionBackend, conditions: Sequence[Condition]) -> list[Candidate]:
    """Return the finished images as a run would write them, with their realised masks.

    One for each condition, in their order; they are painted as one batch.
    """
    painted = backend.paint(conditions)
    return [build_candidate(c, image) for c, image in zip(conditions, painted, strict=True)]
