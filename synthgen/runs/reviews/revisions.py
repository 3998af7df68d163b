"""What a run still has to make: samples that are not there, and those that people rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synthgen.progress import stage
from synthgen.runs.folder import RunFolder
from synthgen.runs.reviews.verdicts import REJECT, judge, read_verdicts
from synthgen.samples.sample import SampleSpec
from synthgen.samples.seeds import revise

__all__ = ["Work", "find_work"]


@dataclass(frozen=True, slots=True)
class Work:
    """``specs``: what is to be made, in the order of the plan. ``notes``: sentences on it."""

    specs: Sequence[SampleSpec]
    notes: Sequence[str]


@stage("looking what is there already")
def find_work(run: RunFolder, specs: Sequence[SampleSpec], is_varied: bool) -> Work:
    """Return what is left to make of a plan.

    A sample whose newest revision people rejected is made again as the next revision. Good images
    are made again only with ``is_varied``, which paints all of them: else the same photo would be
    copied once more.
    """
    there = run.revisions()
    judged = judge(read_verdicts(run.storage.location), there)
    rejected = {name for name, own in judged.items() if own.verdict == REJECT}
    again = [spec for spec in specs if spec.sample_id in rejected]
    stays = {spec.sample_id for spec in again if spec.is_defect_free and not is_varied}
    todo = [
        revise(spec, there[spec.sample_id] + 1) if spec.sample_id in there else spec
        for spec in specs
        if spec.sample_id not in there or spec.sample_id in rejected - stays
    ]
    notes = []
    if count := len(again) - len(stays):
        notes.append(f"{count} samples that people rejected are made again")
    if stays:
        notes.append(
            f"{len(stays)} good images that people rejected stay as they are, since nothing was "
            "painted on them; export include=reviewed leaves them out"
        )
    return Work(todo, notes)
