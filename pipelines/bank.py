"""Cut real defects out of their images: a bank that lends shapes and looks to new ones.

synthgen bank out=banks/tiles real.format=table real.path=tiles/MANIFEST.csv real.split=train
synthgen bank out=banks/mine real.path=photos real.masks=masks real.defect_class=scratch

Opens with bank.html in the folder. Then: synthgen generate bank.path=banks/tiles.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from synthgen.commands.cli import run_pipeline


def main(config: DictConfig) -> None:
    from rich import print as show

    from synthgen.config.objects import check_value, read_text, to_plain
    from synthgen.quality.bank import measure_visible
    from synthgen.realdata.read import load_real
    from synthgen.references.items import BuildSettings, build_bank, write_bank
    from synthgen.report.bank import tabulate_classes, write_bank_page

    plain = to_plain(config)
    folder = Path(read_text(config, "out"))
    settings = check_value(BuildSettings, plain["bank"], "bank")
    real = load_real(plain["real"])
    for note in real.notes:
        show(f"note: {note}")
    items = [measure_visible(item) for item in build_bank(real.images, settings)]
    table = write_bank(folder, items)
    page = write_bank_page(folder, items, real.notes)
    show(tabulate_classes(table))
    show(f"{len(items)} defects of {table['image_id'].nunique()} images: {page}")


if __name__ == "__main__":
    run_pipeline("bank", main)
