"""The whole flow on one page: specs in, Samples out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from synthgen.backends.backend import Backend
from synthgen.conditioning.augment import Augment
from synthgen.conditioning.variation import finish_candidate
from synthgen.errors import PlacementError, SourceError
from synthgen.generation.retries import FIRST, RETRIES, add_try, plan_retry
from synthgen.imaging.geometry import nearest_instance
from synthgen.imaging.images import composite, to_rgb8
from synthgen.quality.annotate import annotate, measure_own
from synthgen.quality.bank import DefectBank
from synthgen.quality.limits import Limits, reasons_to_reject
from synthgen.quality.measures import measure, view_change
from synthgen.quality.realised import realise_mask
from synthgen.samples.sample import (
    Attempt,
    Candidate,
    Condition,
    Failure,
    Sample,
    SampleSpec,
)

__all__ = ["Stages", "batched", "build_candidate", "generate"]

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """What the flow is made of.

    ``retries``: what is changed, try by try, for a sample that was rejected. ``candidates``:
    paintings a try, of which the best is kept. ``bank``: real defects that the model has seen,
    which none of its own may repeat. ``finish``: what a camera makes of a finished image; it is
    checked on a source before that is painted.
    """

    condition: Callable[[SampleSpec, Attempt], Condition]
    backend: Backend
    limits: Limits
    batch_size: int = 8
    retries: Sequence[str] = RETRIES
    candidates: int = 1
    bank: DefectBank | None = None
    finish: Augment | None = None


def generate(specs: Iterable[SampleSpec], stages: Stages) -> Iterator[Sample | Failure]:
    """Yield one Sample per spec, in order; rejected ones too, with their reasons.

    A rejected sample is tried again along ``stages.retries``; the last image is the one that is
    kept, all tries are in ``tries``. A spec that comes to no image yields a Failure. Only one
    batch, ``stages.batch_size`` specs, is in memory at once.
    """
    for batch in batched(specs, stages.batch_size):
        done: dict[str, Sample | Failure] = {}
        orders = [(spec, Attempt()) for spec in batch]
        for step in (FIRST, *stages.retries):
            if step != FIRST:
                orders = plan_retry(done.values(), step)
            for outcome in _generate_batch(orders, stages):
                name = outcome.spec.sample_id
                done[name] = add_try(done.get(name), outcome, step)
        yield from (done[spec.sample_id] for spec in batch)


def _generate_batch(
    orders: Sequence[tuple[SampleSpec, Attempt]], stages: Stages
) -> Iterator[Sample | Failure]:
    """Yield what became of each order: first those that came to no condition, then the others."""
    started = time.perf_counter()
    conditions: list[Condition] = []
    for spec, attempt in orders:
        try:
            condition = stages.condition(spec, attempt)
            if stages.finish is not None:
                stages.finish.check(condition.source.pixels)  # before it is painted for nothing
            conditions.append(condition)
        except (SourceError, PlacementError) as error:
            yield Failure(spec, str(error), attempt=attempt)
    conditioned = time.perf_counter()
    asked: list[list[Condition]] = []  # the same condition, once for each of its paintings
    for condition in conditions:
        paintings = 1 if condition.spec.is_defect_free else stages.candidates
        attempts = [replace(condition.attempt, variant=number) for number in range(paintings)]
        asked.append([replace(condition, attempt=attempt) for attempt in attempts])
    images = iter(stages.backend.paint(list(chain.from_iterable(asked))))
    done = time.perf_counter()
    count = max(1, len(conditions))  # these two stages run for all at once: an even share each
    for variants in asked:
        begun = time.perf_counter()
        pairs = zip(variants, list(islice(images, len(variants))), strict=True)
        try:
            best = max((_inspect(c, painted, stages) for c, painted in pairs), key=_rank)
        except SourceError as error:  # a finish that cannot take it, as a crop larger than it is
            yield Failure(variants[0].spec, str(error), attempt=variants[0].attempt)
            continue
        durations_s = {
            "condition": (conditioned - started) / count,
            "paint": (done - conditioned) / count,
            "inspect": time.perf_counter() - begun,
        }
        yield replace(best, durations_s=durations_s)


def _inspect(condition: Condition, painted: NDArray[np.uint8], stages: Stages) -> Sample:
    """Composite, finish, measure, label and judge one painting; raises SourceError (a finish)."""
    candidate = build_candidate(condition, painted)
    if stages.finish is not None:
        owners = nearest_instance(condition.instance_map)
        candidate = finish_candidate(stages.finish, candidate, owners)
    view = view_change(candidate)
    measurements = measure(candidate, view)
    if stages.bank is not None and not condition.spec.is_defect_free:
        measurements = (*measurements, *stages.bank.measure(candidate))
    annotations = annotate(candidate, view)
    measurements = (*measurements, *measure_own(condition, annotations))
    reasons = reasons_to_reject(measurements, stages.limits.of(condition.spec.defect_class))
    return Sample(candidate, measurements, reasons, annotations)


def _rank(sample: Sample) -> tuple[bool, float]:
    """Return the key by which the best of several paintings is kept.

    One that breaks no limit goes first, then the one whose label agrees best with what was asked
    (IoU).
    """
    agreement = [m.value for m in sample.measurements if m.name == "mask_iou"]
    return not sample.reasons, agreement[0] if agreement else 0.0


def build_candidate(condition: Condition, painted: NDArray[np.uint8]) -> Candidate:
    """Lay what was painted over the source, inside the repaint mask, and see what changed.

    ``painted`` (H, W, 3) uint8 RGB, of the condition's size. Its pixels outside the repaint mask
    are dropped, so that the source's stay as they are, bit for bit. A whole image that was varied
    has nothing to label.
    """
    source = condition.source
    pixels = composite(
        source.pixels, source.window, condition.image, painted, condition.repaint_mask
    )
    image = to_rgb8(pixels, source.window)
    if condition.is_whole:
        return Candidate(condition, pixels, image, condition.defect_mask)
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
