"""Draw images/strip.png: of each class the first accepted sample of a run, nothing chosen.

python docs/draw_strip.py runs/demo
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from synthgen.imaging.images import tile, write_png
from synthgen.report.sheet import draw_views
from synthgen.runs.reader import read_run

COLUMNS, SIZE_PX = 4, 128


def main(folder: Path) -> None:
    run = read_run(folder)
    accepted = run.manifest[run.manifest["status"] == "accepted"]
    cells = []
    for _, row in accepted.groupby("defect_class").head(1).sort_values("defect_class").iterrows():
        views = draw_views(run, row, SIZE_PX)
        cell = np.hstack([views.source, views.result, views.label])
        cells.append(np.pad(cell, ((2, 2), (3, 3), (0, 0)), constant_values=255))
    write_png(Path(__file__).parent / "images" / "strip.png", tile(cells, COLUMNS))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
