"""Which samples a page shows, and their pictures, inside the page."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.imaging.images import encode_jpeg
from synthgen.report.sheet import draw_views
from synthgen.report.svg import format_number
from synthgen.runs.reader import RunTables

__all__ = ["Tile", "fill_rows", "how_many", "show_samples", "spread", "to_data_url"]

VIEWS = ("result", "label", "source", "control", "whole")
NUMBERS = {"area_px": "px", "fill_fraction": "fill", "contrast_delta_e": "contrast"}
MAX_PIXELS = 250e6  # read for the pictures of one page
MIN = 12
QUALITIES, LOW, MAX_BYTES = (86, 72, 58), 40, 8_000  # of a JPEG; noise is what makes one large
MIN_FILLED = 6  # cards from which on their number is made even


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One sample as a page shows it; ``pictures`` are data URLs by the name of their view."""

    sample_id: str
    status: str
    defect_class: str
    prompt: str
    numbers: str
    where: str
    reasons: list[str]
    pictures: dict[str, str]


def to_data_url(image: NDArray[np.uint8], max_bytes: int = MAX_BYTES) -> str:
    """Return a picture (H, W, 3) as a data URL, a JPEG; of less quality where it would be large.

    Quality 86, 72 or 58, the first that stays within ``max_bytes``; else 40, whatever its size.
    """
    files = (encode_jpeg(image, quality) for quality in QUALITIES)
    data = next((file for file in files if len(file) <= max_bytes), None)
    return "data:image/jpeg;base64," + base64.b64encode(data or encode_jpeg(image, LOW)).decode()


def how_many(run: RunTables, most: int) -> int:
    """Return how many samples to show: at most so many, fewer where images are large.

    So many that their images hold 250 million pixels together, at least 12 where ``most`` allows.
    """
    pixels = float((run.manifest["width"] * run.manifest["height"]).max() or 1)
    return int(np.clip(MAX_PIXELS / pixels, min(MIN, most), most))


def fill_rows(count: int) -> int:
    """Return how many cards of ``count`` to show, so that rows of 6, 4 or 2 leave none alone.

    >>> [fill_rows(count) for count in (1, 3, 5, 7, 8)]
    [1, 3, 5, 6, 8]
    """
    return count if count < MIN_FILLED else count - count % 2


def spread(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most so many rows, in the order of the ids and evenly over them."""
    ordered = rows.sort_values("sample_id")
    places = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    return ordered.iloc[places]


def show_samples(
    run: RunTables, rows: pd.DataFrame, size_px: int = 160, max_bytes: int = MAX_BYTES
) -> list[Tile]:
    """Return a tile for each row of a manifest, in its order; the rows must have an image.

    ``size_px``: the longer side of each picture; ``max_bytes``: of one, see ``to_data_url``.
    Raises RunError where a file is gone, ShapeError where the files of a sample differ in size.
    """
    tiles = []
    for _, row in rows.iterrows():
        views = draw_views(run, row, size_px)
        tried = f", try {row['attempt'] + 1}" if row["attempt"] else ""
        numbers = []
        for name, word in NUMBERS.items():
            if np.isfinite(row[name]) and row["defect_class"]:
                number = format_number(float(row[name]))
                numbers.append(f"{number} {word}" if word == "px" else f"{word} {number}")
        tiles.append(
            Tile(
                sample_id=row["sample_id"],
                status=row["status"],
                defect_class=row["defect_class"],
                prompt=row["prompt"],
                numbers=" · ".join(numbers),
                where=f"{row['split']}, {row['width']} × {row['height']} px{tried}",
                reasons=[reason for reason in row["reasons"].split("; ") if reason],
                pictures={name: to_data_url(getattr(views, name), max_bytes) for name in VIEWS},
            )
        )
    return tiles
