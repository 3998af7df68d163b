"""Export a run as datasets that other tools read, with the same labels in all of them.

synthgen export run.folder=out format=[coco,yolo] out=dataset
synthgen export run.folder=out format=[mvtec] out=dataset 'split={train: 0.5, test: 0.5}'
synthgen export run.folder=out out=mixed real.path=real/ real.synthetic_per_real=2
"""

from __future__ import annotations

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline


def main(config: DictConfig) -> None:
    from synthgen.commands.export import run_export
    from synthgen.exporting.summary import summarise_export

    summarise_export(run_export(config))


if __name__ == "__main__":
    run_pipeline("export", main)
