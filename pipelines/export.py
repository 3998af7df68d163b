"""Export a run as a dataset (COCO instances).

synthgen export run.folder=out export.folder=out-coco
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.cli import run_pipeline


def main(config: DictConfig) -> None:
    from rich import print as show

    from synthgen.export.coco import write_coco

    summary = write_coco(
        Path(str(config.run.folder)), Path(str(config.export.folder)), config.export.include
    )
    show(f"{summary.images} images, {summary.annotations} labelled defects: {summary.path}")


if __name__ == "__main__":
    run_pipeline("export", main)
