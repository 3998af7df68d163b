"""The files of COCO, MVTec AD's tree and YOLO: images, splits and the mask of every defect."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from synthgen.errors import SourceError
from synthgen.geometry import outline_to_mask
from synthgen.images import read_image
from synthgen.realdata.masks import read_mask
from synthgen.sources import SUFFIXES

__all__ = [
    "GOOD",
    "Marked",
    "RealDefect",
    "Scanned",
    "draw_polygons",
    "find_coco",
    "scan_coco",
    "scan_mvtec",
    "scan_yolo",
]

GOOD = "good"
OF_ROBOFLOW = {"valid": "val"}
OF_COCO = {"train2017": "train", "val2017": "val"}


@dataclass(frozen=True, eq=False)
class RealDefect:
    """What is wrong in one image: the pixels of one class, (H, W) bool."""

    defect_class: str
    mask: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Marked:
    """An image and its defects as the files give them, one defect per entry of the format.

    ``group`` is '' where the files do not say which images are of one part.
    """

    path: Path
    name: str
    split: str
    size_hw: tuple[int, int]
    defects: tuple[RealDefect, ...]
    group: str = ""
    digital_source: str = ""


@dataclass(frozen=True, eq=False)
class Scanned:
    """The classes of a dataset by name, with their ids, and its images, read one by one."""

    classes: Mapping[str, int]
    images: Iterator[Marked]


def find_coco(root: Path) -> list[tuple[Path, Path, str]]:
    """Return (JSON, folder of images, split) of each split of a COCO folder; raises SourceError.

    Roboflow's order, ``<split>/_annotations.coco.json`` beside the images, is read too.
    """
    found = []
    for path in sorted((root / "annotations").glob("*.json")):
        split = path.stem.rpartition("_")[2]
        split = OF_COCO.get(split, split)
        places = [root / split, root / "images" / split, root / "images", root]
        found.append((path, next((p for p in places if p.is_dir()), root), split))
    for path in sorted(root.glob("*/_annotations.coco.json")):
        found.append((path, path.parent, OF_ROBOFLOW.get(path.parent.name, path.parent.name)))
    if not found:
        raise SourceError(
            f"{root / 'annotations'} holds no JSON; COCO instances are expected there"
        )
    return found


def scan_coco(annotations: Path, images: Path, split: str) -> Scanned:
    """Read COCO instances of one split: run lengths, polygons; boxes alone are not enough.

    Images that the JSON names lie in ``images``. Raises SourceError that names what is wrong.
    """
    with _readable(annotations):
        data = json.loads(annotations.read_text(encoding="utf-8"))
        names = {int(c["id"]): str(c["name"]) for c in data["categories"]}
        by_image: dict[int, list[dict[str, Any]]] = {int(i["id"]): [] for i in data["images"]}
        for entry in data["annotations"]:
            _check_ids(entry, by_image, names, annotations)
            by_image[int(entry["image_id"])].append(entry)

    def read() -> Iterator[Marked]:
        for entry in data["images"]:
            with _readable(annotations):
                marked = _read_coco_image(entry, by_image, names, annotations, images, split)
            yield marked

    return Scanned({name: number for number, name in names.items()}, read())


def _check_ids(
    entry: Mapping[str, Any],
    images: Collection[int],
    categories: Collection[int],
    path: Path,
) -> None:
    for key, known in (("image_id", images), ("category_id", categories)):
        if int(entry[key]) not in known:
            raise SourceError(
                f"annotation {entry.get('id')} of {path} has the {key} {entry[key]}, which is not "
                "in the file"
            )


@contextmanager
def _readable(what: Path | str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{what} cannot be read as COCO instances: {error!r}") from error


def _read_coco_image(
    entry: Mapping[str, Any],
    by_image: Mapping[int, list[dict[str, Any]]],
    names: Mapping[int, str],
    annotations: Path,
    images: Path,
    split: str,
) -> Marked:
    size_hw = int(entry["height"]), int(entry["width"])
    defects = []
    for one in by_image[int(entry["id"])]:
        with _readable(f"annotation {one.get('id')} of {annotations}"):
            mask = _read_coco_mask(one, size_hw, annotations)
        if not mask.any():
            raise SourceError(
                f"annotation {one.get('id')} of {annotations} covers no pixel of its image; leave "
                "it out"
            )
        defects.append(RealDefect(names[int(one["category_id"])], mask))
    path = images / entry["file_name"]
    source = str(entry.get("digital_source", ""))
    return Marked(path, path.stem, split, size_hw, tuple(defects), digital_source=source)


def _read_coco_mask(
    entry: Mapping[str, Any], size_hw: tuple[int, int], path: Path
) -> NDArray[np.bool_]:
    shape = entry.get("segmentation")
    if not shape:
        raise SourceError(
            f"annotation {entry.get('id')} of {path} has a box but no mask; synthgen needs masks"
        )
    if isinstance(shape, list):
        if not all(_is_polygon(points, size_hw) for points in shape):
            raise SourceError(
                f"annotation {entry.get('id')} of {path} has a polygon that is not 3 or more "
                "points x y x y x y ... of its image; mend it or leave it out"
            )
        return draw_polygons(shape, size_hw)
    counts = shape["counts"]
    if list(shape["size"]) != list(size_hw):
        raise SourceError(
            f"annotation {entry.get('id')} of {path} has a mask of {list(shape['size'])} (height, "
            f"width) on an image of {list(size_hw)}"
        )
    rle = coco_mask.frPyObjects(shape, *size_hw) if isinstance(counts, list) else shape
    return np.asarray(coco_mask.decode(rle), bool)


def _is_polygon(points: Any, size_hw: tuple[int, int]) -> bool:
    places = np.array(points, float)  # far away ones would take the rasteriser's memory
    is_list = places.ndim == 1 and places.size >= 6 and places.size % 2 == 0
    return is_list and bool((np.abs(places) <= 2 * max(size_hw)).all())


def draw_polygons(polygons: list[list[float]], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return what COCO's own rasteriser fills of polygons x y x y ..., (H, W) bool."""
    rle = coco_mask.merge(coco_mask.frPyObjects(polygons, *size_hw))
    return np.asarray(coco_mask.decode(rle), bool)


def scan_mvtec(root: Path, min_mask_level: int | None = None) -> Scanned:
    """Read one category of MVTec AD's tree: ``root`` holds train/, test/ and ground_truth/.

    Every piece of a mask (8 neighbours) is a defect of the folder's class. ``min_mask_level``: as
    ``read_mask``. Raises SourceError where a mask is missing or broken.
    """
    files = sorted(p for p in root.glob("t*/*/*") if p.suffix.lower() in SUFFIXES)
    files = [path for path in files if path.parts[-3] in ("train", "test")]
    kinds = sorted({path.parts[-2] for path in files} - {GOOD})
    classes = {kind: number for number, kind in enumerate(kinds, start=1)}
    return Scanned(classes, (_read_mvtec_image(root, path, min_mask_level) for path in files))


def _read_mvtec_image(root: Path, path: Path, min_mask_level: int | None) -> Marked:
    split, kind = path.parts[-3:-1]
    height, width = read_image(path).shape[:2]
    defects: tuple[RealDefect, ...] = ()
    if kind != GOOD:
        mask = read_mask(_mask_of(root, kind, path), (height, width), min_level=min_mask_level)
        count, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        defects = tuple(RealDefect(kind, pieces == number) for number in range(1, count))
    return Marked(path, f"{split}-{kind}-{path.stem}", split, (height, width), defects)


def _mask_of(root: Path, kind: str, image: Path) -> Path:
    for name in (f"{image.stem}_mask.png", f"{image.stem}.png"):
        if (path := root / "ground_truth" / kind / name).is_file():
            return path
    wanted = root / "ground_truth" / kind / f"{image.stem}_mask.png"
    raise SourceError(f"{image} has no mask; {wanted} is missing")


def scan_yolo(root: Path) -> Scanned:
    """Read outlines: ``data.yaml`` and ``images/<split>`` with ``labels/<split>``.

    Roboflow's order, ``<split>/images`` with ``<split>/labels``, is read too; its ``valid`` becomes
    ``val``. Class ids are one higher than in the files, as 0 is good. An image without a text file
    is good. Raises SourceError that names what is wrong.
    """
    names = _read_names(root / "data.yaml")

    def read() -> Iterator[Marked]:
        for split, place, texts in _split_folders(root):
            for stem, path in _pair_texts(place, texts).items():
                height, width = read_image(path).shape[:2]
                defects = _read_lines(texts / f"{stem}.txt", names, (height, width))
                yield Marked(path, f"{split}-{stem}", split, (height, width), defects)

    return Scanned({name: number + 1 for number, name in names.items()}, read())


def _read_names(path: Path) -> dict[int, str]:
    try:
        names: Any = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise SourceError(f"{path} cannot be read as YOLO's data.yaml: {error!r}") from error


def _split_folders(root: Path) -> list[tuple[str, Path, Path]]:
    """Return split, folder of images and folder of labels."""
    found = [(p.name, p, root / "labels" / p.name) for p in root.glob("images/*")]
    found += [(p.parent.name, p, p.with_name("labels")) for p in root.glob("*/images")]
    return sorted((OF_ROBOFLOW.get(s, s), p, texts) for s, p, texts in found if p.is_dir())


def _pair_texts(place: Path, texts: Path) -> dict[str, Path]:
    """Return the images of a split by stem; raises SourceError for a text without an image."""
    if not texts.is_dir():
        raise SourceError(f"{texts} is missing, so all images of {place} would pass for good")
    files = {p.stem: p for p in sorted(place.iterdir()) if p.suffix.lower() in SUFFIXES}
    for text in sorted(texts.glob("*.txt")):
        if text.stem not in files:
            raise SourceError(f"{text} has no image; {place / text.stem}.png is missing")
    return files


def _read_lines(
    path: Path, names: dict[int, str], size_hw: tuple[int, int]
) -> tuple[RealDefect, ...]:
    if not path.is_file():
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {error!r}") from error
    return tuple(
        _read_line(line, f"line {number} of {path}", names, size_hw)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def _read_line(
    line: str, where: str, names: dict[int, str], size_hw: tuple[int, int]
) -> RealDefect:
    values = line.split()
    try:
        number, shares = int(values[0]), np.array([float(value) for value in values[1:]])
    except ValueError as error:
        raise SourceError(f"{where} holds what is no number: {error}") from error
    if number not in names:
        raise SourceError(f"{where} names class {number}, which data.yaml does not")
    if len(shares) == 4:
        raise SourceError(f"{where} is a box without an outline; synthgen needs masks")
    if len(shares) < 6 or len(shares) % 2:
        raise SourceError(f"{where} has {len(shares)} values after the class; x y x y x y ... fit")
    if not ((shares >= 0) & (shares <= 1)).all():
        raise SourceError(f"{where} has values outside of 0..1, the shares of width and height")
    mask = outline_to_mask(shares.reshape(-1, 2) * size_hw[::-1], size_hw)
    if not mask.any():
        raise SourceError(f"{where} holds no pixel of its image")
    return RealDefect(names[number], mask)
