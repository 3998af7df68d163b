"""The pictures of one sample, close enough to see the defect, and contact sheets of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.errors import RunError, ShapeError
from synthgen.imaging.geometry import grow_mask
from synthgen.imaging.images import IGNORED, decode_image, grey_window, tile, to_rgb8, write_png
from synthgen.runs.outlines import read_outline
from synthgen.runs.reader import RunTables, read_run

__all__ = [
    "ASKED",
    "LABEL",
    "PART",
    "Views",
    "draw_outline",
    "draw_views",
    "fit_view",
    "mark_whole",
    "read_view",
    "square_window",
    "view_side_px",
    "write_contact_sheet",
]

LABEL = (255, 214, 0)  # yellow: what really changed, the label
ASKED = (0, 200, 255)  # cyan: what was asked for
PART = (40, 220, 90)  # green: the part
MIN_VIEW_PX = 96
MIN_SEEN_PX = 7  # a smaller outline on a whole image gets a ring around it
RING_PX = 9
GAP_PX, LINE_PX = 1, 2  # between a defect and its mark, and of the mark
SHADE = (0, 0, 0)  # around a mark on a whole image, so that it is seen on any surface


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Views:
    """The pictures of one sample, (S, S, 3) uint8 RGB.

    ``whole`` keeps the image's shape; the label is outlined on it, and the part where it is known.
    """

    whole: NDArray[np.uint8]
    source: NDArray[np.uint8]
    control: NDArray[np.uint8]
    result: NDArray[np.uint8]
    label: NDArray[np.uint8]


def draw_views(run: RunTables, row: pd.Series, size_px: int = 160) -> Views:
    """Return the views of one manifest row, all but ``whole`` cropped around the defect.

    Each crop is ``size_px`` a side; the longer side of ``whole`` is. On ``label`` the asked mask is
    outlined in cyan and what really changed in yellow. Raises ShapeError where the files differ in
    size, and RunError where one is gone.
    """
    names = ("image", "source_path", "requested", "mask", "control")
    result, source, asked_map, label_map, control = (read_view(run, row[name]) for name in names)
    for name, view in zip(names, (result, source, asked_map, label_map, control), strict=True):
        if view.shape != result.shape:
            raise ShapeError(
                f"{run.stored(row[name])} is {view.shape[:2]} but {row['image']} is "
                f"{result.shape[:2]} (height, width); the run folder is damaged"
            )
    asked = asked_map[..., 0] > 0
    label = np.isin(label_map[..., 0], (0, IGNORED), invert=True)
    window = square_window(asked | label)

    def crop(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return fit_view(image[window], size_px)

    marked = crop(result)
    for mask, colour in ((asked, ASKED), (label, LABEL)):
        draw_outline(marked, mask[window], colour)
    whole = fit_view(result, size_px)
    mark_whole(whole, read_outline(str(row.get("part") or "")), label)
    return Views(
        whole=whole, source=crop(source), control=crop(control), result=crop(result), label=marked
    )


def fit_view(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) scaled until its longer side is ``size_px``.

    The shape is kept, and no side gets shorter than 1 px.
    """
    height, width = image.shape[:2]
    scale = size_px / max(height, width)
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size_wh, interpolation=how), np.uint8)


def draw_outline(
    view: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int]
) -> None:
    """Draw the outline of a mask of the same scene, of any size, into a picture.

    ``view`` (H, W, 3) uint8 is changed in place; ``colour`` is RGB, the line 1 px wide.
    """
    is_shrunk = mask.shape[0] > view.shape[0]
    how = cv2.INTER_AREA if is_shrunk else cv2.INTER_CUBIC
    grey = cv2.resize(mask.astype(np.uint8) * 255, view.shape[1::-1], interpolation=how)
    least = 0 if is_shrunk else 127  # shrunk thin lines turn grey
    lines, _ = cv2.findContours(
        (grey > least).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(view, lines, -1, colour, 1)


def mark_whole(
    view: NDArray[np.uint8], part: NDArray[np.bool_] | None, defects: NDArray[np.bool_]
) -> None:
    """Outline the part in green and the defects in yellow on a picture of the whole image.

    ``view`` (h, w, 3) uint8 is changed in place; the masks are of the same scene and of any size,
    ``part`` None where it is not known. A defect that is smaller than 7 px there gets a ring.
    """
    if part is not None:
        draw_outline(view, part, PART)
    cover = cv2.resize(defects.astype(np.float32), view.shape[1::-1], interpolation=cv2.INTER_AREA)
    small = cover > 0
    count, places = cv2.connectedComponents(grow_mask(small, RING_PX).astype(np.uint8))
    marked = small.copy()
    for number in range(1, count):  # what lies so near has one mark
        rows, columns = np.nonzero(small & (places == number))
        if max(np.ptp(rows), np.ptp(columns)) + 1 < MIN_SEEN_PX:
            ring = np.zeros(small.shape, np.uint8)
            cv2.circle(ring, (round(columns.mean()), round(rows.mean())), RING_PX - GAP_PX, 1, -1)
            marked |= ring > 0
    # beside a defect, which the mark must not hide
    inner, line, outer = (grow_mask(marked, GAP_PX + width) for width in (0, LINE_PX, LINE_PX + 1))
    view[outer & ~line] = SHADE
    view[line & ~inner] = LABEL


def read_view(run: RunTables, name: str) -> NDArray[np.uint8]:
    """Read one picture of a run as (H, W, 3) uint8 RGB; ``name`` is as the manifest has it.

    Of 16 bits what lies between the 0.1 and 99.9 percentiles becomes 0..255. Raises RunError where
    the file is gone.
    """
    pixels = decode_image(run.read(name), str(run.stored(name)))
    return to_rgb8(pixels, grey_window(pixels))


def square_window(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return a square around the mask with some surface beside it; the middle where it is empty.

    Rows and columns as slices: 1.4 times the mask's longer side, 96 px or more, and never more than
    the image's shorter side.
    """
    height, width = mask.shape
    rows, columns = (
        np.nonzero(mask) if mask.any() else (np.array([height // 2]), np.array([width // 2]))
    )
    side = min(view_side_px(mask), height, width)
    top = int(np.clip((rows.min() + rows.max()) // 2 - side // 2, 0, height - side))
    left = int(np.clip((columns.min() + columns.max()) // 2 - side // 2, 0, width - side))
    return slice(top, top + side), slice(left, left + side)


def view_side_px(mask: NDArray[np.bool_]) -> int:
    """Return the side of the square in which a mask is looked at, with some surface beside it."""
    if not mask.any():
        return MIN_VIEW_PX
    rows, columns = np.nonzero(mask)
    return max(MIN_VIEW_PX, round(max(int(np.ptp(rows)), int(np.ptp(columns))) * 1.4))


def write_contact_sheet(
    run_folder: Path | str, path: Path, per_class: int = 4, columns: int = 4, size_px: int = 128
) -> Path:
    """Write a PNG: for each class its first accepted samples, source | result | label.

    ``size_px`` is the side of each picture; ``columns`` counts the strips beside each other.
    Returns ``path``. Raises RunError where no sample was accepted.
    """
    run = read_run(run_folder)
    accepted = run.manifest[run.manifest["status"] == "accepted"]
    if accepted.empty:
        raise RunError(f"{run_folder} holds no accepted sample to show")
    cells = []
    for _, row in (
        accepted.groupby("defect_class")
        .head(per_class)
        .sort_values(["defect_class", "sample_id"])
        .iterrows()
    ):
        views = draw_views(run, row, size_px)
        strip = np.hstack([views.source, views.result, views.label])
        cv2.putText(strip, row["defect_class"], (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 0, 3)
        cv2.putText(
            strip, row["defect_class"], (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255,) * 3, 1
        )
        cells.append(np.pad(strip, ((1, 1), (2, 2), (0, 0)), constant_values=255))
    write_png(path, tile(cells, columns))
    return path
