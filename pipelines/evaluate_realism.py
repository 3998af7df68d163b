"""Measure how well painted defects are told from real ones.

synthgen evaluate realism evaluate.folder=realism evaluate.run=runs/a evaluate.real.path=real.csv
synthgen evaluate realism ... evaluate.real.split=val evaluate.card=adapters/tiles

Opens with realism.md in the folder, and a sheet of real and painted crops, mixed, for your eyes.
Takes a minute or two. Needs pip install 'synthgen-inspection[evaluate]'.
"""

from __future__ import annotations

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline, show


def main(config: DictConfig) -> None:

    from synthgen.config.objects import check_value, to_plain
    from synthgen.evaluation.realism.crops import collect_crops
    from synthgen.evaluation.realism.measure import check_probe, measure_realism
    from synthgen.evaluation.realism.report import tell_realism, write_realism
    from synthgen.evaluation.realism.settings import RealismSettings
    from synthgen.runs.progress import TaskProgress

    settings = check_value(RealismSettings, to_plain(config)["evaluate"], "evaluate")
    check_probe()
    crops = collect_crops(settings)
    with TaskProgress() as progress:
        realism = measure_realism(crops, settings.seed, progress.report)
    page = write_realism(settings, crops, realism)
    show(tell_realism(realism))
    show(f"the whole table and the sheet: {page}")


if __name__ == "__main__":
    run_pipeline("evaluate_realism", main)
