"""Do labels cover what is seen? Each accepted image of some runs, against its own source.

python benchmarks/labels.py runs/tiles runs/cells runs/steel

What was not repainted equals the source bit for bit, so every pixel that differs is of the defect.
"""

from __future__ import annotations

import io
import sys

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from synthgen.imaging.geometry import overlap
from synthgen.quality.realised import delta_e
from synthgen.runs.reader import RunTables, read_run

PLAIN, SEEN, NOTICED = 10.0, 5.0, 2.3  # Delta E: nobody misses it; clearly visible; just noticeable


def read(run: RunTables, name: str, mode: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(run.read(name))).convert(mode))


def measure(run: RunTables, row: pd.Series) -> dict[str, object]:
    change = delta_e(read(run, row["source_path"], "RGB"), read(run, row["image"], "RGB"))
    label, plain = read(run, row["mask"], "L") > 0, change >= PLAIN
    return {
        "defect_class": row["defect_class"],
        "plain, unlabelled": (plain & ~label).sum() / max(1, plain.sum()),
        "IoU with what is seen": overlap(label, change >= SEEN),
        "hardly seen": (label & (change < NOTICED)).sum() / max(1, label.sum()),
    }


def main(*folders: str) -> None:
    rows = []
    for folder in folders:
        run = read_run(folder)
        accepted = run.manifest[run.manifest["status"] == "accepted"]
        rows += [measure(run, row) for _, row in accepted.iterrows()]
    table = pd.DataFrame(rows)
    print(
        "class          n  over 25 % of plain pixels unlabelled  IoU median, 5 %  hardly seen, most"
    )
    for name, part in [*table.groupby("defect_class"), ("all", table)]:
        fit = part["IoU with what is seen"]
        print(
            f"{name:<10}{len(part):>6}  {(part['plain, unlabelled'] > 0.25).mean():>35.1%}"
            f"  {fit.median():>10.3f} {fit.quantile(0.05):.3f}  {part['hardly seen'].max():>17.1%}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
