"""Export a run as datasets that other tools read, with the same labels in all of them.

synthgen export run.folder=out format=[coco,yolo] out=dataset
synthgen export run.folder=out format=[mvtec] out=dataset 'split={train: 0.5, test: 0.5}'
synthgen export run.folder=out out=mixed real.path=real/ real.synthetic_per_real=2
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline


def main(config: DictConfig) -> None:
    from synthgen.config.objects import build, check_value, read_text, to_plain
    from synthgen.exporting.gather import ExportSettings, gather, make_media
    from synthgen.exporting.summary import summarise_export
    from synthgen.exporting.write import export
    from synthgen.runs.progress import TaskProgress

    plain = dict(to_plain(config))
    nodes, run = plain.pop("format"), read_text(config, "run.folder")
    del plain["run"]
    settings = check_value(ExportSettings, plain, "")
    formats = {name: build(node, f"format.{name}", ("write",)) for name, node in nodes.items()}
    media, gathered = make_media(settings), gather(run, settings)
    with TaskProgress() as progress:
        exported = export(
            gathered.labels, formats, Path(settings.out), media, progress.report, gathered.notes
        )
    summarise_export(exported)


if __name__ == "__main__":
    run_pipeline("export", main)
