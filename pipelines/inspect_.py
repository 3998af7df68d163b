"""Decide a finished run again by other limits, without painting.

synthgen inspect run.folder=out quality=strict
synthgen inspect run.folder=out quality.fill_fraction=[0.8,null]

Only statuses and reasons change (manifest.parquet, report.html); images and labels stay.
"""

from __future__ import annotations

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline


def main(config: DictConfig) -> None:
    from synthgen.config.objects import read_text, to_plain
    from synthgen.report import write_report
    from synthgen.runs.folder import inspect_run
    from synthgen.runs.progress import summarise

    root = read_text(config, "run.folder")
    manifest = inspect_run(root, to_plain(config)["quality"])
    summarise(root, manifest, write_report(root))


if __name__ == "__main__":
    run_pipeline("inspect", main)
