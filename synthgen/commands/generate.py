"""synthgen generate: labelled defect images from good ones."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.call import Setting, compose_call, translate_errors
from synthgen.commands.run import Run
from synthgen.commands.worker import RunWorker, make_worker
from synthgen.config.build import collect_facts, set_up
from synthgen.config.defaults import find_default
from synthgen.config.environment import to_stored
from synthgen.config.objects import build, read_text, to_plain
from synthgen.generation.generate import batched
from synthgen.generation.stop import Stop
from synthgen.report import write_report
from synthgen.runs.folder import open_run
from synthgen.runs.lock import hold_run
from synthgen.runs.progress import RunProgress
from synthgen.runs.reviews.revisions import find_work
from synthgen.sources import SourceIndex

__all__ = ["generate", "run_generate"]

COMPACT_EVERY = 200  # batches


def generate(*settings: Setting, quiet: bool = False, config_dir: Path | str | None = None) -> Run:
    """Paint labelled defect images as ``synthgen generate`` does, and return the finished run.

    ``settings``: overrides as on the command line (``"run.count=20"``), mappings from key to value
    (``{"run.folder": Path("runs/a")}``), or both; later ones count more. ``quiet`` shows no
    progress. ``config_dir``: a folder with configuration of your own, as ``--config-dir``.

    The same call again continues a run that was stopped. Raises SynthgenError, the same one
    sentence that the command line prints; KeyboardInterrupt where it was stopped.
    """
    with translate_errors():
        return run_generate(compose_call("generate", settings, config_dir), is_quiet=quiet)


def run_generate(config: DictConfig, *, is_quiet: bool = False) -> Run:
    """Paint the run that a whole config describes; ``is_quiet`` shows no progress."""
    executor = build(config.executor, "executor", ("run",))
    job, plain = set_up(config), to_plain(config)
    folder = read_text(config, "run.folder")
    with hold_run(folder) as lease, Stop() as stop:
        known = partial(find_default, plain)
        run = open_run(folder, to_stored(config), job.specs, collect_facts(job), known)
        work, total = find_work(run, job.specs, job.is_varied), len(job.specs)
        batches = stop.until(batched(work.specs, job.batch_size))
        notes, done = [*job.notes, *work.notes], total - len(work.specs)
        with RunProgress(total, done, job.skipped, notes, is_quiet) as progress:
            here = RunWorker(config, folder, job.parts)
            elsewhere = partial(make_worker, plain, folder, SourceIndex(job.parts.sources))
            with closing(executor.run(batches, here, elsewhere)) as made:
                for number, statuses in enumerate(made, start=1):
                    progress.add(statuses)
                    lease.check()
                    if number % COMPACT_EVERY == 0:
                        run.compact()
        run.remove_leftovers()
        stop.check()
        run.merge()
        write_report(run.root)
    return Run.at(folder, progress.seconds)
