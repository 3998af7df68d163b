"""The whole flow on one page: specs in, Samples out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from synthgen.annotate import annotate
from synthgen.backends.backend import Backend
from synthgen.errors import PlacementError, SourceError
from synthgen.images import composite, to_rgb8
from synthgen.quality.limits import Limits, reasons_to_reject
from synthgen.quality.measures import measure, view_change
from synthgen.quality.realised import realise_mask
from synthgen.sample import Candidate, Condition, Failure, Sample, SampleSpec, Status, Try

__all__ = ["RETRIES", "Stages", "batched", "generate"]

Item = TypeVar("Item")
FIRST = "first"
RETRIES = ("noise", "stronger", "place")


@dataclass(frozen=True, slots=True)
class Stages:
    """What the flow is made of.

    ``retries``: what is changed, try by try, for a sample that was rejected: *noise* paints the
    same condition from other noise, *stronger* also raises guidance and strength, *place* draws
    shape and place anew. ``candidates``: paintings a try, of which the best is kept.
    """

    condition: Callable[[SampleSpec], Condition]
    backend: Backend
    limits: Limits
    batch_size: int = 8
    retries: Sequence[str] = RETRIES
    candidates: int = 1


def generate(specs: Iterable[SampleSpec], stages: Stages) -> Iterator[Sample | Failure]:
    """Yield one Sample per spec, in order; rejected ones too, with their reasons.

    A rejected sample is tried again along ``stages.retries``; the last try is the one that is kept,
    all are in ``tries``. A spec that cannot be conditioned yields a Failure.
    """
    for batch in batched(specs, stages.batch_size):
        done: dict[str, Sample | Failure] = {}
        pending = batch
        for step in (FIRST, *stages.retries):
            tried = [spec if step == FIRST else _climb(spec, step) for spec in pending]
            for outcome in _generate_batch(tried, stages):
                name = outcome.spec.sample_id
                earlier = done[name].tries if name in done else ()
                done[name] = replace(outcome, tries=(*earlier, _note(outcome, step)))
            latest = [done[spec.sample_id] for spec in pending]
            pending = [o.spec for o in latest if o.status is Status.REJECTED]
            if not pending:
                break
        yield from (done[spec.sample_id] for spec in batch)


def _climb(spec: SampleSpec, step: str) -> SampleSpec:
    """Return the spec of the next try."""
    spec = replace(spec, attempt=spec.attempt + 1, candidate=0)
    if step == "stronger":
        return replace(spec, push=spec.push + 1)
    return replace(spec, redraw=spec.redraw + 1, push=0) if step == "place" else spec


def _note(outcome: Sample | Failure, step: str) -> Try:
    if isinstance(outcome, Failure):
        return Try(outcome.spec.attempt, step, (outcome.reason,), ())
    return Try(outcome.spec.attempt, step, outcome.reasons, outcome.measurements)


def _generate_batch(specs: Sequence[SampleSpec], stages: Stages) -> Iterator[Sample | Failure]:
    started = time.perf_counter()
    conditions: list[Condition] = []
    for spec in specs:
        try:
            conditions.append(stages.condition(spec))
        except (SourceError, PlacementError) as error:
            yield Failure(spec, str(error))
    conditioned = time.perf_counter()
    asked = [[_again(c, n) for n in range(_paintings(c, stages))] for c in conditions]
    images = iter(stages.backend.paint(list(chain.from_iterable(asked))))
    painted = time.perf_counter()
    share = max(1, len(conditions))
    for variants in asked:
        begun = time.perf_counter()
        best = max((_inspect(c, next(images), stages.limits) for c in variants), key=_rank)
        durations_s = {
            "condition": (conditioned - started) / share,
            "paint": (painted - conditioned) / share,
            "inspect": time.perf_counter() - begun,
        }
        yield replace(best, durations_s=durations_s)


def _paintings(condition: Condition, stages: Stages) -> int:
    return 1 if condition.spec.is_defect_free else stages.candidates


def _again(condition: Condition, number: int) -> Condition:
    return replace(condition, spec=replace(condition.spec, candidate=number))


def _inspect(condition: Condition, painted: NDArray[np.uint8], limits: Limits) -> Sample:
    candidate = _compose(condition, painted)
    view = view_change(candidate)
    measurements = measure(candidate, view)
    reasons = reasons_to_reject(measurements, limits.of(condition.spec.defect_class))
    return Sample(candidate, measurements, reasons, annotate(candidate, view))


def _rank(sample: Sample) -> tuple[bool, float]:
    """Say which of several paintings is kept: one that breaks no limit, then the one whose label
    agrees best with what was asked (IoU)."""
    agreement = [m.value for m in sample.measurements if m.name == "asked_iou"]
    return not sample.reasons, agreement[0] if agreement else 0.0


def _compose(condition: Condition, painted: NDArray[np.uint8]) -> Candidate:
    """Lay what was painted over the source, inside the repaint mask, and see what changed."""
    source = condition.source
    pixels = composite(
        source.pixels, source.window, condition.image, painted, condition.repaint_mask
    )
    image = to_rgb8(pixels, source.window)
    realised = realise_mask(
        condition.image,
        image,
        condition.repaint_mask,
        condition.defect_mask,
        condition.label_close_px,
    )
    return Candidate(condition, pixels, image, realised)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of ``size`` items, the last one shorter.

    >>> list(batched("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
