"""The protocol: every arm, budget and seed trained alike, scored on real held-out images.

What is finished is on disk and stays: a stopped run goes on with the next model.
"""

from __future__ import annotations

import json
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
from synthgen.evaluation.utility.arms import digest_runs
from synthgen.evaluation.utility.bench import Bench
from synthgen.evaluation.utility.pictures import GOOD, Tally
from synthgen.evaluation.utility.settings import TrainingJob, UtilitySettings, list_jobs
from synthgen.storage.files import read_json, remove_leftovers, write_text
from synthgen.training.card import processor_name

__all__ = ["describe_machine", "measure_utility", "warn_of_few_parts"]

Report = Callable[[str, int, int], None]
PROTOCOL = "protocol.json"
SCORED = "scored.json"  # how many images and parts of each class
FEW_PARTS = 5  # with a defect class in the images to score on: below it they are named


def measure_utility(settings: UtilitySettings, report: Report) -> pd.DataFrame:
    """Train and score what is not finished yet; return a row per model.

    Raises ConfigError where the folder holds another protocol's scores, SourceError, RunError.
    """
    folder, jobs = Path(settings.folder), list_jobs(settings)
    if not jobs:
        raise ConfigError("evaluate.arms and evaluate.budgets leave no arm to train")
    record = _check_protocol(folder, settings)
    pending = [job for job in jobs if _read_score(settings, job) is None]
    for job in pending:  # look for all runs before the first model is trained
        for run in settings.chosen[job.arm].runs_at(job.shown_budget, job.seed):
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
            for job in pending:
                row = bench.run(job, report).items()
                plain = {key: None if value != value else value for key, value in row}  # NaN: null
                record = {"trained_with": _identity(settings, job), "scores": plain}
                write_text(_score_path(settings, job), json.dumps(record, indent=1) + "\n")
                report("models", len(jobs) - len(pending) + pending.index(job) + 1, len(jobs))
    rows = [_read_score(settings, job) for job in jobs]
    return pd.DataFrame([row for row in rows if row is not None])


def describe_machine(settings: UtilitySettings) -> dict[str, Any]:
    """Return what the scores depend on, for the report: images, training, machine, in words."""
    training = settings.training
    return {
        "real images": f"{settings.real.format}, learned from {settings.learn_split!r}, scored on "
        f"{settings.score_split!r}",
        "scored on": ", ".join(map(_describe, _read_scored(Path(settings.folder))))
        or "not written down",
        "seeds": ", ".join(map(str, settings.seeds)),
        "models": f"{settings.models} per arm and seed, the mean of their scores counts",
        "model": f"U-Net of widths {', '.join(map(str, training.widths))}",
        "training": f"{training.steps} steps of {training.batch_size} crops of "
        f"{training.crop_px} px, {training.defect_fraction:.0%} around defects, of those "
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
    arm = settings.chosen[job.arm]
    runs = arm.runs_at(job.shown_budget, job.seed)
    own = {**asdict(arm), "run": runs, "manifest": digest_runs(runs)}
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
