"""Cut real defects out of their images: a bank that lends shapes and looks to new ones.

synthgen bank out=banks/tiles real.format=table real.path=tiles/MANIFEST.csv real.split=train
synthgen bank out=banks/mine real.path=photos real.masks=masks real.defect_class=scratch

Opens with bank.html in the folder. Then: synthgen generate bank.path=banks/tiles.
"""

from __future__ import annotations

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline, show


def main(config: DictConfig) -> None:

    from synthgen.commands.bank import run_bank
    from synthgen.report.bank import tabulate_classes

    bank = run_bank(config)
    show(tabulate_classes(bank.table))
    show(f"{len(bank.items)} defects of {bank.table['image_id'].nunique()} images: {bank.page}")


if __name__ == "__main__":
    run_pipeline("bank", main)
