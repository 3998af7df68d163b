"""Retries: what is changed for a sample that was rejected, and what is kept of its tries.

*noise* paints the same condition from other noise, *stronger* also raises guidance and strength,
*place* draws shape and place again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, get_args

from synthgen.samples.sample import Attempt, Failure, Sample, SampleSpec, Status, Try

__all__ = ["FIRST", "RETRIES", "Retry", "add_try", "plan_retry"]

Retry = Literal["noise", "stronger", "place"]
FIRST, STRONGER, PLACE = "first", "stronger", "place"
RETRIES: tuple[Retry, ...] = get_args(Retry)


def plan_retry(outcomes: Iterable[Sample | Failure], step: str) -> list[tuple[SampleSpec, Attempt]]:
    """Return the next try of each sample that was rejected."""
    orders = []
    for outcome in outcomes:
        if outcome.status is not Status.REJECTED:
            continue
        if step != PLACE and not outcome.tries[-1].measurements:
            continue  # it found no room: only another place helps
        steps = [*(one.step for one in outcome.tries), step]
        # A new place is first painted as strongly as planned: only what came after it counts.
        after_place = steps[::-1].index(PLACE) if PLACE in steps else len(steps)
        stronger = steps[len(steps) - after_place :].count(STRONGER)
        orders.append((outcome.spec, Attempt(len(steps) - 1, steps.count(PLACE), stronger)))
    return orders


def add_try(
    before: Sample | Failure | None, outcome: Sample | Failure, step: str
) -> Sample | Failure:
    """Return what is kept of a sample after a try: the last image, and the notes of all tries."""
    kept = outcome
    if isinstance(outcome, Failure):
        one = Try(outcome.attempt, step, (outcome.reason,), ())
        if isinstance(before, Sample):
            kept = before  # its image is still the last one
    else:
        reasons, measurements = outcome.reasons, outcome.measurements
        one = Try(outcome.attempt, step, reasons, measurements, outcome.boost)
    return replace(kept, tries=(*(before.tries if before else ()), one))
