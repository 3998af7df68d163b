"""COCO instances: run lengths and polygons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from synthgen.errors import SourceError
from synthgen.imaging.headers import check_image, read_orientation
from synthgen.realdata.names import (
    clean_class,
    find_split,
    name_split,
    names_no_split,
    tell_no_split,
)
from synthgen.realdata.paths import find_file, read_dataset_text, stay_inside
from synthgen.realdata.records import DatasetIndex, ImageRecord, RealDefect
from synthgen.realdata.settings import RealSettings
from synthgen.storage.listing import SUFFIXES, is_hidden, show_path

__all__ = ["draw_polygons", "find_annotations", "scan_coco", "scan_coco_folder"]

WITHOUT_MASKS = ("captions_", "image_info_", "panoptic_", "person_keypoints_", "stuff_")
HINT = "; real.path=<the JSON> real.images=<a folder> says where its names start from"


def scan_coco_folder(asked: RealSettings, root: Path, notes: list[str]) -> DatasetIndex:
    """Read a folder of COCO datasets, or a single JSON with its images in ``real.images``.

    Files that name no split count as ``real.split``, else as train. Raises SourceError; notes are
    added on guessed splits, and, once all images are read, on images that no JSON names.
    """
    otherwise = name_split(asked.split or "train")
    if root.is_file():
        images = Path(asked.images).expanduser() if asked.images else root.parent
        found = [(root, [images], otherwise)]
    else:
        found = find_annotations(root)
    if not found:
        raise SourceError(
            f"{root / 'annotations'} holds no JSON; COCO instances are expected there, or give the "
            "JSON itself as real.path"
        )
    for file, _, _ in found if root.is_dir() else ():
        stay_inside(root, file.relative_to(root).as_posix(), root)
    notes += [tell_no_split(file, otherwise) for file, _, split in found if names_no_split(split)]
    scans = [scan_coco(file, places, name_split(split, otherwise)) for file, places, split in found]
    classes = {name: number for scan in scans for name, number in scan.classes.items()}

    def read() -> Iterator[ImageRecord]:
        used: dict[Path, set[Path]] = {}
        for scan in scans:
            for one in scan.images:
                used.setdefault(one.path.parent, set()).add(one.path)
                yield one
        for folder, named in used.items():
            lying = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
            lone = [path for path in lying if path not in named and not is_hidden(path.name)]
            if lone:
                notes.append(
                    f"{len(lone)} images in {folder} are not used, as no annotations name them "
                    f"(the first: {show_path(lone[0])})"
                )

    return DatasetIndex(classes, read())


def find_annotations(root: Path) -> list[tuple[Path, list[Path], str]]:
    """Return (JSON, folders that its images may lie in, the split's own name) of a COCO folder.

    The JSONs of ``annotations/`` come first: those named ``instances_*``, or else all but those
    whose name says that they hold no masks. Roboflow's ``<split>/_annotations.coco.json``, beside
    the images, follow.
    """
    files = [
        path
        for path in sorted((root / "annotations").glob("*"))
        if path.suffix.lower() == ".json" and not is_hidden(path.name)
    ]
    instances = [path for path in files if path.name.startswith("instances_")]
    others = [path for path in files if not path.name.startswith(WITHOUT_MASKS)]
    found = []
    for path in instances or others:
        split = find_split(path.stem)
        names = list(dict.fromkeys([split, name_split(split)]))
        places = [place / name for name in names for place in (root, root / "images")]
        found.append((path, [*places, root / "images", root], split))
    for path in sorted(root.glob("*/_annotations.coco.json")):
        if not is_hidden(path.parent.name):
            found.append((path, [path.parent], path.parent.name))
    return found


def scan_coco(annotations: Path, places: Sequence[Path], split: str) -> DatasetIndex:
    """Read COCO instances of one split: run lengths, polygons; boxes alone are not enough.

    Images lie in the first of ``places`` that has what the JSON names first. Raises SourceError
    that names what is wrong: for the JSON as a whole here, for an image when it is read.
    """
    text = read_dataset_text(annotations)
    with _readable(annotations):
        data = _check_parts(json.loads(text), annotations)
        names: dict[int, str] = {}
        for one in data["categories"]:
            number, name = _number(one["id"]), clean_class(one["name"], str(annotations))
            if (other := names.setdefault(number, name)) != name:
                raise SourceError(
                    f"{annotations} has two categories of the id {number}, {other!r} and {name!r}; "
                    "give each an id of its own, in the annotations, too"
                )
        entries = _read_entries(data["images"], annotations)
        by_image = _group_annotations(data["annotations"], entries, names, annotations)
        there = [place for place in places if place.is_dir()]
        first = [str(entry["file_name"]) for entry in entries.values()][:1]
        holding = [place for place in there if any((place / name).is_file() for name in first)]
        images = next(iter([*holding, *there]), places[-1])

    def read() -> Iterator[ImageRecord]:
        for number, entry in entries.items():
            with _readable(annotations):
                marked = _read_image(entry, by_image[number], names, annotations, images, split)
            yield marked

    return DatasetIndex({name: number for number, name in names.items()}, read())


def _check_parts(data: Any, path: Path) -> dict[str, list[Any]]:
    """Return a JSON's lists of images, annotations, categories; SourceError where it has none."""
    lists = ("images", "annotations", "categories")
    missing = [key for key in lists if not isinstance(data, dict) or key not in data]
    if missing:
        raise SourceError(
            f"{path} is not COCO instances: it has no {', '.join(missing)}; export it as COCO from "
            "the tool that drew it"
        )
    for key, needed in (
        ("images", ("id", "file_name", "height", "width")),
        ("categories", ("id",)),
    ):
        for one in data[key]:
            if lacking := [name for name in needed if one.get(name) is None]:
                raise SourceError(
                    f"{path} has an entry in {key} without {', '.join(lacking)}: "
                    f"{str(dict(one))[:80]}"
                )
    return dict(data)


def _read_entries(found: Sequence[dict[str, Any]], path: Path) -> dict[int, dict[str, Any]]:
    """Return the entries of images by id; SourceError for an id or a file that stands twice."""
    entries: dict[int, dict[str, Any]] = {}
    for one in found:
        number = _number(one["id"])
        if number in entries:
            raise SourceError(
                f"{path} has two images of the id {number}, {entries[number]['file_name']} and "
                f"{one['file_name']}: whose its annotations are cannot be told; give each an id of "
                "its own"
            )
        entries[number] = one
    files = Counter(str(one["file_name"]) for one in found)
    for name, count in files.items():
        if count > 1:
            raise SourceError(
                f"{path} has {count} images of the file name {name}; merge them into one, with all "
                "annotations"
            )
    return entries


def _group_annotations(
    found: Sequence[dict[str, Any]],
    images: Mapping[int, Any],
    categories: Mapping[int, str],
    path: Path,
) -> dict[int, list[dict[str, Any]]]:
    """Return the annotations of each image; SourceError for an id that is unknown, or used twice.

    An annotation may lack an id of its own.
    """
    by_image: dict[int, list[dict[str, Any]]] = {number: [] for number in images}
    seen: set[int] = set()
    for entry in found:
        for key, known in (("image_id", images), ("category_id", categories)):
            if _number(entry[key]) not in known:
                raise SourceError(
                    f"annotation {entry.get('id')} of {path} has the {key} {entry[key]}, which is "
                    "not in the file"
                )
        number = None if entry.get("id") is None else _number(entry["id"])
        if number in seen:
            raise SourceError(
                f"{path} has two annotations of the id {number}; give each an id of its own, or "
                "take the second one away"
            )
        if number is not None:
            seen.add(number)
        by_image[_number(entry["image_id"])].append(entry)
    return by_image


def _number(value: Any) -> int:
    """Return an id; raises ValueError for any other value: 1.5 must not become 1."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not an id: a whole number is") from None
    if isinstance(value, bool) or number != float(value):
        raise ValueError(f"{value!r} is not an id: a whole number is")
    return number


@contextmanager
def _readable(what: Path | str) -> Iterator[None]:
    """Turn whatever a value of an unexpected type raises into SourceError."""
    try:
        yield
    except (
        *(AttributeError, KeyError, OSError, OverflowError, RecursionError),
        *(TypeError, ValueError),
    ) as error:
        raise SourceError(f"{what} cannot be read as COCO instances: {error!r}") from error


def _read_image(
    entry: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    file: Path,
    images: Path,
    split: str,
) -> ImageRecord:
    path = find_file(images, entry["file_name"], file, HINT)
    size_hw = int(entry["height"]), int(entry["width"])
    if (own := check_image(path)) != size_hw:  # the JSON was made for another image
        turned = ", turned by 90 degrees since"
        if read_orientation(path) >= 5:
            turned += " by its EXIF orientation, which exiftool -Orientation= IMAGE takes away"
        raise SourceError(
            f"{file} says that {path} is {size_hw[0]} x {size_hw[1]} px (height, width), but it is "
            f"{own[0]} x {own[1]}{turned if own == size_hw[::-1] else ''}: label the image as it "
            "is, or put back the one that was labelled"
        )
    defects = []
    for one in annotations:
        with _readable(f"annotation {one.get('id')} of {file}"):
            mask = _read_mask(one, size_hw, file)
        if not mask.any():
            raise SourceError(
                f"annotation {one.get('id')} of {file} covers no pixel of its image; draw it "
                "larger, or leave the image out, which would pass for good without it"
            )
        defects.append(RealDefect(names[_number(one["category_id"])], mask))
    source = str(entry.get("digital_source", ""))
    return ImageRecord(
        path=path,
        name=path.stem,
        split=split,
        size_hw=size_hw,
        defects=tuple(defects),
        digital_source=source,
    )


def _read_mask(entry: Mapping[str, Any], size_hw: tuple[int, int], path: Path) -> NDArray[np.bool_]:
    shape = entry.get("segmentation")
    if not shape:
        raise SourceError(
            f"annotation {entry.get('id')} of {path} has a box but no mask; synthgen needs masks"
        )
    if isinstance(shape, list):
        for points in shape:
            places = np.array(points, float)
            is_list = places.ndim == 1 and places.size >= 6 and places.size % 2 == 0
            # Points far away would take the rasteriser's memory.
            if not is_list or not (np.abs(places) <= 2 * max(size_hw)).all():
                raise SourceError(
                    f"annotation {entry.get('id')} of {path} has a polygon that is not 3 or more "
                    "points x y x y x y ... of its image; mend it, or leave the image out"
                )
        return draw_polygons(shape, size_hw)
    counts = shape["counts"]
    if list(shape["size"]) != list(size_hw):
        raise SourceError(
            f"annotation {entry.get('id')} of {path} has a mask of {list(shape['size'])} (height, "
            f"width) on an image of {list(size_hw)}"
        )
    rle = coco_mask.frPyObjects(shape, *size_hw) if isinstance(counts, list) else shape
    if (covered := _sum_runs(rle["counts"])) != size_hw[0] * size_hw[1]:
        raise SourceError(
            f"annotation {entry.get('id')} of {path} has run lengths of {covered} px in all on an "
            f"image of {size_hw[0] * size_hw[1]}; draw it again"
        )
    return np.asarray(coco_mask.decode(rle), bool)


def _sum_runs(counts: bytes | str) -> int:
    """Return how many pixels run lengths cover; 0 where the last run is cut off.

    pycocotools does not write the pixels that runs leave out, so they would hold what the memory
    held. A character holds five bits, the lowest first; 32 = more follow. From the fourth on, a run
    is stored as its difference from the run two before it (maskApi.c of pycocotools).
    """
    signs = np.frombuffer(counts.encode() if isinstance(counts, str) else counts, np.uint8)
    codes = signs.astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)
    if not len(ends) or ends[-1] != len(codes) - 1:
        return 0
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    runs = np.add.reduceat((codes & 31) << 5 * place, starts)
    runs -= np.where(codes[ends] & 16, np.int64(1) << 5 * (ends - starts + 1), 0)  # negative ones
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return int(runs.sum())


def draw_polygons(polygons: list[list[float]], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the union of polygons x y x y ... in px, (H, W) bool, by COCO's own rasteriser."""
    rle = coco_mask.merge(coco_mask.frPyObjects(polygons, *size_hw))
    return np.asarray(coco_mask.decode(rle), bool)
