"""Real images with masked defects, read from a dataset's own files in any format."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from synthgen.errors import ConfigError, SourceError
from synthgen.realdata.coco import find_annotations, scan_coco_folder
from synthgen.realdata.folder import scan_folder
from synthgen.realdata.mvtec import list_splits, scan_mvtec
from synthgen.realdata.names import check_classes, class_key, is_good, name_split
from synthgen.realdata.records import DatasetIndex, ImageRecord, RealDefect, RealImage, RealSet
from synthgen.realdata.settings import Format, RealSettings, check_settings
from synthgen.realdata.table import scan_table
from synthgen.realdata.yolo import scan_yolo
from synthgen.storage.grouping import grouping, name_files

__all__ = ["RealEntries", "RealEntry", "load_entries", "load_real", "read_real"]

log = logging.getLogger(__name__)
Taken = TypeVar("Taken")
FILES: Mapping[str, Format] = {".json": "coco", ".csv": "table", ".txt": "table"}
HEAD_BYTES = 1 << 16  # two photos of one size differ within their first bytes


@dataclass(frozen=True, eq=False)
class RealEntry(Generic[Taken]):
    """A real image as it is told from others, and what the caller took of its labels."""

    image_id: str
    path: Path
    group: str  # the physical part; never in two splits
    split: str
    taken: Taken


@dataclass(frozen=True, eq=False)
class RealEntries(Generic[Taken]):
    """Real images in the order of their ids; the classes that the data has; and notes."""

    images: Sequence[RealEntry[Taken]]
    classes: Sequence[str]
    notes: Sequence[str]


def read_real(settings: RealSettings | Mapping[str, Any]) -> list[RealImage]:
    """Return the real images that settings name; notes go into the log. Raises as ``load_real``."""
    found = load_real(settings)
    for note in found.notes:
        log.warning("synthgen: %s", note)
    return list(found.images)


def load_real(settings: RealSettings | Mapping[str, Any]) -> RealSet:
    """Return the real images that settings name, with notes on what was guessed or left out.

    Raises ConfigError, SourceError, ShapeError.
    """
    found = load_entries(settings, lambda one: _merge(one.defects))
    images = [RealImage(e.image_id, e.path, e.group, e.split, e.taken) for e in found.images]
    return RealSet(images, found.notes)


def load_entries(
    settings: RealSettings | Mapping[str, Any], take: Callable[[ImageRecord], Taken]
) -> RealEntries[Taken]:
    """Return what ``take`` makes of each real image, read one by one, so that masks need not stay.

    Raises ConfigError, SourceError, ShapeError.
    """
    asked = settings if isinstance(settings, RealSettings) else check_settings(settings)
    if asked.path is None:
        raise ConfigError("real.path must be given: where the real images lie")
    root = Path(asked.path).expanduser()
    if not root.exists():
        raise SourceError(f"real.path={asked.path!r} does not exist; it is no folder and no file")
    if asked.images is not None and not Path(asked.images).expanduser().is_dir():
        raise SourceError(f"real.images={asked.images!r} is no folder; names start from a folder")
    notes: list[str] = []
    layout = _find_format(root, asked) if asked.format == "auto" else asked.format
    scanned = _scan(layout, asked, root, notes)
    kept: list[tuple[ImageRecord, Taken]] = []
    known: set[str] = set()
    places: dict[str, ImageRecord] = {}
    faulty: set[Path] = set()
    for one in scanned.images:
        plain = replace(one, defects=())  # masks are large
        _check_once(plain, places, root)
        own = {defect.defect_class for defect in one.defects}
        known |= own
        faulty |= {one.path} if own else set()
        if asked.only is None or own <= set(asked.only):
            kept.append((plain, take(one)))
    if not places:
        raise SourceError(f"{root} holds no images in the format {layout}")
    check_classes(known, str(root))
    _check_only(asked, known)
    if dropped := len(places) - len(kept):
        notes.append(f"{dropped} images are left out: they hold defects of other classes")
    marked = [one for one, _ in kept]
    notes += _tell_copies(marked, faulty)
    names = _name_and_group(marked, asked, root, notes)
    entries = [
        RealEntry(name, one.path, group, one.split, taken)
        for (one, taken), (name, group) in zip(kept, names, strict=True)
    ]
    _check_splits(entries)
    declared = scanned.classes if asked.only is None else asked.only
    keys = {class_key(name) for name in known}
    classes = [*known, *(name for name in declared if class_key(name) not in keys)]
    entries = _keep_split(entries, asked, root)
    return RealEntries(sorted(entries, key=lambda e: e.image_id), sorted(set(classes)), notes)


def _scan(layout: Format, asked: RealSettings, root: Path, notes: list[str]) -> DatasetIndex:
    if layout == "folder":
        return scan_folder(asked, root, notes)
    if layout == "table":
        return scan_table(asked, root, notes)
    if layout == "coco":
        return scan_coco_folder(asked, root, notes)
    if layout == "mvtec":
        return scan_mvtec(root, notes, asked.min_mask_level)
    return scan_yolo(root, notes, name_split(asked.split or "train"))


def _find_format(root: Path, asked: RealSettings) -> Format:
    """Return the format that a path has the marks of; raises SourceError for none or several."""
    if root.is_file():
        found_by = FILES.get(root.suffix.lower())
        if found_by is None:
            raise SourceError(
                f"real.path={str(root)!r} is a file, but neither a COCO JSON nor a table (.csv); "
                "save it as one of these, or give a folder"
            )
        return found_by
    if asked.masks is not None:
        return "folder"
    found: list[Format] = []
    if find_annotations(root):
        found.append("coco")
    if (root / "ground_truth").is_dir() or any(_has_good(path) for path, _ in list_splits(root)):
        found.append("mvtec")
    if (root / "data.yaml").is_file():
        found.append("yolo")
    if len(found) > 1:
        raise SourceError(f"real.path={str(root)!r} may be {' or '.join(found)}; give real.format")
    if not found:
        raise SourceError(
            f"real.path={str(root)!r} is neither COCO (annotations/instances_<split>.json and "
            "<split>/*.png) nor one category of MVTec AD (train/good, test/<class>, ground_truth) "
            "nor YOLO (data.yaml, images, labels); of plain folders give real.masks too"
        )
    return found[0]


def _has_good(split: Path) -> bool:
    return any(is_good(path.name) for path in split.glob("*") if path.is_dir())


def _check_once(one: ImageRecord, places: dict[str, ImageRecord], root: Path) -> None:
    other = places.setdefault(os.path.realpath(one.path), one)
    if other is not one:
        splits = " and ".join(dict.fromkeys([other.split, one.split]))
        raise SourceError(
            f"{root} names {one.path} twice (split {splits}); a photo must stand there once"
        )


def _check_only(asked: RealSettings, known: set[str]) -> None:
    for name in asked.only or ():
        if name not in known:
            raise SourceError(
                f"real.only names {name!r}; the data has {', '.join(sorted(known)) or 'none'}"
            )


def _name_and_group(
    marked: Sequence[ImageRecord], asked: RealSettings, root: Path, notes: list[str]
) -> Iterator[tuple[str, str]]:
    """Return an id and a group per image: by its path in the dataset."""
    base = root if root.is_dir() else Path(asked.images or root.parent).expanduser()
    relatives = [
        one.path.relative_to(base) if one.path.is_relative_to(base) else Path(one.path.name)
        for one in marked
    ]
    names = name_files(relatives)
    group_of = grouping(asked.group_by or "file", "real.group_by")
    if asked.group_by is None and not all(one.group for one in marked):
        notes.append(
            "every image counts as a part of its own, as the data names no groups; give "
            "real.group_by where several show one part"
        )
    own = [one.group if asked.group_by is None else "" for one in marked]
    pairs = zip(own, relatives, names, strict=True)
    groups = [group or group_of(relative, name) for group, relative, name in pairs]
    return zip(names, groups, strict=True)


def _merge(defects: Sequence[RealDefect]) -> tuple[RealDefect, ...]:
    """Return one defect per class, by name, with all its pixels."""
    merged: dict[str, RealDefect] = {}
    for one in sorted(defects, key=lambda defect: defect.defect_class):
        before = merged.get(one.defect_class)
        own = one if before is None else replace(before, mask=before.mask | one.mask)
        merged[one.defect_class] = own
    return tuple(merged.values())


def _check_splits(images: Sequence[RealEntry[Any]]) -> None:
    split_of: dict[str, str] = {}
    for image in images:
        before = split_of.setdefault(image.group, image.split)
        if before != image.split:
            raise SourceError(
                f"group {image.group!r} lies in the splits {before} and {image.split}; a part must "
                "be in one of them: change real.group_by or the splits"
            )


def _keep_split(
    images: list[RealEntry[Taken]], asked: RealSettings, root: Path
) -> list[RealEntry[Taken]]:
    if asked.split is None:
        return images
    wanted = name_split(asked.split)
    kept = [image for image in images if image.split == wanted]
    if not kept:
        known = ", ".join(sorted({image.split for image in images}))
        raise SourceError(f"real.split={asked.split!r}: {root} has {known}")
    return kept


def _tell_copies(marked: Sequence[ImageRecord], faulty: Collection[Path]) -> list[str]:
    """Say which files are copies, byte for byte, that lie in two splits or are good and not."""
    told = []
    alike = _group(marked, lambda one: one.path.stat().st_size)
    alike = [own for several in alike for own in _group(several, lambda one: _head(one.path))]
    for own in (own for several in alike for own in _group(several, lambda one: _hash(one.path))):
        for one in own[1:]:
            if own[0].split != one.split:
                told.append(f"{own[0].path} ({own[0].split}) and {one.path} ({one.split})")
            elif (own[0].path in faulty) != (one.path in faulty):
                told.append(f"{own[0].path} and {one.path}, of which one is good")
    if not told:
        return []
    return [
        f"{len(told)} photos are copies of others, byte for byte, in another split or with other "
        f"labels; the first: {told[0]}"
    ]


def _group(
    marked: Sequence[ImageRecord], key: Callable[[ImageRecord], Hashable]
) -> list[list[ImageRecord]]:
    """Return those of several that have one key, together; lone ones are left out."""
    found: dict[Hashable, list[ImageRecord]] = {}
    for one in marked:
        found.setdefault(key(one), []).append(one)
    return [own for own in found.values() if len(own) > 1]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
