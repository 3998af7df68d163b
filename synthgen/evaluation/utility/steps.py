"""How long to train: steps at which classical augmentation has converged, by held-back images.

The images are held back from the training split; those to score on are never looked at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from synthgen.errors import RunError
from synthgen.evaluation.inspectors.models import MODELS, InspectionModel
from synthgen.evaluation.utility.bench import Bench, Report
from synthgen.evaluation.utility.settings import TrainingJob, UtilitySettings
from synthgen.storage.files import read_json, write_text

__all__ = ["ChosenSteps", "choose_steps", "find_steps", "read_steps"]

FILE = "steps.json"
DRAWS = (1_000_001, 1_000_002)  # seeds of the draws that steps are chosen on; no arm's own
WORTH = 0.01  # pixel AP: what doubling the steps has to gain
FALLBACK = 5  # real defects a class, where no budget has any
CLASSICAL = "classical"


@dataclass(frozen=True, kw_only=True)
class ChosenSteps:
    """The steps of one inspection model; ``tried``: steps to mean pixel AP on held-back images.

    Without ``tried`` they are what the settings said. ``seconds``: what looking took.
    """

    steps: int
    tried: Mapping[int, float]
    seconds: float = 0.0

    @property
    def told(self) -> str:
        """In words, for the report."""
        if not self.tried:
            return f"{self.steps} steps, as set"
        shown = ", ".join(f"{value * 100:.1f} after {steps}" for steps, value in self.tried.items())
        last = max(self.tried)
        note = "; still gaining" if self.steps == last else ""
        return (
            f"{self.steps} steps: pixel AP of classical augmentation on held-back training images "
            f"{shown}{note} ({self.seconds:.0f} s)"
        )


def choose_steps(scores: Mapping[int, float], worth: float = WORTH) -> int:
    """Return the fewest steps that no longer training betters by ``worth``; the last if none.

    >>> choose_steps({50: 0.40, 100: 0.62, 200: 0.66, 400: 0.665})
    200
    """
    steps = sorted(scores)
    for number, own in enumerate(steps[:-1]):
        if all(scores[more] < scores[own] + worth for more in steps[number + 1 :]):
            return own
    return steps[-1]


def find_steps(settings: UtilitySettings, bench: Bench, report: Report) -> dict[str, ChosenSteps]:
    """Return the steps of each inspection model, and write those that were not known yet.

    ``steps.json`` in the folder keeps them, so that all models of a folder are trained alike.
    """
    path = Path(settings.folder) / FILE
    known = read_steps(Path(settings.folder))
    for row in settings.inspectors:
        if row.name in known:
            continue
        if row.is_good_only:
            known[row.name] = ChosenSteps(steps=0, tried={})
        elif settings.training.steps is not None:
            known[row.name] = ChosenSteps(steps=settings.training.steps, tried={})
        else:
            known[row.name] = _look_for_steps(settings, bench, row, report)
        write_text(path, _to_json(known))
    return known


def read_steps(folder: Path) -> dict[str, ChosenSteps]:
    """Return the steps that a folder's models were trained with; {} before the first."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        return {
            name: ChosenSteps(
                steps=int(one["steps"]),
                tried={int(steps): float(score) for steps, score in one["tried"].items()},
                seconds=float(one["seconds"]),
            )
            for name, one in read_json(path).items()
            if name in MODELS
        }
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}); delete it, or give another folder") from error


def _to_json(known: Mapping[str, ChosenSteps]) -> str:
    plain = {name: asdict(one) for name, one in known.items()}
    return json.dumps(plain, indent=1) + "\n"


def _look_for_steps(
    settings: UtilitySettings, bench: Bench, row: InspectionModel, report: Report
) -> ChosenSteps:
    """Double the steps while that gains a point; the budget is the largest that is compared."""
    budgets = [budget for budget in (*settings.budgets, *settings.curve) if budget]
    largest = max(budgets, key=lambda b: float("inf") if b == "all" else int(b), default=FALLBACK)
    budget = None if largest == "all" else int(largest)
    begun, tried = time.perf_counter(), dict[int, float]()
    for steps in row.tried_steps:
        jobs = [TrainingJob(row.name, CLASSICAL, budget, seed) for seed in DRAWS]
        tried[steps] = float(np.mean([bench.validate(job, steps, report) for job in jobs]))
        if choose_steps(tried) != steps:
            break  # the steps before were enough
    return ChosenSteps(steps=choose_steps(tried), tried=tried, seconds=time.perf_counter() - begun)
