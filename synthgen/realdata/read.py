"""Real images with masked defects, read from a dataset's own files in any format."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from synthgen.errors import ConfigError, SourceError, SynthgenError
from synthgen.progress import track
from synthgen.realdata.coco import find_annotations, scan_coco_folder
from synthgen.realdata.folder import scan_folder
from synthgen.realdata.mvtec import list_splits, scan_mvtec
from synthgen.realdata.names import check_class, check_classes, class_key, is_good, name_split
from synthgen.realdata.records import DatasetIndex, ImageRecord, RealDefect, RealImage, RealSet
from synthgen.realdata.settings import Format, RealSettings, check_settings
from synthgen.realdata.table import scan_table
from synthgen.realdata.yolo import scan_yolo
from synthgen.storage.grouping import grouping, name_files

__all__ = ["RealEntries", "RealEntry", "load_entries", "load_real", "read_real"]

log = logging.getLogger(__name__)
Taken = TypeVar("Taken")
FILES: Mapping[str, Format] = {".json": "coco", ".csv": "table", ".txt": "table"}
REAL_KEY = re.compile(r"(?<![\w./])real(?=\.(?!csv)[a-z_]+)")  # as it begins a key in a message
HEAD_BYTES = 1 << 16  # within which two different photos of one size differ, nearly always


@dataclass(frozen=True, eq=False)
class RealEntry(Generic[Taken]):
    """A real image: what tells it from others, and what the caller took of its labels."""

    image_id: str
    path: Path
    group: str  # the physical part; never in two splits
    split: str
    taken: Taken


@dataclass(frozen=True, eq=False)
class RealEntries(Generic[Taken]):
    """Real images in the order of their ids; the classes of the data, by name; and notes.

    A class that the files declare counts, too, though no image has it.
    """

    images: Sequence[RealEntry[Taken]]
    classes: Sequence[str]
    notes: Sequence[str]


def read_real(settings: RealSettings | Mapping[str, Any], *, key: str = "real") -> list[RealImage]:
    """Return the real images that settings name; notes go into the log.

    ``key``: where in the config the settings stand, which errors name. Raises ConfigError,
    SourceError, ShapeError, as ``load_real`` does.
    """
    try:
        found = load_real(settings)
    except SynthgenError as error:
        raise type(error)(REAL_KEY.sub(key, str(error))) from error
    for note in found.notes:
        log.warning("synthgen: %s", note)
    return list(found.images)


def load_real(settings: RealSettings | Mapping[str, Any]) -> RealSet:
    """Return the real images that settings name, with notes on what was guessed or left out.

    All masks are held in memory. Raises ConfigError for settings, SourceError for files that
    cannot be read or contradict each other, ShapeError for a mask of another size than its image.
    """
    found = load_entries(settings, lambda one: _merge(one.defects))
    images = [
        RealImage(image_id=e.image_id, path=e.path, group=e.group, split=e.split, defects=e.taken)
        for e in found.images
    ]
    return RealSet(images, found.notes)


def load_entries(
    settings: RealSettings | Mapping[str, Any], take: Callable[[ImageRecord], Taken]
) -> RealEntries[Taken]:
    """Return what ``take`` makes of each real image.

    Images are read one by one, so that masks need not stay in memory. ``take`` is not called for
    images that ``real.only`` leaves out, but for those of other splits. Raises as ``load_real``.
    """
    asked = settings if isinstance(settings, RealSettings) else check_settings(settings)
    if asked.path is None:
        raise ConfigError("real.path must be given: where the real images lie")
    check_class(asked.defect_class, f"real.defect_class={asked.defect_class!r}")
    root = Path(asked.path).expanduser()
    if not root.exists():
        raise SourceError(
            f"real.path={asked.path!r} does not exist; it is not a folder and no file"
        )
    if asked.images is not None and not Path(asked.images).expanduser().is_dir():
        raise SourceError(
            f"real.images={asked.images!r} is not a folder; names start from a folder"
        )
    notes: list[str] = []
    layout = _find_format(root, asked) if asked.format == "auto" else asked.format
    scanned = _scan(layout, asked, root, notes)
    kept: list[tuple[ImageRecord, Taken]] = []
    known: set[str] = set()
    places: dict[str, ImageRecord] = {}
    faulty: set[Path] = set()
    for one in track(scanned.images, "reading the real images", unit="images"):
        plain = replace(one, defects=())  # masks are large
        other = places.setdefault(os.path.realpath(one.path), plain)
        if other is not plain:
            splits = " and ".join(dict.fromkeys([other.split, one.split]))
            raise SourceError(
                f"{root} names {one.path} twice (split {splits}); a photo must stand there once"
            )
        own = {defect.defect_class for defect in one.defects}
        known |= own
        faulty |= {one.path} if own else set()
        if asked.only is None or own <= set(asked.only):
            kept.append((plain, take(one)))
    if not places:
        raise SourceError(f"{root} holds no images in the format {layout}")
    check_classes(known, str(root))
    for name in asked.only or ():
        if name not in known:
            raise SourceError(
                f"real.only names {name!r}; the data has {', '.join(sorted(known)) or 'none'}"
            )
    if dropped := len(places) - len(kept):
        notes.append(f"{dropped} images are left out: they hold defects of other classes")
    notes += _tell_copies([one for one, _ in kept], faulty)
    entries = _make_entries(kept, asked, root, notes)
    declared = scanned.classes if asked.only is None else asked.only
    keys = {class_key(name) for name in known}
    classes = [*known, *(name for name in declared if class_key(name) not in keys)]
    entries = _keep_split(entries, asked, root)
    return RealEntries(sorted(entries, key=lambda e: e.image_id), sorted(set(classes)), notes)


def _scan(layout: Format, asked: RealSettings, root: Path, notes: list[str]) -> DatasetIndex:
    """Read the index of a dataset by the reader of its format."""
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
    kinds = [path for split, _ in list_splits(root) for path in split.glob("*") if path.is_dir()]
    if (root / "ground_truth").is_dir() or any(is_good(path.name) for path in kinds):
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


def _make_entries(
    kept: Sequence[tuple[ImageRecord, Taken]], asked: RealSettings, root: Path, notes: list[str]
) -> list[RealEntry[Taken]]:
    """Return an entry per image, with an id by its path, and its group.

    The group is that of the files, or as ``real.group_by`` says. Raises SourceError for a group in
    two splits.
    """
    base = root if root.is_dir() else Path(asked.images or root.parent).expanduser()
    relatives = [
        one.path.relative_to(base) if one.path.is_relative_to(base) else Path(one.path.name)
        for one, _ in kept
    ]
    names = name_files(relatives)
    group_of = grouping(asked.group_by or "file", "real.group_by")
    if asked.group_by is None and not all(one.group for one, _ in kept):
        notes.append(
            "every image counts as a part of its own, as the data names no groups; give "
            "real.group_by where several show one part"
        )
    entries: list[RealEntry[Taken]] = []
    split_of: dict[str, str] = {}
    for (one, taken), relative, name in zip(kept, relatives, names, strict=True):
        own = one.group if asked.group_by is None else ""
        group = own or group_of(relative, name)
        before = split_of.setdefault(group, one.split)
        if before != one.split:
            raise SourceError(
                f"group {group!r} lies in the splits {before} and {one.split}; a part must be in "
                "one of them: change real.group_by or the splits"
            )
        entries.append(RealEntry(name, one.path, group, one.split, taken))
    return entries


def _merge(defects: Sequence[RealDefect]) -> tuple[RealDefect, ...]:
    """Return one defect per class, by name, with all its pixels."""
    merged: dict[str, RealDefect] = {}
    for one in sorted(defects, key=lambda defect: defect.defect_class):
        before = merged.get(one.defect_class)
        own = one if before is None else replace(before, mask=before.mask | one.mask)
        merged[one.defect_class] = own
    return tuple(merged.values())


def _keep_split(
    images: list[RealEntry[Taken]], asked: RealSettings, root: Path
) -> list[RealEntry[Taken]]:
    """Return the images of ``real.split``, None = all; SourceError where it has none."""
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
    # Few photos have one size, and fewer one beginning: hardly any is read as a whole.
    sized = _group(marked, lambda one: one.path.stat().st_size)
    begun = [o for s in sized for o in _group(s, lambda one: _digest(one.path, HEAD_BYTES))]
    alike = [own for s in begun for own in _group(s, lambda one: _digest(one.path))]
    for own in alike:
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
    """Return the images that share a key, in groups of two or more."""
    found: dict[Hashable, list[ImageRecord]] = {}
    for one in marked:
        found.setdefault(key(one), []).append(one)
    return [own for own in found.values() if len(own) > 1]


def _digest(path: Path, count: int = -1) -> str:
    """Return the SHA-256 of the first ``count`` bytes of a file, -1 = of all."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(count)).hexdigest()
