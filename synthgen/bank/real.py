"""Real images with masked defects, read from a dataset's own files: coco, mvtec, yolo, masks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as checked

from synthgen.bank.formats import (
    GOOD,
    Marked,
    RealDefect,
    find_coco,
    scan_coco,
    scan_mvtec,
    scan_yolo,
)
from synthgen.errors import ConfigError, SourceError
from synthgen.images import Pixels, grey_window, read_image, to_rgb8
from synthgen.imaging.decoding import read_size
from synthgen.realdata.masks import ClassValue, MaskReader
from synthgen.sources import SUFFIXES, grouping, name_files

__all__ = ["RealDefect", "RealImage", "RealSet", "RealSettings", "load_real", "read_real"]

SAFE_NAME = re.compile(r"\w[^/\\\x00-\x1f\x7f-\x9f\u2028\u2029]{0,79}")  # in any file system
RESERVED = (GOOD, "background")  # what exports call images and pixels without a defect


@dataclass(frozen=True, eq=False)
class RealImage:
    """A photo of a real part. ``defects``: one per class, none for a good part."""

    image_id: str
    path: Path
    group: str  # the physical part; never in two splits
    split: str
    defects: tuple[RealDefect, ...]

    def read(self) -> Pixels:
        """Return its pixels, (H, W) or (H, W, 3) RGB, 8 or 16 bit; raises SourceError."""
        return read_image(self.path)

    def read_rgb(self) -> NDArray[np.uint8]:
        """Return its pixels as models see them, (H, W, 3) uint8 RGB."""
        pixels = self.read()
        return to_rgb8(pixels, grey_window(pixels))


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class RealSettings:
    """Where real images and their masks lie; docs/bank.md describes each format.

    ``classes`` names the values or colours of masks (folder, table), ``only`` the classes that are
    wanted. ``min_mask_level`` makes one class of all values from it up (folder, table, mvtec).
    """

    format: Literal["coco", "mvtec", "yolo", "folder", "table"]
    path: Annotated[str, Field(min_length=1)]
    images: str | None = None  # coco: of a single JSON; table: what its paths start from
    masks: str | None = None  # folder: masks under the images' own relative names
    classes: dict[str, ClassValue] | None = None
    min_mask_level: Annotated[int, Field(ge=1, le=65535)] | None = None
    defect_class: Annotated[str, Field(min_length=1)] = "defect"  # folder: without classes
    only: list[str] | None = None
    group_by: str | None = None  # file | folder | a regex; None = as the files say
    split: str | None = None  # None = all; of files that name no split: what they all are


@dataclass(frozen=True, slots=True, eq=False)
class RealSet:
    """Real images in the order of their ids, and sentences on what was guessed or left out."""

    images: Sequence[RealImage]
    notes: Sequence[str]


def read_real(settings: RealSettings | Mapping[str, Any]) -> list[RealImage]:
    """Return the real images that settings name; raises ConfigError, SourceError, ShapeError."""
    return list(load_real(settings).images)


def load_real(settings: RealSettings | Mapping[str, Any]) -> RealSet:
    """Return the real images that settings name, with notes; raises as ``read_real``."""
    asked = settings if isinstance(settings, RealSettings) else _check(settings)
    root = Path(asked.path).expanduser()
    if not root.exists():
        raise SourceError(f"real.path={asked.path!r} does not exist; give the real images' folder")
    notes: list[str] = []
    marked = list(_SCANS[asked.format](asked, root, notes))
    if not marked:
        raise SourceError(f"{root} holds no images in the format {asked.format}")
    _check_names(marked, root)
    wanted = _keep_classes(marked, asked.only, notes)
    images = _name_and_group(wanted, asked, root, notes)
    _check_splits(images)
    if asked.split is not None:
        known = sorted({image.split for image in images})
        images = [image for image in images if image.split == asked.split]
        if not images:
            raise SourceError(f"real.split={asked.split!r}: {root} has {', '.join(known)}")
    return RealSet(sorted(images, key=lambda image: image.image_id), notes)


def _check(settings: Mapping[str, Any]) -> RealSettings:
    try:
        return RealSettings(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"real.{key} is not possible: {first['msg']}") from error


def _scan_coco(asked: RealSettings, root: Path, notes: list[str]) -> Iterator[Marked]:
    if root.is_file():
        images = Path(asked.images).expanduser() if asked.images else root.parent
        yield from scan_coco(root, images, asked.split or "train").images
        return
    for file, images, split in find_coco(root):
        yield from scan_coco(file, images, split).images


def _scan_mvtec(asked: RealSettings, root: Path, notes: list[str]) -> Iterator[Marked]:
    yield from scan_mvtec(root, asked.min_mask_level).images


def _scan_yolo(asked: RealSettings, root: Path, notes: list[str]) -> Iterator[Marked]:
    yield from scan_yolo(root).images


def _scan_folder(asked: RealSettings, root: Path, notes: list[str]) -> Iterator[Marked]:
    if asked.masks is None:
        raise ConfigError("real.masks must be given with real.format=folder: a folder of masks")
    masks = Path(asked.masks).expanduser()
    if not masks.is_dir():
        raise SourceError(f"real.masks={asked.masks!r} is no folder; give a folder of masks")
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    found = _by_stem(p for p in masks.rglob("*") if p.suffix.lower() in SUFFIXES)
    if masks.is_relative_to(root):
        files = [path for path in files if not path.is_relative_to(masks)]
    pairs = {path: _mask_beside(path.relative_to(root), masks, found) for path in files}
    used = set(pairs.values())
    bare = [path for path, mask in pairs.items() if mask is None]
    if 0 < len(bare) < len(pairs):
        notes.append(f"{len(bare)} photos without a mask count as good (the first: {bare[0]})")
    for lone in (one for several in found.values() for one in several if one not in used):
        raise SourceError(f"the mask {lone} has no image of its stem in {root}")
    reader = MaskReader(asked.classes, asked.min_mask_level)
    for path, mask in pairs.items():
        size_hw = read_size(path)
        defects: tuple[RealDefect, ...] = ()
        if mask is not None:
            defects = _read_defects(reader, mask, path, size_hw, asked.defect_class)
        yield Marked(path, path.stem, asked.split or "train", size_hw, defects)
    notes += reader.finish()


def _by_stem(paths: Iterable[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(paths):
        found.setdefault(path.stem.removesuffix("_mask"), []).append(path)
    return found


def _mask_beside(relative: Path, masks: Path, found: Mapping[str, Sequence[Path]]) -> Path | None:
    """Return the mask at the image's relative place, or the only one of its stem."""
    several = found.get(relative.stem, ())
    beside = [path for path in several if path.parent == masks / relative.parent]
    if len(beside) == 1 or len(several) <= 1:
        return next(iter(beside or several), None)
    raise SourceError(
        f"{relative} has {len(several)} masks of its stem: {', '.join(map(str, several[:2]))}; "
        "lay masks under the images' own relative names"
    )


def _scan_table(asked: RealSettings, root: Path, notes: list[str]) -> Iterator[Marked]:
    try:
        table = pd.read_csv(root, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise SourceError(f"{root} cannot be read as a CSV table: {error}") from error
    needed = {"image", "mask"} | (set() if asked.classes else {"class"})
    if missing := sorted(needed - set(table.columns)):
        raise SourceError(
            f"{root} has no column {', '.join(missing)}; a table has image, mask, ..."
        )
    place = Path(asked.images).expanduser() if asked.images else root.parent
    unmasked = 0
    reader = MaskReader(asked.classes, asked.min_mask_level)
    for row in table.to_dict("records"):
        cells = {str(key): str(value) for key, value in row.items()}
        marked = _read_row(cells, place, asked, reader)
        if marked is None:
            unmasked += 1
        else:
            yield marked
    notes += reader.finish()
    if unmasked:
        notes.append(f"{unmasked} images of {root} are left out: their defects have no mask")


def _read_row(
    row: Mapping[str, str], place: Path, asked: RealSettings, reader: MaskReader
) -> Marked | None:
    """Return a row's image, None where it has a defect but no mask (it would pass for good)."""
    path = place / row["image"]
    if not path.is_file():
        raise SourceError(f"{path} is named by {asked.path} but missing")
    size_hw = read_size(path)
    defect_class = row.get("class", "")
    is_good = defect_class in ("", GOOD)
    defects: tuple[RealDefect, ...] = ()
    if row["mask"] and (asked.classes or not is_good):
        mask = place / row["mask"]
        if not mask.is_file():
            raise SourceError(f"the mask {mask} is named by {asked.path} but missing")
        defects = _read_defects(reader, mask, path, size_hw, defect_class)
        _check_ids(mask, defects, defect_class, asked)
    if not defects and not is_good and not (asked.classes and row["mask"]):
        return None
    split = row.get("split") or asked.split or "train"
    return Marked(path, path.stem, split, size_hw, defects, row.get("group", ""))


def _check_ids(
    mask: Path, defects: Sequence[RealDefect], defect_class: str, asked: RealSettings
) -> None:
    """Raise SourceError where a row names a class that its mask does not hold: swapped ids."""
    found = {defect.defect_class for defect in defects}
    for name in defect_class.split("+"):
        if name in (asked.classes or {}) and name not in found:
            raise SourceError(
                f"{asked.path} says that {mask} shows {defect_class}, real.classes make "
                f"{'+'.join(sorted(found)) or 'nothing'} of its values: one of them is wrong"
            )


def _read_defects(
    reader: MaskReader, mask: Path, photo: Path, size_hw: tuple[int, int], defect_class: str
) -> tuple[RealDefect, ...]:
    found = reader.read(mask, size_hw, defect_class, photo)
    return tuple(RealDefect(name, pixels) for name, pixels in found.items())


_SCANS = {
    "coco": _scan_coco,
    "mvtec": _scan_mvtec,
    "yolo": _scan_yolo,
    "folder": _scan_folder,
    "table": _scan_table,
}


def _check_names(marked: Sequence[Marked], root: Path) -> None:
    """Raise SourceError for a class whose name cannot be part of a file's."""
    for name in sorted({defect.defect_class for one in marked for defect in one.defects}):
        if name in RESERVED or not SAFE_NAME.fullmatch(name):
            raise SourceError(
                f"{root} has a class {name!r}, which cannot be a defect's name: it must begin with "
                "a letter, a digit or _, be of 80 signs or fewer without / and \\, and not be "
                f"{' or '.join(RESERVED)}; rename it there"
            )


def _keep_classes(
    marked: Sequence[Marked], only: Sequence[str] | None, notes: list[str]
) -> list[Marked]:
    """Leave images out that hold a defect of a class that is not wanted: they are not good."""
    known = sorted({defect.defect_class for one in marked for defect in one.defects})
    if only is None:
        return list(marked)
    for name in only:
        if name not in known:
            raise SourceError(
                f"real.only names {name!r}; the data has {', '.join(known) or 'none'}"
            )
    kept = [one for one in marked if all(d.defect_class in only for d in one.defects)]
    if dropped := len(marked) - len(kept):
        notes.append(f"{dropped} images are left out: they hold defects of other classes")
    return kept


def _name_and_group(
    marked: Sequence[Marked], asked: RealSettings, root: Path, notes: list[str]
) -> list[RealImage]:
    base = root if root.is_dir() else Path(asked.images or root.parent).expanduser()
    relatives = [
        one.path.relative_to(base) if one.path.is_relative_to(base) else Path(one.path.name)
        for one in marked
    ]
    names = name_files(relatives)
    group_of = grouping(asked.group_by or "file", "real.group_by")
    is_guessed = asked.group_by is None and not all(one.group for one in marked)
    if is_guessed:
        notes.append(
            "every image counts as a part of its own, as the data names no groups; give "
            "real.group_by where several show one part"
        )
    images = []
    for one, relative, name in zip(marked, relatives, names, strict=True):
        own = one.group if asked.group_by is None and one.group else group_of(relative, name)
        images.append(RealImage(name, one.path, own, one.split, _merge(one.defects)))
    return images


def _merge(defects: Sequence[RealDefect]) -> tuple[RealDefect, ...]:
    """Return one defect per class, by name, with all its pixels."""
    merged: dict[str, RealDefect] = {}
    for one in sorted(defects, key=lambda defect: defect.defect_class):
        before = merged.get(one.defect_class)
        own = one if before is None else replace(before, mask=before.mask | one.mask)
        merged[one.defect_class] = own
    return tuple(merged.values())


def _check_splits(images: Sequence[RealImage]) -> None:
    split_of: dict[str, str] = {}
    for image in images:
        before = split_of.setdefault(image.group, image.split)
        if before != image.split:
            raise SourceError(
                f"group {image.group!r} lies in the splits {before} and {image.split}; a part must "
                "be in one of them: change real.group_by or the splits"
            )
