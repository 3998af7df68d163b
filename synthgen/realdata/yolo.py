"""YOLO segmentation: images, a text file of outlines for each, and data.yaml."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from synthgen.errors import SourceError
from synthgen.imaging.geometry import outline_to_mask
from synthgen.imaging.images import read_image
from synthgen.realdata.names import clean_class, name_split, names_no_split, tell_no_split
from synthgen.realdata.paths import (
    find_file,
    list_images,
    read_dataset_text,
    relative_to_root,
    stay_inside,
)
from synthgen.realdata.records import DatasetIndex, ImageRecord, RealDefect
from synthgen.storage.listing import is_hidden

__all__ = ["scan_yolo"]

ROUNDING = 1e-3  # values that are outside of 0..1 by less were rounded
NO_LABELS = {"classes.txt", "obj.names"}  # what annotation tools lay beside label files
SPLIT_KEYS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """A split: the label file of each image, None for a good one; ``place`` holds the images.

    ``place`` is a folder, or a text file that lists the images.
    """

    name: str
    place: Path
    texts: Mapping[Path, Path | None]


class _TextLoader(yaml.BaseLoader):
    """Leaves ``no``, ``on`` and 007 as they are written, and refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"the key {key} stands there twice")
        return super().construct_mapping(node, deep)


def scan_yolo(root: Path, notes: list[str] | None = None, otherwise: str = "train") -> DatasetIndex:
    """Read outlines: ``data.yaml`` and ``images/<split>`` with ``labels/<split>``.

    Roboflow's order, ``<split>/images`` with ``<split>/labels``, is read too, and what data.yaml
    names as train, val and test: folders of images, or text files that list them. ``otherwise`` is
    the split of a folder named ``default`` and the like. An image without a text file is good; a
    note counts such images. The id of a class is its number in data.yaml plus 1. Raises SourceError
    that names what is wrong; for outlines, when their image is read.
    """
    told: list[str] = [] if notes is None else notes
    data, names = _read_data(root / "data.yaml")
    splits = _list_splits(root, data, told, otherwise)
    if not splits:
        raise SourceError(
            f"{root} holds no images where YOLO has them: in images/<split> with labels/<split>, "
            "in <split>/images with <split>/labels, or in a folder that data.yaml names, as in "
            "train: images"
        )
    bare = [image for split in splits for image, text in split.texts.items() if text is None]
    if bare:
        told.append(f"{len(bare)} images without a text file count as good (the first: {bare[0]})")

    def read() -> Iterator[ImageRecord]:
        for split in splits:
            for path, text in split.texts.items():
                height, width = read_image(path).shape[:2]
                lines = [] if text is None else read_dataset_text(text).splitlines()
                defects = tuple(
                    _read_line(line, f"line {number} of {text}", names, (height, width))
                    for number, line in enumerate(lines, start=1)
                    if line.strip()
                )
                name = f"{split.name}-{path.stem}"
                yield ImageRecord(
                    path=path, name=name, split=split.name, size_hw=(height, width), defects=defects
                )

    return DatasetIndex({name: number + 1 for number, name in names.items()}, read())


def _read_data(path: Path) -> tuple[Mapping[str, Any], dict[int, str]]:
    """Return data.yaml, and its classes by number."""
    text = read_dataset_text(path)
    try:
        data = yaml.load(text, Loader=_TextLoader)  # a loader of texts alone builds no objects
    except (yaml.YAMLError, RecursionError) as error:
        raise SourceError(f"{path} cannot be read as YOLO's data.yaml: {error}") from error
    if not isinstance(data, dict):
        raise SourceError(f"{path} cannot be read as YOLO's data.yaml: it has no names")
    found = data.get("names")
    if not isinstance(found, dict | list):
        raise SourceError(f"{path} has no names; a list of classes is expected there")
    pairs = found.items() if isinstance(found, dict) else enumerate(found)
    names: dict[int, str] = {}
    try:
        for number, name in pairs:
            if (other := names.setdefault(int(number), name)) != name:
                raise SourceError(f"{path} has two classes of the id {number}, {other} and {name}")
    except ValueError as error:
        raise SourceError(f"{path} has a class whose id is not a number: {error}") from error
    return data, {number: clean_class(name, str(path)) for number, name in names.items()}


def _list_splits(
    root: Path, data: Mapping[str, Any], notes: list[str], otherwise: str
) -> list[_Split]:
    """Return the splits that data.yaml names, and those that lie beside them."""
    splits: dict[Path, _Split] = {}  # by folder of images, or list of them
    for name in SPLIT_KEYS:
        asked = data.get("val", data.get("valid")) if name == "val" else data.get(name)
        for entry in [asked] if isinstance(asked, str) else asked or []:
            place = _find_place(root, entry, notes)
            if place is None:
                continue
            # Of two splits that name one folder, the one of the folder's name has it.
            is_own = place.is_dir() and name_split(place.name) == name
            if place not in splits or is_own:
                splits[place] = _Split(name=name, place=place, texts=_pair(root, place, notes))
    found = [(path.name, path) for path in root.glob("images/*")]
    found += [(path.parent.name, path) for path in root.glob("*/images")]
    listed = {image for one in splits.values() for image in one.texts}
    for name, place in sorted(found):
        if not place.is_dir() or is_hidden(name) or any(place.is_relative_to(p) for p in splits):
            continue
        lying = set(list_images(place).files)
        if not lying & listed:
            texts = _pair(root, place, notes)
            notes += [tell_no_split(place, otherwise)] if names_no_split(name) else []
            splits[place] = _Split(name=name_split(name, otherwise), place=place, texts=texts)
        elif rest := sorted(lying - listed):
            notes.append(
                f"{len(rest)} images in {place} are not used, as data.yaml does not name them (the "
                f"first: {rest[0]})"
            )
    return sorted(splits.values(), key=lambda one: (one.name, one.place))


def _find_place(root: Path, entry: str, notes: list[str]) -> Path | None:
    """Return the folder or list that data.yaml names; None, and a note, where it is not there.

    Roboflow writes ../train/images for what lies beside data.yaml.
    """
    where = root / "data.yaml"
    path = PurePosixPath(str(entry).replace("\\", "/"))
    while path.parts[:1] == ("..",) and not path.is_absolute():
        path = PurePosixPath(*path.parts[1:])
    path = relative_to_root(root, path)
    if path.is_absolute() or ".." in path.parts:
        raise SourceError(f"{where} names {entry}, which leads out of {root}; move it in there")
    if not path.parts:
        return None
    place = stay_inside(root, path.as_posix(), where)
    if not place.exists():
        notes.append(f"{where} names {entry}, which is not there")
        return None
    return place


def _pair(root: Path, place: Path, notes: list[str]) -> dict[Path, Path | None]:
    """Return the images of a split with their label files, None for those without.

    Raises SourceError for a label file that has no image, or several.
    """
    stay_inside(root, place.relative_to(root).as_posix(), root)
    if place.is_file():
        return _pair_listed(root, place)
    texts = _swap(place, root)
    if texts is None or not texts.is_dir():
        wanted = texts or root / "labels"
        raise SourceError(f"{wanted} is missing, so all images of {place} would pass for good")
    listing = list_images(place)
    notes += listing.notes
    lying = list_images(texts, {".txt"}).files
    found = {path.relative_to(texts).with_suffix("").as_posix(): path for path in lying}
    pairs: dict[Path, Path | None] = {}
    owner: dict[str, Path] = {}
    for path in listing.files:
        key = path.relative_to(place).with_suffix("").as_posix()
        pairs[path] = found.get(key)
        if (other := owner.setdefault(key, path)) != path:
            raise SourceError(
                f"{other} and {path.name} have one label file, {texts / key}.txt, so that one "
                "would get the other's defects; give one of them another name"
            )
    for key, path in found.items():
        if key not in owner and path.name not in NO_LABELS:
            raise SourceError(f"{path} has no image; {place / key}.png is missing")
    return pairs


def _pair_listed(root: Path, listed: Path) -> dict[Path, Path | None]:
    """Return the images that a text file lists, one a line, with their label files."""
    pairs: dict[Path, Path | None] = {}
    owner: dict[Path, Path] = {}
    for line in read_dataset_text(listed).splitlines():
        if not line.strip():
            continue
        path = find_file(root, line.strip(), listed)
        place = _swap(path.parent, root)
        if place is None or not place.is_dir():
            raise SourceError(
                f"{listed} names {line.strip()}, which lies in no folder images with a folder "
                "labels beside it: it would pass for good"
            )
        text = place / f"{path.stem}.txt"
        if (other := owner.setdefault(text, path)) != path:
            raise SourceError(f"{other} and {path} have one label file, {text}; rename one of them")
        pairs[path] = stay_inside(root, text.relative_to(root).as_posix(), listed)
        if not text.is_file():
            pairs[path] = None
    return pairs


def _swap(place: Path, root: Path) -> Path | None:
    """Return the folder of labels of a folder of images: the last ``images`` becomes ``labels``."""
    parts = list(place.relative_to(root).parts)
    if "images" not in parts:
        return None
    at = len(parts) - 1 - parts[::-1].index("images")
    return root.joinpath(*parts[:at], "labels", *parts[at + 1 :])


def _read_line(
    line: str, where: str, names: Mapping[int, str], size_hw: tuple[int, int]
) -> RealDefect:
    """Return the defect of a line ``class x y x y ...``, in fractions of width and height."""
    values = line.split()
    try:
        number, fractions = int(values[0]), np.array([float(value) for value in values[1:]])
    except ValueError as error:
        raise SourceError(f"{where} holds what is not a number: {error}") from error
    if number not in names:
        raise SourceError(f"{where} names class {number}, which data.yaml does not")
    if len(fractions) == 4:
        raise SourceError(f"{where} is a box without an outline; synthgen needs masks")
    if len(fractions) < 6 or len(fractions) % 2:
        raise SourceError(
            f"{where} has {len(fractions)} values after the class; x y x y x y ... fit"
        )
    if not ((fractions >= -ROUNDING) & (fractions <= 1 + ROUNDING)).all():
        raise SourceError(f"{where} has values outside of 0..1, the shares of width and height")
    points = fractions.clip(0, 1).reshape(-1, 2) * size_hw[::-1]
    mask = outline_to_mask(points, size_hw)
    if not mask.any():
        raise SourceError(f"{where} holds no pixel of its image")
    return RealDefect(names[number], mask)
