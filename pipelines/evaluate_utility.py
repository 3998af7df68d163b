"""Measure what synthetic data does for an inspection model, on real held-out images.

synthgen evaluate utility evaluate.folder=runs/utility evaluate.real.path=parts/MANIFEST.csv
synthgen evaluate utility ... evaluate.arms.adapted=runs/adapted evaluate.budgets=[0,5,20,all]

synthgen evaluate utility ... evaluate.model=[unet_pretrained,patchcore]

Opens with utility.html in the folder. Two to four minutes a model on one CPU core; the same command
again continues. Needs pip install 'synthgen-inspection[evaluate]'.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline, show


def main(config: DictConfig) -> None:

    from synthgen.config.objects import check_value, to_plain
    from synthgen.evaluation.utility import report
    from synthgen.evaluation.utility.draws import write_draws
    from synthgen.evaluation.utility.protocol import (
        describe_machine,
        measure_utility,
        warn_of_few_parts,
    )
    from synthgen.evaluation.utility.settings import UtilitySettings
    from synthgen.progress import tell
    from synthgen.runs.progress import TaskProgress

    settings = check_value(UtilitySettings, to_plain(config)["evaluate"], "evaluate")
    if settings.draw_only:
        for path in write_draws(settings):
            show(str(path))
        return
    with TaskProgress() as progress:
        rows = measure_utility(settings, progress.report, tell)
    folder, facts = Path(settings.folder), describe_machine(settings)
    warning = warn_of_few_parts(folder)
    page = report.write_utility(
        folder, rows, facts, settings.baseline, warning, settings.simple_arms
    )
    show(report.tabulate_utility(rows, settings.baseline))
    for sentence in report.tell_worth(rows, settings.baseline):
        show(sentence)
    if warning:
        show(warning)
    show(f"every score, plots and all pairs: {page}")


if __name__ == "__main__":
    run_pipeline("evaluate_utility", main)
