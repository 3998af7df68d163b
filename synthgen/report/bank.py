"""bank.html: the defects of a bank to look through, real, outlined and removed, sorted at will."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from synthgen.imaging.images import tile, write_png
from synthgen.progress import stage
from synthgen.references.items import BankItem
from synthgen.report.charts import Series, draw_distribution
from synthgen.report.facts import name_run
from synthgen.report.page import render
from synthgen.report.pictures import to_data_url
from synthgen.report.real import draw_real
from synthgen.report.svg import colour_classes
from synthgen.samples.arrays import Image
from synthgen.storage.files import write_text

__all__ = ["tabulate_classes", "write_bank_page"]

MAX_SHOWN = 300  # of all classes together, so that a browser opens the page at once
SHEET_SHOWN, SHEET_COLUMNS, CELL_PX = 60, 12, 96
VIEW_PX, MAX_BYTES = 160, 5_000  # of one picture on the page
PADDING = 128


def tabulate_classes(table: pd.DataFrame) -> Table:
    """Return one row per class for a terminal: how many of what size and contrast.

    ``table`` is a bank's table, a row per defect. Areas are least, median and most in pixels;
    contrast (CIELAB Delta E) and label IoU are medians.
    """
    shown = Table()
    for head in ("class", "images", "parts", "defects", "area px", "contrast", "label IoU"):
        shown.add_column(head, justify="left" if head == "class" else "right")
    for name, own in table.groupby("defect_class"):
        low, middle, high = own["area_px"].quantile([0, 0.5, 1])
        counts = (own["image_id"].nunique(), own["group"].nunique(), len(own))
        shown.add_row(
            str(name),
            *map(str, counts),
            f"{low:.0f} .. {middle:.0f} .. {high:.0f}",
            f"{own['contrast_delta_e'].median():.1f}",
            f"{own['label_iou'].median():.2f}",
        )
    return shown


@stage("writing bank.html")
def write_bank_page(folder: Path, items: Sequence[BankItem], notes: Sequence[str] = ()) -> Path:
    """Write ``bank.html`` and ``bank.png`` into a bank's folder; return the page.

    Of a class with very many defects some are shown, evenly over their sizes: the page has 300 of
    all classes together, and the sheet, which shows real above removed, has 60. ``notes`` are
    sentences that the page says first.
    """
    names = sorted({item.defect_class for item in items})
    colours = colour_classes(names)
    most = max(1, MAX_SHOWN // max(1, len(names)))
    classes = []
    for name in names:
        own = [item for item in items if item.defect_class == name]
        areas = [item.area_px for item in own]
        contrasts = [item.contrast_delta_e for item in own if not np.isnan(item.contrast_delta_e)]
        classes.append(
            {
                "name": name,
                "count": len(own),
                "parts": len({item.group for item in own}),
                "plots": [
                    (title, draw_distribution([Series.of(name, values, colours[name])], title))
                    for title, values in (
                        ("Area, pixels", areas),
                        ("Contrast, CIELAB", contrasts),
                    )
                    if values
                ],
                "places": [item.place_xy for item in own],
                "items": [_show(item) for item in _spread(own, most)],
            }
        )
    page = render(
        "bank.html.j2",
        name=name_run(folder),
        count=len(items),
        classes=classes,
        colours=colours,
        notes=list(notes),
    )
    write_text(folder / "bank.html", page)
    cells = [
        np.vstack([_pad(view) for view in (real, clean)])
        for real, _, clean in (_views(item, CELL_PX) for item in _spread(items, SHEET_SHOWN))
    ]
    write_png(folder / "bank.png", tile(cells, min(SHEET_COLUMNS, len(cells))))
    return folder / "bank.html"


def _spread(items: Sequence[BankItem], most: int) -> list[BankItem]:
    """Return at most so many, evenly over their sizes, the largest first."""
    ordered = sorted(items, key=lambda item: -item.area_px)
    places = np.linspace(0, len(ordered) - 1, min(most, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]


def _show(item: BankItem) -> dict[str, Any]:
    contrast = item.contrast_delta_e
    return {
        "item_id": item.item_id,
        "group": item.group,
        "pictures": [to_data_url(view, MAX_BYTES) for view in _views(item)],
        "numbers": {
            "area": f"{item.area_px}",
            "length": f"{item.length_px:.0f}",
            "width": f"{item.width_px:.1f}",
            "contrast": "" if np.isnan(contrast) else f"{contrast:.1f}",
            "direction": f"{item.orientation_deg:.0f}",
            "visible": f"{item.visible_fraction:.2f}",
            "label IoU": f"{item.label_iou:.2f}",
        },
    }


def _views(item: BankItem, size_px: int = VIEW_PX) -> tuple[Image, Image, Image]:
    """Return the defect as it is, outlined, and removed, (h, w, 3) each, ``size_px`` at most."""
    rows, columns = np.nonzero(item.mask)
    return draw_real(item, round(max(np.ptp(rows), np.ptp(columns)) * 1.3) + 12, size_px)


def _pad(view: Image) -> Image:
    """Return a view in a square, on grey where it is not square itself."""
    square = np.full((CELL_PX, CELL_PX, 3), PADDING, np.uint8)
    square[: view.shape[0], : view.shape[1]] = view
    return square
