"""Measure how faithfully a backend paints what it is asked for.

synthgen evaluate fidelity evaluate.folder=runs/fidelity
synthgen evaluate fidelity evaluate.folder=runs/mine backend.model.checkpoint=runs/pretrain/model

Opens with fidelity.md in the folder. Takes about 20 minutes on two CPU cores; needs
pip install 'synthgen-inspection[evaluate]'.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline, show


def main(config: DictConfig) -> None:

    from synthgen.backends.diffusion.backend import need_diffusion
    from synthgen.config.build import build_classes, build_controls
    from synthgen.config.objects import build, check_value, to_plain
    from synthgen.config.settings import MaskSettings
    from synthgen.evaluation.fidelity import report
    from synthgen.evaluation.fidelity.measure import measure_fidelity
    from synthgen.evaluation.fidelity.settings import FidelitySettings, Subject
    from synthgen.evaluation.score import summarise_scores

    plain = to_plain(config)
    settings = check_value(FidelitySettings, plain["evaluate"], "evaluate")
    mask = check_value(MaskSettings, plain["mask"], "mask")
    sources, controls = (
        build(config.source, "source", ("read", "part")),
        build_controls(config.control),
    )
    classes, backend = (
        build_classes(plain["defect"]),
        need_diffusion(
            build(config.backend, "backend", ("paint", "describe")), "evaluate fidelity"
        ),
    )
    subject = Subject(backend, classes, sources, controls, mask.margin_px)
    fidelity = measure_fidelity(settings, subject)
    folder = Path(settings.folder)
    report.write_rows(folder, fidelity)
    scores = report.score_fidelity(fidelity, settings)
    facts = report.collect_fidelity_facts(backend, settings, fidelity)
    page = report.write_fidelity(folder, fidelity, scores, facts)
    if settings.card:
        report.write_card_part(backend.folder, scores, facts)
    show(summarise_scores("Fidelity", scores))
    show(f"the whole table and the samples: {page}")


if __name__ == "__main__":
    run_pipeline("evaluate_fidelity", main)
