"""The protocol: every arm, budget and seed trained alike, scored on real held-out images.

What is finished is on disk and stays: a stopped run goes on with the next model.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from synthgen.errors import ConfigError, RunError
from synthgen.evaluation.inspectors.models import MODELS
from synthgen.evaluation.utility.arms import digest_runs
from synthgen.evaluation.utility.bench import Bench
from synthgen.evaluation.utility.pictures import GOOD, Tally
from synthgen.evaluation.utility.settings import (
    GOOD_ONLY,
    TrainingJob,
    UtilitySettings,
    list_jobs,
)
from synthgen.evaluation.utility.steps import find_steps, read_steps
from synthgen.storage.files import read_json, remove_leftovers, write_text
from synthgen.training.card import processor_name

__all__ = ["describe_machine", "measure_utility", "warn_of_few_parts"]

Report = Callable[[str, int, int], None]
PROTOCOL = "protocol.json"
SCORED = "scored.json"  # how many images and parts of each class
FEW_PARTS = 5  # with a defect class in the images to score on: below it they are named


def measure_utility(
    settings: UtilitySettings, report: Report, tell: Callable[[str], None] = lambda _: None
) -> pd.DataFrame:
    """Train and score what is not finished yet; return a row per model.

    ``tell`` gets a sentence after each model: what it cost, and about how long the others take.
    Raises ConfigError where the folder holds another protocol's scores, SourceError, RunError.
    """
    folder, jobs = Path(settings.folder), list_jobs(settings)
    if not jobs:
        raise ConfigError("evaluate.arms and evaluate.budgets leave no arm to train")
    for row in settings.inspectors:
        row.check_packages()
    record = _check_protocol(folder, settings)
    pending = [job for job in jobs if _read_score(settings, job) is None]
    for job in pending:  # look for all runs before the first model is trained
        for run in _runs_of(settings, job):
            if "://" not in run and not Path(run, "manifest.parquet").exists():
                raise RunError(
                    f"evaluate.arms.{job.arm}: {run} is not a finished run; generate it first, or "
                    f"leave the arm out with evaluate.arms.{job.arm}=null"
                )
    with _threads(settings.threads):
        if pending:
            bench = Bench(settings)
            write_text(folder / PROTOCOL, json.dumps(record, indent=1) + "\n")
            scored = [asdict(one) for one in bench.scored]
            write_text(folder / SCORED, json.dumps(scored, indent=1) + "\n")
            steps = find_steps(settings, bench, report)
            begun = time.monotonic()
            for done, job in enumerate(pending, start=1):
                scores = bench.run(job, steps[job.inspector].steps, report)
                plain = {k: None if v != v else v for k, v in scores.items()}  # NaN: null
                score = {"trained_with": _identity(settings, job), "scores": plain}
                write_text(_score_path(settings, job), json.dumps(score, indent=1) + "\n")
                report("models", len(jobs) - len(pending) + done, len(jobs))
                left = (time.monotonic() - begun) / done * (len(pending) - done)
                tell(
                    f"{job.name}: {scores['train_s'] + scores['score_s']:.0f} s, pixel AP "
                    f"{scores['pixel_ap'] * 100:.1f}; {len(pending) - done} models left, about "
                    f"{math.ceil(left / 60)} min"
                )
    rows = [_read_score(settings, job) for job in jobs]
    return pd.DataFrame([row for row in rows if row is not None])


def _runs_of(settings: UtilitySettings, job: TrainingJob) -> tuple[str, ...]:
    """Return the runs that a model learns from; none where it learns from good photos alone."""
    if MODELS[job.inspector].is_good_only:
        return ()
    return settings.chosen[job.arm].runs_at(job.shown_budget, job.seed)


def describe_machine(settings: UtilitySettings) -> dict[str, Any]:
    """Return what the scores depend on, for the report: images, training, machine, in words."""
    training, chosen = settings.training, read_steps(Path(settings.folder))
    facts: dict[str, Any] = {
        "real images": f"{settings.real.format}, learned from {settings.learn_split!r}, scored on "
        f"{settings.score_split!r}",
        "scored on": ", ".join(map(_describe, _read_scored(Path(settings.folder))))
        or "not written down",
        "seeds": ", ".join(map(str, settings.seeds)),
        "models": f"{settings.models} per arm and seed, the mean of their scores counts",
    }
    for row in settings.inspectors:
        facts[row.name] = row.title
        if row.name in chosen and not row.is_good_only:
            own = row.training(training, chosen[row.name].steps)
            facts[row.name] += f"; {own.batch_size} crops of {own.crop_px} px a step"
            facts[f"{row.name}, steps"] = chosen[row.name].told
    return facts | {
        "crops": f"{training.defect_fraction:.0%} around defects, of those "
        f"{training.synthetic_fraction:.0%} synthetic where an arm has both",
        "precision": settings.precision,
        "threads": settings.threads,
        "machine": processor_name(),
        "device": settings.place,
    }


def warn_of_few_parts(folder: Path) -> str:
    """Return a sentence on the classes whose score hangs on few physical parts; "" if none does.

    Few are under 5 of those that are scored on. ``folder`` holds what ``measure_utility`` wrote.
    """
    scored = _read_scored(folder)
    few = [one for one in scored if one.parts < FEW_PARTS and one.name != GOOD]
    if not few:
        return ""
    return (
        f"scored on few parts: {', '.join(map(_describe, few))}; other parts may come out "
        "differently, beyond what the intervals say, which are over draws of what is learned"
    )


def _read_scored(folder: Path) -> list[Tally]:
    path = folder / SCORED
    if not path.exists():
        return []
    return [Tally(**one) for one in read_json(path)]


def _describe(one: Tally) -> str:
    images, parts = (
        f"{n} {word}{'s' * (n != 1)}" for n, word in ((one.images, "image"), (one.parts, "part"))
    )
    return f"{one.name} {images} of {parts}"


def _check_protocol(folder: Path, settings: UtilitySettings) -> dict[str, Any]:
    """Return what all scores of a folder share; raise ConfigError where the folder's differs."""
    own = asdict(settings)
    shared = ("real", "learn_split", "score_split", "validation_fraction", "top_fraction")
    record = {key: own[key] for key in (*shared, "mirrors", "memorised_bits", "training")}
    record["training"]["precision"] = settings.precision
    record = dict(json.loads(json.dumps(record)))
    path = folder / PROTOCOL
    if path.exists():
        remove_leftovers(folder)
        before = read_json(path)
        if not isinstance(before, dict):
            raise RunError(f"{path} is damaged; delete it, or give another folder")
        for key in record:
            if before.get(key) != record[key]:
                raise ConfigError(
                    f"{folder} holds scores with another evaluate.{key} ({before.get(key)}); "
                    "give another evaluate.folder, so that like is compared with like"
                )
    return record


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before, own = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)  # many cores would be slower: a crop is 96 px a side
    try:
        yield
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(own)


def _score_path(settings: UtilitySettings, job: TrainingJob) -> Path:
    return Path(settings.folder) / "scores" / f"{job.name}.json"


def _identity(settings: UtilitySettings, job: TrainingJob) -> dict[str, Any]:
    """Return what a stored score must agree with to be taken for this arm's."""
    steps = read_steps(Path(settings.folder)).get(job.inspector)
    own: dict[str, Any] = {"inspector": job.inspector, "steps": steps.steps if steps else None}
    if job.arm != GOOD_ONLY or not MODELS[job.inspector].is_good_only:
        runs = _runs_of(settings, job)
        arm = asdict(settings.chosen[job.arm])
        if arm["mixing"] is None:
            arm.pop("mixing")  # what was scored before there was a choice stays
        own |= {**arm, "run": runs, "manifest": digest_runs(runs)}
    plain: dict[str, Any] = json.loads(json.dumps(own))
    return plain


def _read_score(settings: UtilitySettings, job: TrainingJob) -> dict[str, Any] | None:
    path = _score_path(settings, job)
    if not path.exists():
        return None
    record = read_json(path)
    if record["trained_with"] != _identity(settings, job):
        return None  # the arm means something else now: it is trained again
    return {key: np.nan if value is None else value for key, value in record["scores"].items()}
