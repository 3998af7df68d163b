"""Decide a finished run again by other limits, without painting.

synthgen inspect run.folder=out quality=strict
synthgen inspect run.folder=out quality.fill_fraction=[0.8,null]

Only statuses and reasons change (manifest.parquet, report.html); images and labels stay.
"""

from __future__ import annotations

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline


def main(config: DictConfig) -> None:
    from synthgen.commands.inspect import run_inspect
    from synthgen.runs.progress import summarise

    run = run_inspect(config)
    summarise(run.root, run.manifest, run.report)


if __name__ == "__main__":
    run_pipeline("inspect", main)
