"""synthgen generate: labelled defect images from good ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.call import Setting, compose_call, translate_errors
from synthgen.commands.run import Run
from synthgen.commands.worker import RunWorker, make_worker
from synthgen.config.build import Job, collect_facts, set_up
from synthgen.config.defaults import find_default
from synthgen.config.environment import to_stored
from synthgen.config.objects import build, read_text, to_plain
from synthgen.generation.generate import batched
from synthgen.generation.stop import Stop
from synthgen.progress import show_progress, stage, tell
from synthgen.report import write_report
from synthgen.runs.folder import check_run_folder, open_run
from synthgen.runs.lock import hold_run
from synthgen.runs.reviews.revisions import find_work
from synthgen.samples.sample import Status
from synthgen.sources import SourceIndex

__all__ = ["generate", "run_generate"]

COMPACT_EVERY = 200  # batches
MAX_SKIPPED = 5  # files that are named
WAITING = "first batch under way"


def generate(*settings: Setting, quiet: bool = False, config_dir: Path | str | None = None) -> Run:
    """Paint labelled defect images as ``synthgen generate`` does, and return the finished run.

    ``settings``: overrides as on the command line (``"run.count=20"``), mappings from key to value
    (``{"run.folder": Path("runs/a")}``), or both; later ones count more. ``quiet`` shows no
    progress. ``config_dir``: a folder with configuration of your own, as ``--config-dir``.

    The same call again continues a run that was stopped. Raises SynthgenError, the same one
    sentence that the command line prints; KeyboardInterrupt where it was stopped.
    """
    with translate_errors(), show_progress(quiet):
        return run_generate(compose_call("generate", settings, config_dir))


def run_generate(config: DictConfig) -> Run:
    """Paint the run that a whole config describes."""
    begun = time.monotonic()
    folder = read_text(config, "run.folder")
    check_run_folder(folder)  # before the photos are looked at, which may take minutes
    executor = build(config.executor, "executor", ("run",))
    job, plain = set_up(config), to_plain(config)
    with hold_run(folder) as lease, Stop() as stop:
        known = partial(find_default, plain)
        run = open_run(folder, to_stored(config), job.specs, collect_facts(job), known, plain)
        work, total = find_work(run, job.specs, job.is_varied), len(job.specs)
        batches = stop.until(batched(work.specs, job.batch_size))
        notes, done = [*job.notes, *work.notes], total - len(work.specs)
        _tell_before(job, notes)
        here = RunWorker(config, folder, job.parts)
        elsewhere = partial(make_worker, plain, folder, SourceIndex(job.parts.sources))
        painting = stage("painting", total, done=done, unit="images", waiting=WAITING)
        with painting as at, closing(executor.run(batches, here, elsewhere)) as made:
            counts = dict.fromkeys(Status, 0)
            for number, statuses in enumerate(made, start=1):
                for status in statuses:
                    counts[status] += 1
                at.note = ", ".join(f"{status.value} {n}" for status, n in counts.items() if n)
                at.add(len(statuses))
                lease.check()
                if number % COMPACT_EVERY == 0:
                    run.compact()
        run.remove_leftovers()
        stop.check()
        run.merge()
        write_report(run.root)
    return Run.at(folder, time.monotonic() - begun)


def _tell_before(job: Job, notes: Sequence[str]) -> None:
    """Say what is to be known before the first image: files that are left out, notes."""
    for sentence in job.skipped[:MAX_SKIPPED]:
        tell(sentence, "skipped")
    if len(job.skipped) > MAX_SKIPPED:
        tell(f"{len(job.skipped) - MAX_SKIPPED} more files", "skipped")
    for sentence in notes:
        tell(sentence, "note")
