"""Measure labels on defects whose true mask is known to the pixel.

synthgen evaluate labels evaluate.folder=runs/labels
synthgen evaluate labels evaluate.folder=runs/labels-strict quality.change_delta_e=[8,null]

Opens with labels.md in the folder. Takes half a minute.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline, show


def main(config: DictConfig) -> None:

    from synthgen.config.build import build_classes
    from synthgen.config.objects import check_value, to_plain
    from synthgen.evaluation import labels
    from synthgen.evaluation.score import summarise_scores
    from synthgen.quality.limits import read_limits

    plain = to_plain(config)
    settings = check_value(labels.LabelTestSettings, plain["evaluate"], "evaluate")
    classes = build_classes(plain["defect"])
    limits = read_limits(plain["quality"], classes)
    rows = labels.measure_labels(settings, classes, limits)
    scores = labels.score_labels(rows)
    page = labels.write_labels(Path(settings.folder), rows, scores, settings, classes)
    show(summarise_scores("Labels", scores))
    show(f"the whole table: {page}")


if __name__ == "__main__":
    run_pipeline("evaluate_labels", main)
