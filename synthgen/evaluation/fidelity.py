"""Fidelity: does a backend paint what it is asked for, where it is asked, and nothing else?

One loop over a fixed, seeded set of conditions. Each is painted once as configured; some of them,
the *probes*, also from noise, without the control image, with another class in the prompt, with
other noise, and with other numbers of steps. One row of scores per condition comes out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.backends.diffusion.backend import DiffusionBackend
from synthgen.conditioning.conditioner import Conditioner
from synthgen.conditioning.control.controls import Control
from synthgen.errors import ConfigError, SourceError
from synthgen.evaluation.classifier import Classifier, train_classifier
from synthgen.evaluation.distance import check_extractor
from synthgen.evaluation.scores import (
    border_ratio,
    in_mask_difference,
    texture_deviation,
)
from synthgen.generation.generate import batched, compose
from synthgen.imaging.images import crop_around
from synthgen.planning.plan import DefectClass, draw_plan
from synthgen.planning.prompts import describe
from synthgen.quality.changes import edge_agreement, fill_fraction
from synthgen.quality.measures import measure, view_change
from synthgen.quality.realised import delta_e
from synthgen.realdata.read import read_real
from synthgen.realdata.settings import RealSettings
from synthgen.samples.sample import Candidate, Condition, SampleSpec
from synthgen.samples.seeds import stream
from synthgen.sources import FolderSources, ProceduralSources, Sources

__all__ = ["Fidelity", "FidelitySettings", "PhotoSet", "Subject", "measure_fidelity"]

Image = NDArray[np.uint8]
STRICT = ConfigDict(extra="forbid")
DRAWN = "drawn"  # the set of the drawn sources, beside the names of the photographed ones
SEVERITIES = (0.05, 0.25, 0.45, 0.65, 0.85, 1.0)


@checked(frozen=True, config=STRICT)
class PhotoSet:
    """Photos of good parts that the model has not learned from."""

    path: Annotated[str, Field(min_length=1)]
    surface: Annotated[str, Field(min_length=1)]
    defects: RealSettings | None = None  # docs/bank.md


@checked(frozen=True, config=STRICT)
class FidelitySettings:
    """What is measured on how much. ``probes`` of the conditions are painted in every way."""

    folder: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)] = 0
    count: Annotated[int, Field(ge=12)] = 500  # on drawn sources
    photo_count: Annotated[int, Field(ge=0)] = 200  # on photographed ones, over all sets
    probes: Annotated[int, Field(ge=12)] = 144
    steps: tuple[int, ...] = (4, 8, 20)
    lessons: Annotated[int, Field(ge=64)] = 9000  # sketches that the classifier learns from
    sweeps: Annotated[int, Field(ge=1)] = 4  # scenes of each class painted at rising severity
    timed: Annotated[int, Field(ge=1)] = 24  # images per timing
    batch_size: Annotated[int, Field(ge=1)] = 8
    photos: Mapping[str, PhotoSet] = field(default_factory=dict)
    card: bool = False  # put the table into the model's card


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is measured: a backend, and what its conditions are made of.

    ``sources`` are the drawn ones; ``margin_px`` is that of the repaint mask.
    """

    backend: DiffusionBackend
    classes: Mapping[str, DefectClass]
    sources: ProceduralSources
    controls: Mapping[str, Control]  # the first of edges, which are looked for in the result
    margin_px: int

    def plan(self, sources: Sources, count: int, seed: int) -> list[SampleSpec]:
        """Return ``count`` specs, classes evenly mixed, in one split."""
        return draw_plan(sources, self.classes, count, 0, {"all": 1.0}, seed)


@dataclass(frozen=True, slots=True, eq=False)
class Fidelity:
    """What was measured. ``rows``: one per condition; ``crops[set][kind]``: what KID compares.

    ``severities``: the change in the asked mask (Delta E), by class, sweep and asked severity.
    ``accuracy_on_sketches`` is the classifier's on sketches that it has not seen.
    ``images_per_s`` by "<init> <steps>".
    """

    rows: pd.DataFrame
    severities: pd.DataFrame
    crops: Mapping[str, Mapping[str, list[Image]]]
    accuracy_on_sketches: float
    images_per_s: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """One spec and what turns it into a condition."""

    name: str
    conditioner: Conditioner
    spec: SampleSpec


Report = Callable[[str, int, int], None]  # what, done, of how many


def measure_fidelity(settings: FidelitySettings, subject: Subject, report: Report) -> Fidelity:
    """Paint the whole set and score it.

    Raises ConfigError where something is missing that is needed later, SourceError for photos that
    cannot be read, PlacementError where a defect finds no room.
    """
    if len(subject.classes) < 2:
        raise ConfigError("evaluate fidelity tells classes apart; give two or more in defect=[...]")
    check_extractor()
    for steps in settings.steps:
        subject.backend.vary(init="noise", steps=steps)
    scenes = _plan_scenes(settings, subject)
    classifier, on_sketches = _learn_sketches(settings, subject, report)
    painter = _Painter(settings, subject, classifier)
    probed = _pick_probes(scenes, settings)
    done = 0
    for batch in batched(enumerate(scenes), settings.batch_size):
        conditions = [
            (number, scene.name, scene.conditioner(scene.spec)) for number, scene in batch
        ]
        painter.paint([c for _, _, c in conditions], [name for _, name, _ in conditions])
        probes = [(n, c) for n, _, c in conditions if n in probed]
        if probes:
            painter.probe([n for n, _ in probes], [c for _, c in probes])
        done += len(batch)
        report("painting", done, len(scenes))
    for kind, crops in _references(settings, subject):
        painter.crops.setdefault(kind, {})["reference"] = crops
    timed = [scene.conditioner(scene.spec) for scene in scenes[: settings.timed]]
    speeds = _time(subject.backend, timed, settings, report)
    swept = _sweep_severity(scenes, subject, settings, report)
    return Fidelity(pd.DataFrame(painter.rows), swept, painter.crops, on_sketches, speeds)


def _plan_scenes(settings: FidelitySettings, subject: Subject) -> list[_Scene]:
    catalogues: list[tuple[str, Sources, int]] = [(DRAWN, subject.sources, settings.count)]
    names = sorted(settings.photos)
    for number, name in enumerate(names):
        share = settings.photo_count * (number + 1) // len(names)
        share -= settings.photo_count * number // len(names)
        photos = settings.photos[name]
        if share:
            catalogues.append(
                (name, FolderSources(photos.path, photos.surface, foreground="all"), share)
            )
    scenes = []
    for name, catalogue, count in catalogues:
        conditioner = Conditioner(
            catalogue,
            subject.classes,
            subject.controls,
            subject.margin_px,
            subject.backend.family.cell_px,
        )
        plan = subject.plan(catalogue, count, settings.seed)
        scenes += [_Scene(name, conditioner, spec) for spec in plan]
    return scenes


def _pick_probes(scenes: Sequence[_Scene], settings: FidelitySettings) -> set[int]:
    """Return which scenes are probed: of every set and class alike, drawn by the seed."""
    rng = stream(settings.seed, "probes")
    order = rng.permutation(len(scenes))
    groups: dict[tuple[str, str | None], list[int]] = {}
    for number in order:
        scene = scenes[number]
        groups.setdefault((scene.name, scene.spec.defect_class), []).append(int(number))
    share = settings.probes / len(scenes)
    ranked = sorted(  # a group's members are spread evenly over the ranks
        ((place + 0.5) / len(members), key, number)
        for key, members in sorted(groups.items())
        for place, number in enumerate(members)
    )
    return {number for _, _, number in ranked[: round(share * len(scenes))]}


def _learn_sketches(
    settings: FidelitySettings, subject: Subject, report: Report
) -> tuple[Classifier, float]:
    """Return a classifier of sketches and its accuracy on sketches that it has not seen."""
    held_out = max(64, settings.lessons // 10)
    count = settings.lessons + held_out
    drawn = ProceduralSources(count, subject.sources.size_hw, seed=settings.seed + 1)
    conditioner = Conditioner(drawn, subject.classes, subject.controls, margin_px=0)
    crops, befores, labels = [], [], []
    for spec in subject.plan(drawn, count, settings.seed + 1):
        condition = conditioner(spec)
        crops.append(crop_around(condition.sketch, condition.defect_mask))
        befores.append(crop_around(condition.image, condition.defect_mask))
        labels.append(str(spec.defect_class))
        report("sketches to learn from", len(crops), count)
    last = settings.lessons
    classifier = train_classifier(
        crops[:last],
        befores[:last],
        labels[:last],
        settings.seed,
        report=lambda share: report("learning the sketches", round(share * 100), 100),
    )
    found = classifier.classify(crops[last:], befores[last:])
    right = [one == other for one, other in zip(found, labels[last:], strict=True)]
    return classifier, float(np.mean(right))


class _Painter:
    """Paints batches in every asked way and keeps the scores, a row per condition."""

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
        """Paint as configured; start a row for each condition."""
        self._finished = _finish(self.backend, conditions)
        self._first = len(self.rows)
        found = self._classify(self._finished)
        sketched = [compose(condition, condition.sketch) for condition in conditions]
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
        """Paint these conditions of the last batch in the other ways; fill up their rows."""
        others = [self._with_other_prompt(c) for c in conditions]
        boxed = [self._with_box(c) for c in conditions]
        again = [candidate for c in conditions for candidate in _finish(self.backend, [c])]
        reseeded = [_with_other_noise(c) for c in conditions]
        other_seed = _finish(self.backend, reseeded)
        finished = {
            "noise": _finish(self.noise, conditions),
            "free": _finish(self.free, conditions),
            "box": _finish(self.noise, boxed),
            "box_free": _finish(self.free, boxed),
        }
        for steps in self.settings.steps:
            finished[f"steps_{steps}"] = _finish(self.noise.vary(steps=steps), conditions)
        answers = {name: self._classify(candidates) for name, candidates in finished.items()}
        answers["swapped"] = self._classify(_finish(self.noise, others))
        answers["swapped_free"] = self._classify(_finish(self.free, others))
        answers["reseeded_free"] = self._classify(_finish(self.free, reseeded))
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
        return _with_own_prompt(other, self.subject.classes)

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


def _with_own_prompt(condition: Condition, classes: Mapping[str, DefectClass]) -> Condition:
    """Return the condition with the prompt that its spec's class and severity have."""
    spec, surface = condition.spec, condition.source.surface
    prompt = describe(classes[str(spec.defect_class)].noun, spec.severity, surface)
    return replace(condition, spec=replace(spec, prompt=prompt))


def _with_other_noise(condition: Condition) -> Condition:
    return replace(condition, spec=replace(condition.spec, seed=condition.spec.seed ^ 1))


def _finish(backend: DiffusionBackend, conditions: Sequence[Condition]) -> list[Candidate]:
    """Return the finished images as a run would write them, with their realised masks."""
    painted = backend.paint(conditions)
    return [compose(c, image) for c, image in zip(conditions, painted, strict=True)]


def _references(settings: FidelitySettings, subject: Subject) -> Iterator[tuple[str, list[Image]]]:
    """Yield, per set, crops of what is to be resembled: renders with grain, or real defects."""
    seed = settings.seed + 2
    drawn = ProceduralSources(settings.count, subject.sources.size_hw, seed=seed)
    conditioner = Conditioner(drawn, subject.classes, subject.controls, detail=True)
    crops = []
    for spec in subject.plan(drawn, settings.count, seed):
        condition = conditioner(spec)
        crops.append(crop_around(condition.sketch, condition.defect_mask))
    yield DRAWN, crops
    for name, photos in sorted(settings.photos.items()):
        if photos.defects is not None:
            yield name, list(_cut_defects(photos.defects, name))


def _cut_defects(real: RealSettings, name: str) -> Iterator[Image]:
    """Yield the crop around the defects of each photo that has some."""
    marked = [image for image in read_real(real) if image.defects]
    if not marked:
        raise SourceError(f"evaluate.photos.{name}.defects names no photo of a defect")
    for image in marked:
        mask = np.any([defect.mask for defect in image.defects], axis=0)
        yield crop_around(image.read_rgb(), mask)


def _sweep_severity(
    scenes: Sequence[_Scene], subject: Subject, settings: FidelitySettings, report: Report
) -> pd.DataFrame:
    """Paint some scenes of each class at rising severity, all else alike."""
    chosen: list[_Scene] = []
    for name in sorted(subject.classes):
        chosen += [s for s in scenes if s.spec.defect_class == name][: settings.sweeps]
    rows: list[dict[str, Any]] = []
    for number, scene in enumerate(chosen, start=1):
        specs = [replace(scene.spec, severity=severity) for severity in SEVERITIES]
        conditions = [_with_own_prompt(scene.conditioner(s), subject.classes) for s in specs]
        for candidate in _finish(subject.backend, conditions):
            condition = candidate.condition
            change = delta_e(condition.image, candidate.image)[condition.defect_mask]
            rows.append(
                {
                    "defect_class": condition.spec.defect_class,
                    "sweep": number,
                    "severity": condition.spec.severity,
                    "change_delta_e": float(change.mean()),
                }
            )
        report("severity", number, len(chosen))
    return pd.DataFrame(rows)


def _time(
    backend: DiffusionBackend,
    conditions: Sequence[Condition],
    settings: FidelitySettings,
    report: Report,
) -> dict[str, float]:
    """Return images a second, the median of three rounds, in batches, after one to warm up."""
    variants = {f"{backend.painting.init} {backend.painting.steps}": backend} | {
        f"noise {steps}": backend.vary(init="noise", steps=steps) for steps in settings.steps
    }
    speeds = {}
    for number, (name, variant) in enumerate(variants.items(), start=1):
        variant.paint(conditions[:1])
        rounds = []
        for _ in range(3):
            begun = time.perf_counter()
            for batch in batched(conditions, settings.batch_size):
                variant.paint(batch)
            rounds.append(len(conditions) / (time.perf_counter() - begun))
        speeds[name] = statistics.median(rounds)
        report("timing", number, len(variants))
    return speeds
