"""Draw images/beside.png: the defects of a bank beside the first accepted samples of a run.

python docs/draw_beside.py BANK RUN; nothing is chosen, and each view is a square of one size.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from synthgen.imaging.images import tile, write_png
from synthgen.references.items import read_bank
from synthgen.report.sheet import draw_views, fit_view, square_window
from synthgen.runs.reader import read_run

COLUMNS, EACH, SIZE_PX = 2, 6, 152


def main(bank: str, folder: str) -> None:
    items = read_bank(bank)
    largest = {item.image_id: item for item in sorted(items, key=lambda item: item.area_px)}
    real = [fit_view(item.crop[square_window(item.mask)], SIZE_PX) for item in largest.values()]
    run = read_run(Path(folder))
    accepted = run.manifest[run.manifest["status"] == "accepted"].sort_values("sample_id")
    defects = accepted[accepted["defect_class"] != "good"].head(EACH)
    painted = [draw_views(run, row, SIZE_PX) for _, row in defects.iterrows()]
    sheets = (
        tile([_frame(view) for view in views], COLUMNS)
        for views in (
            real[:EACH],
            [views.result for views in painted],
            [views.label for views in painted],
        )
    )
    gap = np.full((EACH // COLUMNS * (SIZE_PX + 4), 10, 3), 255, np.uint8)
    first, *others = sheets
    page = np.hstack([first, *(part for sheet in others for part in (gap, sheet))])
    write_png(Path(__file__).parent / "images" / "beside.png", page)


def _frame(view: np.ndarray) -> np.ndarray:
    short = SIZE_PX - np.array(view.shape[:2])
    return np.pad(view, ((2, 2 + short[0]), (2, 2 + short[1]), (0, 0)), constant_values=255)


if __name__ == "__main__":
    main(*sys.argv[1:])
