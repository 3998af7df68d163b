"""The defect bank: each real defect cut out, with its mask and its measures; written and read."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.defects.drawing.drawing import SIDES, Side
from synthgen.errors import SourceError
from synthgen.imaging.colour import ring_contrast, to_lab
from synthgen.imaging.geometry import mask_window
from synthgen.imaging.images import CROP_PX, read_image, write_png
from synthgen.progress import track
from synthgen.realdata.records import RealImage
from synthgen.references.clean import CleanPhotos
from synthgen.references.removal import near_weights
from synthgen.references.skeleton import axis_deg, line_length, thin
from synthgen.storage.files import check_name, inside, write_bytes

__all__ = [
    "TABLE",
    "BankItem",
    "BuildSettings",
    "ReferenceSplits",
    "build_bank",
    "check_reference_splits",
    "read_bank",
    "split_defects",
    "tabulate_items",
    "write_bank",
]

TABLE = "bank.parquet"
UNREADABLE = (  # what reading a broken table or its values raises
    *(OSError, ValueError, KeyError, TypeError, AttributeError),
    *(NotImplementedError, OverflowError),
)
MARGIN_PX = 16
CLOSE_PX = 3  # a gap of this in a mask, as in a dashed crack, is still one defect
MIN_AREA_PX = 8
PICTURES = ("crops", "clean", "masks")
MEASURED = ("visible_fraction", "label_iou")  # how samples like it would be labelled
BORDER_PX = 2  # of surface between a defect and the image's border are none
ReferenceSplits = Annotated[tuple[str, ...], Field(min_length=1)]
LINE = 10  # times as long as wide: from here on a defect is a line
ON_GRID = 0.95  # of a length measured along the pixel grid: the true one, on average
OWN, OTHER = 255, 128  # in the masks of a bank: the defect itself, other defects beside it


@dataclass(frozen=True, eq=False)
class BankItem:
    """One real defect. ``crop`` (h, w, 3) uint8 RGB with surface around; masks (h, w) bool.

    ``clean``: the crop without any defect, as ``remove_defects`` makes it.
    """

    defect_class: str
    image_id: str
    group: str
    crop: NDArray[np.uint8]
    clean: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    area_px: int
    contrast_delta_e: float  # against the ring around it; NaN where there is none
    orientation_deg: float  # of its long axis, 0..180, 0 = level
    place_xy: tuple[float, float]  # of its centre, fractions of the image
    length_px: float = 0.0  # along its middle line; of a blob, the side of a square as large
    split: str = "train"
    item_id: str = ""
    others: NDArray[np.bool_] | None = None  # other defects in the crop; None = none
    visible_fraction: float = 1.0  # of the mask: what visibly differs from ``clean``, if measured
    label_iou: float = 1.0  # of the mask and the label of a sample like it, if measured
    corner: tuple[int, int] | None = None  # row and column of the crop in its image; None = unknown

    @property
    def width_px(self) -> float:
        """Its mean width across the middle line: length times width is the area."""
        return float(self.area_px / max(self.length_px, self.area_px**0.5))

    @property
    def is_line(self) -> bool:
        """Whether it is so many times as long as wide as a line is."""
        return self.length_px > LINE * self.width_px

    @property
    def straightness(self) -> float:
        """Its span over its length, 0..1; 1 = straight, in any direction.

        The span is the diagonal of the smallest rectangle around it.
        """
        points = np.argwhere(self.mask).astype(np.float32)
        span = float(np.hypot(*cv2.minAreaRect(points)[1]))
        return min(1.0, span / (self.length_px * ON_GRID))

    @property
    def change(self) -> NDArray[np.float32]:
        """What the defect changes, (h, w, 3) levels; 0 away from it."""
        return near_weights(self.mask) * (self.crop.astype(np.float32) - self.clean)

    @property
    def cut_sides(self) -> tuple[Side, ...]:
        """The borders of the image that it reaches, within 2 px: they may hide a part of it."""
        rim, last = self.mask, BORDER_PX + 1
        ends = {"top": rim[:last], "bottom": rim[-last:]}
        ends |= {"left": rim[:, :last], "right": rim[:, -last:]}
        return tuple(side for side in SIDES if ends[side].any())


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class BuildSettings:
    """How a mask is split into defects, and which splits may lend them.

    ``splits`` names the splits that nothing is scored on.
    """

    close_px: Annotated[int, Field(ge=0, le=64)] = CLOSE_PX
    min_area_px: Annotated[int, Field(ge=1)] = MIN_AREA_PX
    splits: ReferenceSplits = ("train",)


def build_bank(
    images: Sequence[RealImage],
    settings: BuildSettings | None = None,
    photos: CleanPhotos | None = None,
) -> list[BankItem]:
    """Return every defect of the images, one item per connected piece of a class, in order.

    Pieces with a gap of at most ``close_px`` between them are one; pieces smaller than
    ``min_area_px`` are left out. ``photos`` keeps what is made of these images. Raises SourceError
    for a defect of another split, ShapeError for a mask of another size.
    """
    asked = settings or BuildSettings()
    check_reference_splits(images, asked.splits)
    photos = photos or CleanPhotos(images, keeps=False)
    items: list[BankItem] = []
    for image in track(images, "cutting out the defects", unit="images"):
        if not image.defects:
            continue
        views = photos.make(image)
        marked = np.any([defect.mask for defect in image.defects], axis=0)
        pieces = [
            (defect.defect_class, piece)
            for defect in image.defects
            for piece in split_defects(defect.mask, asked.close_px)
            if piece.sum() >= asked.min_area_px
        ]
        for number, (name, piece) in enumerate(pieces, start=1):
            items.append(_cut(image, views, name, piece, marked & ~piece, number))
    return items


def split_defects(mask: NDArray[np.bool_], close_px: int = CLOSE_PX) -> list[NDArray[np.bool_]]:
    """Return the connected pieces (8 neighbours) of a mask, gaps of ``close_px`` bridged.

    >>> len(split_defects(np.array([[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]], dtype=bool), 2))
    2
    """
    # Each side of a gap grows by half of ``close_px``.
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (close_px + 1,) * 2)
    near = cv2.dilate(mask.astype(np.uint8), kernel)
    count, pieces = cv2.connectedComponents(near, connectivity=8)
    return [mask & (pieces == number) for number in range(1, count)]


def _cut(
    image: RealImage,
    views: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    defect_class: str,
    piece: NDArray[np.bool_],
    others: NDArray[np.bool_],
    number: int,
) -> BankItem:
    """Return one piece of a class; ``views``: the image with its defects, and without any."""
    rows, columns = np.nonzero(piece)
    reach = max(int(np.ptp(rows)), int(np.ptp(columns))) + 1
    window = mask_window(piece, max(MARGIN_PX, CROP_PX - reach))  # enough for ``crop_around``
    crop, clean = (np.ascontiguousarray(view[window]) for view in views)
    mask = piece[window]
    beside = others[window]
    height, width = piece.shape
    area = int(mask.sum())
    return BankItem(
        defect_class,
        image.image_id,
        image.group,
        crop,
        clean,
        mask,
        area,
        ring_contrast(to_lab(crop), mask, beside),
        axis_deg(mask),
        (round((columns.mean() + 0.5) / width, 4), round((rows.mean() + 0.5) / height, 4)),
        max(line_length(thin(mask)), round(area**0.5, 1)),
        image.split,
        f"{defect_class}-{image.image_id}-{number}",
        beside if beside.any() else None,
        corner=(window[0].start, window[1].start),
    )


def check_reference_splits(
    images: Sequence[RealImage], splits: Sequence[str], key: str = "bank.splits"
) -> None:
    """Raise SourceError for a defect of a split that may not lend any; ``key`` is the setting."""
    for image in images:
        if image.defects and image.split not in splits:
            wider = ",".join([*splits, image.split])
            raise SourceError(
                f"{image.image_id} is of the split {image.split}: what is scored on must not lend "
                f"defects; give real.split=train, or {key}=[{wider}] where it is not scored on"
            )


def tabulate_items(items: Sequence[BankItem]) -> pd.DataFrame:
    """Return one row per item: its measures, and the paths of its pictures in the bank."""
    columns = ("item_id", "defect_class", "image_id", "group", "split", "area_px", "length_px")
    rows = []
    for item in items:
        row = {name: getattr(item, name) for name in columns}
        row |= {"width_px": round(item.width_px, 2), "orientation_deg": item.orientation_deg}
        row |= {"contrast_delta_e": round(item.contrast_delta_e, 3)}
        row |= {name: getattr(item, name) for name in MEASURED}
        row |= {"place_x": item.place_xy[0], "place_y": item.place_xy[1]}
        top, left = item.corner or (None, None)
        row |= {"crop_top": top, "crop_left": left}
        rows.append(row | {name: f"{name}/{item.item_id}.png" for name in PICTURES})
    return pd.DataFrame(rows)


def write_bank(folder: Path, items: Sequence[BankItem]) -> pd.DataFrame:
    """Write ``crops/``, ``clean/``, ``masks/`` and, last, bank.parquet; return its table.

    Pictures of a bank that was there before and that the new table does not name are deleted.
    Raises SourceError for no items, for two of one id, and for a table that is not a bank's.
    """
    if not items:
        raise SourceError("the real images hold no defect; a bank needs at least one mask")
    table = tabulate_items(items)
    if (same := table["item_id"].duplicated()).any():
        raise SourceError(
            f"two defects would both be called {table['item_id'][same].iloc[0]}; rename an image "
            "or a class"
        )
    old = _find_old(folder, table)
    for item in track(items, "writing the bank", unit="defects"):
        levels = item.mask.astype(np.uint8) * OWN
        if item.others is not None:
            levels[item.others] = OTHER
        write_png(folder / "crops" / f"{item.item_id}.png", item.crop)
        write_png(folder / "clean" / f"{item.item_id}.png", item.clean)
        write_png(folder / "masks" / f"{item.item_id}.png", levels)
    sink = io.BytesIO()
    table.to_parquet(sink, index=False)
    write_bytes(folder / TABLE, sink.getvalue())
    for path in old:
        if path.is_file():
            path.unlink()
    return table


def _find_old(folder: Path, table: pd.DataFrame) -> list[Path]:
    """Return the pictures of a bank that was here before and that the new table does not name."""
    if not (folder / TABLE).is_file():
        return []
    try:
        before = pd.read_parquet(folder / TABLE, columns=list(PICTURES))
    except UNREADABLE as error:
        raise SourceError(f"{folder / TABLE} is not a bank's table; give another folder") from error
    names = {(kind, Path(str(path)).name) for kind in PICTURES for path in before[kind]}
    kept = {(kind, Path(path).name) for kind in PICTURES for path in table[kind]}
    return [folder / kind / name for kind, name in sorted(names - kept)]


def read_bank(folder: Path | str) -> list[BankItem]:
    """Read what ``write_bank`` wrote.

    Raises SourceError that names what is missing, RunError for names that lead out of the bank.
    """
    root = Path(folder).expanduser()
    if not (root / TABLE).is_file():
        raise SourceError(
            f"{root} is not a defect bank: it has no {TABLE}; make one with synthgen bank"
        )
    try:
        rows = pd.read_parquet(root / TABLE).to_dict("records")
        return [
            _read_item(root, {str(key): value for key, value in row.items()})
            for row in track(rows, "reading the bank", unit="defects")
        ]
    except UNREADABLE as error:
        raise SourceError(f"{root / TABLE} cannot be read as a bank: {error!r}") from error


def _read_item(root: Path, row: Mapping[str, Any]) -> BankItem:
    for name in ("item_id", "defect_class"):  # parts of the names of files that are made of it
        check_name(row[name], f"{name} in {root / TABLE}")
    paths = [inside(root, str(row[name])) for name in PICTURES]
    crop, clean, levels = map(read_image, paths)
    if levels.shape != crop.shape[:2] or clean.shape != crop.shape:
        raise SourceError(f"the pictures of {row['item_id']} in {root} differ in size")
    others = levels == OTHER
    _check_row(row, levels == OWN)
    top, left = row.get("crop_top"), row.get("crop_left")  # older banks lack them
    corner = None
    if top is not None and left is not None and not pd.isna(top + left):
        corner = int(top), int(left)
    return BankItem(
        row["defect_class"],
        row["image_id"],
        row["group"],
        crop.astype(np.uint8),
        clean.astype(np.uint8),
        levels == OWN,
        int(row["area_px"]),
        float(row["contrast_delta_e"]),
        float(row["orientation_deg"]),
        (float(row["place_x"]), float(row["place_y"])),
        float(row["length_px"]),
        row["split"],
        row["item_id"],
        others if others.any() else None,
        corner=corner,
        **{name: row[name] for name in MEASURED if name in row},  # older banks lack some
    )


def _check_row(row: Mapping[str, Any], mask: NDArray[np.bool_]) -> None:
    """Raise ValueError, TypeError or KeyError for what no defect of a bank can have."""
    for name in ("image_id", "group", "split"):
        if not isinstance(row[name], str) or not row[name]:
            raise ValueError(f"{name} of {row['item_id']} is {row[name]!r}, not a text")
    bounds = {
        "area_px": (1, mask.size),
        "orientation_deg": (0, 180),
        "length_px": (0, mask.size),
        "place_x": (0, 1),
        "place_y": (0, 1),
        **{name: (0, 1) for name in MEASURED if name in row},
    }
    for name, (least, most) in bounds.items():
        if not least <= float(row[name]) <= most:
            raise ValueError(f"{name} of {row['item_id']} is {row[name]}, not {least} to {most}")
    if not mask.any():
        raise ValueError(f"the mask of {row['item_id']} is empty")
