"""Draw images/belonging.jpg: of each class the first accepted close-up of each run, nothing chosen.

python docs/draw_belonging.py runs/before runs/after
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from synthgen.imaging.images import encode_jpeg
from synthgen.report.sheet import draw_views
from synthgen.runs.reader import read_run

SIZE_PX = 128
EACH = 2  # close-ups of a class


def main(*folders: str) -> None:
    rows = []
    for folder in folders:
        run = read_run(folder)
        accepted = run.manifest[run.manifest["status"] == "accepted"]
        shown = (
            accepted.groupby("defect_class").head(EACH).sort_values(["defect_class", "sample_id"])
        )
        cells = [draw_views(run, row, SIZE_PX).result for _, row in shown.iterrows()]
        half = len(cells) // 2
        rows += [np.hstack(cells[:half]), np.hstack(cells[half:])]
        rows.append(np.full((6, rows[-1].shape[1], 3), 255, np.uint8))
    path = Path(__file__).parent / "images" / "belonging.jpg"
    path.write_bytes(encode_jpeg(np.vstack(rows[:-1]), 88))


if __name__ == "__main__":
    main(*sys.argv[1:])
