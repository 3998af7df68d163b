"""Fidelity: does a backend paint what it is asked for, where it is asked, and nothing else?

One loop over a fixed, seeded set of conditions. Each is painted once as configured; some of them,
the *probes*, also from noise, without the control image, with another class in the prompt, with
other noise, and with other numbers of steps. One row of scores per condition comes out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from synthgen.backends.diffusion.backend import DiffusionBackend
from synthgen.conditioning.conditioner import Conditioner
from synthgen.errors import ConfigError, SourceError
from synthgen.evaluation.fidelity.classifier import Classifier, train_classifier
from synthgen.evaluation.fidelity.distance import check_extractor
from synthgen.evaluation.fidelity.probes import ProbePainter, paint_candidates, with_own_prompt
from synthgen.evaluation.fidelity.settings import DRAWN, Fidelity, FidelitySettings, Subject
from synthgen.generation.generate import batched
from synthgen.imaging.images import crop_around
from synthgen.progress import stage, track
from synthgen.quality.realised import delta_e
from synthgen.realdata.read import read_real
from synthgen.samples.arrays import Image
from synthgen.samples.sample import Condition, SampleSpec
from synthgen.samples.seeds import stream
from synthgen.sources import FolderSources, ProceduralSources, Sources

__all__ = ["measure_fidelity"]

SEVERITIES = (0.05, 0.25, 0.45, 0.65, 0.85, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """One spec and what turns it into a condition."""

    name: str
    conditioner: Conditioner
    spec: SampleSpec


def measure_fidelity(settings: FidelitySettings, subject: Subject) -> Fidelity:
    """Paint the whole set and score it.

    Every scene is painted as configured, ``settings.probes`` of them in all other ways too. Raises
    ConfigError where something is missing that is needed later, SourceError for photos that cannot
    be read, PlacementError where a defect finds no room.
    """
    if len(subject.classes) < 2:
        raise ConfigError("evaluate fidelity tells classes apart; give two or more in defect=[...]")
    check_extractor()
    for steps in settings.steps:
        subject.backend.vary(init="noise", steps=steps)
    scenes = _plan_scenes(settings, subject)
    classifier, on_sketches = _learn_sketches(settings, subject)
    painter = ProbePainter(settings, subject, classifier)
    probed = _pick_probes(scenes, settings)
    with stage("painting", len(scenes), unit="images", waiting="first batch under way") as at:
        for batch in batched(enumerate(scenes), settings.batch_size):
            conditions = [
                (number, scene.name, scene.conditioner(scene.spec)) for number, scene in batch
            ]
            painter.paint([c for _, _, c in conditions], [name for _, name, _ in conditions])
            probes = [(n, c) for n, _, c in conditions if n in probed]
            if probes:
                painter.probe([n for n, _ in probes], [c for _, c in probes])
            at.add(len(batch))
    for kind, crops in _references(settings, subject):
        painter.crops.setdefault(kind, {})["reference"] = crops
    timed = [scene.conditioner(scene.spec) for scene in scenes[: settings.timed]]
    speeds = _time(subject.backend, timed, settings)
    swept = _sweep_severity(scenes, subject, settings)
    return Fidelity(
        rows=pd.DataFrame(painter.rows),
        severities=swept,
        crops=painter.crops,
        accuracy_on_sketches=on_sketches,
        images_per_s=speeds,
    )


def _plan_scenes(settings: FidelitySettings, subject: Subject) -> list[_Scene]:
    catalogues: list[tuple[str, Sources, int]] = [(DRAWN, subject.sources, settings.count)]
    names = sorted(settings.photos)
    for number, name in enumerate(names):
        fraction = settings.photo_count * (number + 1) // len(names)
        fraction -= settings.photo_count * number // len(names)
        photos = settings.photos[name]
        if fraction:
            catalogues.append(
                (name, FolderSources(photos.path, photos.surface, foreground="all"), fraction)
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
    fraction = settings.probes / len(scenes)
    ranked = sorted(  # a group's members are spread evenly over the ranks
        ((place + 0.5) / len(members), key, number)
        for key, members in sorted(groups.items())
        for place, number in enumerate(members)
    )
    return {number for _, _, number in ranked[: round(fraction * len(scenes))]}


def _learn_sketches(settings: FidelitySettings, subject: Subject) -> tuple[Classifier, float]:
    """Return a classifier of sketches and its accuracy on sketches that it has not seen."""
    held_out = max(64, settings.examples // 10)
    count = settings.examples + held_out
    drawn = ProceduralSources(count, subject.sources.size_hw, seed=settings.seed + 1)
    conditioner = Conditioner(drawn, subject.classes, subject.controls, margin_px=0)
    crops, befores, labels = [], [], []
    plan = subject.plan(drawn, count, settings.seed + 1)
    for spec in track(plan, "drawing sketches to learn from", unit="sketches"):
        condition = conditioner(spec)
        crops.append(crop_around(condition.sketch, condition.defect_mask))
        befores.append(crop_around(condition.image, condition.defect_mask))
        labels.append(str(spec.defect_class))
    last = settings.examples
    classifier = train_classifier(crops[:last], befores[:last], labels[:last], settings.seed)
    found = classifier.classify(crops[last:], befores[last:])
    right = [one == other for one, other in zip(found, labels[last:], strict=True)]
    return classifier, float(np.mean(right))


def _references(settings: FidelitySettings, subject: Subject) -> Iterator[tuple[str, list[Image]]]:
    """Yield, per set, crops of what is to be resembled: renders with grain, or real defects."""
    seed = settings.seed + 2
    drawn = ProceduralSources(settings.count, subject.sources.size_hw, seed=seed)
    conditioner = Conditioner(drawn, subject.classes, subject.controls, detail=True)
    crops = []
    plan = subject.plan(drawn, settings.count, seed)
    for spec in track(plan, "drawing what to compare with", unit="images"):
        condition = conditioner(spec)
        crops.append(crop_around(condition.sketch, condition.defect_mask))
    yield DRAWN, crops
    for name, photos in sorted(settings.photos.items()):
        if photos.defects is None:
            continue
        key = f"evaluate.photos.{name}.defects"
        marked = [image for image in read_real(photos.defects, key=key) if image.defects]
        if not marked:
            raise SourceError(f"{key} names no photo of a defect")
        crops = []
        for image in marked:
            mask = np.any([defect.mask for defect in image.defects], axis=0)
            crops.append(crop_around(image.read_rgb(), mask))
        yield name, crops


def _sweep_severity(
    scenes: Sequence[_Scene], subject: Subject, settings: FidelitySettings
) -> pd.DataFrame:
    """Paint some scenes of each class at rising severity, all else alike."""
    chosen: list[_Scene] = []
    for name in sorted(subject.classes):
        chosen += [s for s in scenes if s.spec.defect_class == name][: settings.sweeps]
    rows: list[dict[str, Any]] = []
    swept = track(chosen, "painting at rising severity", unit="scenes")
    for number, scene in enumerate(swept, start=1):
        specs = [replace(scene.spec, severity=severity) for severity in SEVERITIES]
        conditions = [with_own_prompt(scene.conditioner(s), subject.classes) for s in specs]
        for candidate in paint_candidates(subject.backend, conditions):
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
    return pd.DataFrame(rows)


def _time(
    backend: DiffusionBackend,
    conditions: Sequence[Condition],
    settings: FidelitySettings,
) -> dict[str, float]:
    """Return images a second, the median of three rounds, in batches, after one to warm up."""
    variants = {f"{backend.painting.init} {backend.painting.steps}": backend} | {
        f"noise {steps}": backend.vary(init="noise", steps=steps) for steps in settings.steps
    }
    speeds = {}
    for name, variant in track(variants.items(), "timing", unit="settings"):
        variant.paint(conditions[:1])
        rounds = []
        for _ in range(3):
            begun = time.perf_counter()
            for batch in batched(conditions, settings.batch_size):
                variant.paint(batch)
            rounds.append(len(conditions) / (time.perf_counter() - begun))
        speeds[name] = statistics.median(rounds)
    return speeds
