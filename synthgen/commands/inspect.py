"""synthgen inspect: decide a finished run again by other limits."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.call import Setting, compose_call, translate_errors
from synthgen.commands.run import Run
from synthgen.config.objects import read_text, to_plain
from synthgen.progress import show_progress
from synthgen.report import write_report
from synthgen.runs.folder import inspect_run

__all__ = ["inspect", "run_inspect"]


def inspect(*settings: Setting, quiet: bool = False, config_dir: Path | str | None = None) -> Run:
    """Decide a run by other limits, as ``synthgen inspect`` does, and return it.

    ``settings``, ``quiet`` and ``config_dir`` as of ``synthgen.generate``. Statuses, reasons and
    report.html change; images and labels stay. Raises SynthgenError.
    """
    with translate_errors(), show_progress(quiet):
        return run_inspect(compose_call("inspect", settings, config_dir))


def run_inspect(config: DictConfig) -> Run:
    """Decide the run that a whole config names by the limits that it gives."""
    root = read_text(config, "run.folder")
    inspect_run(root, to_plain(config)["quality"])
    write_report(root)
    return Run.at(root)
