"""The whole flow on one page: specs in, Samples out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
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
from synthgen.sample import Candidate, Condition, Failure, Sample, SampleSpec, Status

__all__ = ["Stages", "batched", "generate"]

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Stages:
    """What the flow is made of. ``attempts``: how often a sample is tried before it is left."""

    condition: Callable[[SampleSpec], Condition]
    backend: Backend
    limits: Limits
    batch_size: int = 8
    attempts: int = 3


def generate(specs: Iterable[SampleSpec], stages: Stages) -> Iterator[Sample | Failure]:
    """Yield one Sample per spec, in order; rejected ones too, with their reasons.

    A rejected sample is tried again with new noise and another place, ``stages.attempts`` times in
    all; the last try is the one that is kept. A spec that cannot be conditioned yields a Failure.
    """
    for batch in batched(specs, stages.batch_size):
        done: dict[str, Sample | Failure] = {}
        pending = batch
        for _ in range(stages.attempts):
            for outcome in _generate_batch(pending, stages):
                done[outcome.spec.sample_id] = outcome
            latest = [done[spec.sample_id] for spec in pending]
            pending = [
                replace(outcome.spec, attempt=outcome.spec.attempt + 1)
                for outcome in latest
                if outcome.status is Status.REJECTED
            ]
            if not pending:
                break
        yield from (done[spec.sample_id] for spec in batch)


def _generate_batch(specs: Sequence[SampleSpec], stages: Stages) -> Iterator[Sample | Failure]:
    started = time.perf_counter()
    conditions: list[Condition] = []
    for spec in specs:
        try:
            conditions.append(stages.condition(spec))
        except (SourceError, PlacementError) as error:
            yield Failure(spec, str(error))
    conditioned = time.perf_counter()
    images = stages.backend.paint(conditions)
    painted = time.perf_counter()
    share = max(1, len(conditions))
    for condition, image in zip(conditions, images, strict=True):
        begun = time.perf_counter()
        candidate = _compose(condition, image)
        view = view_change(candidate)
        measurements = measure(candidate, view)
        reasons = reasons_to_reject(measurements, stages.limits)
        annotations = annotate(candidate, view)
        yield Sample(
            candidate,
            measurements,
            reasons,
            annotations,
            durations_s={
                "condition": (conditioned - started) / share,
                "paint": (painted - conditioned) / share,
                "inspect": time.perf_counter() - begun,
            },
        )


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
