"""bank.html: the defects of a bank to look through, real, outlined and removed, sorted at will."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from rich.table import Table

from synthgen.imaging.images import tile, write_png
from synthgen.references.items import BankItem
from synthgen.report.charts import draw_histogram
from synthgen.report.facts import name_run
from synthgen.report.page import render
from synthgen.report.pictures import to_data_url
from synthgen.samples.arrays import Image
from synthgen.storage.files import write_text

__all__ = ["tabulate_classes", "write_bank_page"]

MAX_SHOWN = 400  # of all classes together, so that a browser opens the page at once
SHEET_SHOWN, SHEET_COLUMNS = 60, 12
VIEW_PX = 96
OUTLINE = (255, 214, 0)
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


def write_bank_page(folder: Path, items: Sequence[BankItem], notes: Sequence[str] = ()) -> Path:
    """Write ``bank.html`` and ``bank.png`` into a bank's folder; return the page.

    Of a class with very many defects some are shown, evenly over their sizes: the page has 400 of
    all classes together, and the sheet, which shows real above removed, has 60. ``notes`` are
    sentences that the page says first.
    """
    names = sorted({item.defect_class for item in items})
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
                    draw_histogram({name: areas}, "area (pixels)", "defects"),
                    draw_histogram({name: contrasts}, "contrast (CIELAB)", "defects"),
                ],
                "places": [item.place_xy for item in own],
                "items": [_show(item) for item in _spread(own, most)],
            }
        )
    page = render(
        "bank.html.j2", name=name_run(folder), count=len(items), classes=classes, notes=list(notes)
    )
    write_text(folder / "bank.html", page)
    cells = [np.vstack(_views(item)[:2]) for item in _spread(items, SHEET_SHOWN)]
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
        "pictures": [to_data_url(view) for view in _views(item)],
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


def _views(item: BankItem) -> tuple[Image, Image, Image]:
    """Return the defect as it is, outlined, and removed, (S, S, 3) each."""
    # the part of the crop around the defect, as square as the crop allows
    rows, columns = np.nonzero(item.mask)
    side = round(max(np.ptp(rows), np.ptp(columns)) * 1.3) + 12
    spans = []
    for places, length in zip((rows, columns), item.mask.shape, strict=True):
        start = int(np.clip((places.min() + places.max() - side) // 2, 0, max(0, length - side)))
        spans.append(slice(start, min(length, start + side)))
    window = tuple(spans)
    real, clean = _fit(item.crop[window]), _fit(item.clean[window])
    grey = _fit(np.repeat(item.mask[window][..., None], 3, 2).astype(np.uint8) * 255)[..., 0]
    lines, _ = cv2.findContours(
        (grey > PADDING).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    marked = real.copy()
    cv2.drawContours(marked, lines, -1, OUTLINE, 1)
    return real, marked, clean


def _fit(view: Image) -> Image:
    """Return a view scaled into a square, on grey where it is not square itself."""
    scale = VIEW_PX / max(view.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in view.shape[1::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    square = np.full((VIEW_PX, VIEW_PX, 3), PADDING, np.uint8)
    square[: size[1], : size[0]] = cv2.resize(np.ascontiguousarray(view), size, interpolation=how)
    return square
