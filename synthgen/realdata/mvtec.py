"""The tree of MVTec AD: train/good, test/<class>, ground_truth/<class>/<stem>_mask.png."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from synthgen.errors import SourceError
from synthgen.imaging.images import read_image
from synthgen.realdata.masks import read_mask
from synthgen.realdata.names import clean_class, is_good, name_split
from synthgen.realdata.paths import list_images
from synthgen.realdata.records import DatasetIndex, ImageRecord, RealDefect
from synthgen.storage.listing import is_hidden
from synthgen.storage.pairing import pair_masks

__all__ = ["list_splits", "scan_mvtec"]

MASKS = "ground_truth"


def list_splits(root: Path) -> list[tuple[Path, str]]:
    """Return the folders of a tree that are splits, and which: train, val or test, in any case."""
    folders = [path for path in sorted(root.glob("*")) if path.is_dir()]
    named = [(path, name_split(path.name)) for path in folders if not is_hidden(path.name)]
    return [(path, split) for path, split in named if split in ("train", "val", "test")]


def scan_mvtec(
    root: Path, notes: list[str] | None = None, min_mask_level: int | None = None
) -> DatasetIndex:
    """Read one category of MVTec AD's tree: ``root`` holds train/, test/ and ground_truth/.

    Every connected piece of a mask (8 neighbours) is a defect of the folder's class.
    ``min_mask_level`` is the ``min_level`` of ``read_mask``. Raises SourceError where a mask is
    missing or without a photo, and, when a photo is read, where its mask is empty or broken.
    """
    told: list[str] = [] if notes is None else notes
    photos: dict[str, list[tuple[Path, Path, str]]] = {}  # by class: split's folder, place, split
    for folder, split in list_splits(root):
        listing = list_images(folder)
        told += listing.notes
        for path in listing.files:
            relative = path.relative_to(folder)
            if len(relative.parts) == 1:
                raise SourceError(
                    f"{path} lies in no folder of a class; {folder}/good or {folder}/<class> is "
                    "expected"
                )
            kind = relative.parts[0]
            photos.setdefault(kind, []).append((folder, Path(*relative.parts[1:]), split))
    kinds = [kind for kind in sorted(photos) if not is_good(kind)]
    masks = _pair(root, {kind: photos[kind] for kind in kinds})
    classes = {clean_class(kind, str(root)): number for number, kind in enumerate(kinds, start=1)}

    def read() -> Iterator[ImageRecord]:
        for kind, places in photos.items():
            for folder, relative, split in places:
                path = folder / kind / relative
                name = f"{split}-{kind}-{path.stem}"
                yield _read_image(path, kind, name, split, masks, min_mask_level)

    return DatasetIndex(classes, read())


def _pair(root: Path, photos: dict[str, list[tuple[Path, Path, str]]]) -> dict[Path, Path]:
    """Return the mask of each photo of a defect; SourceError where the pairs are not clear."""
    found: dict[Path, Path] = {}
    place = root / MASKS
    lying = list_images(place).files if place.is_dir() else []
    relatives = [path.relative_to(place) for path in lying]
    relatives = [path for path in relatives if not is_good(path.parts[0])]  # empty ones, for tools
    known = [Path(kind) / relative for kind, own in photos.items() for _, relative, _ in own]
    for path in (path for path, count in Counter(known).items() if count > 1):
        raise SourceError(
            f"{root} has {path} in two splits, but one mask for both in {MASKS}/; give one of the "
            "photos another name, and a mask of its own"
        )
    pairs = pair_masks(known, relatives)
    if pairs.lone:
        raise SourceError(
            f"the mask {place / pairs.lone[0]} has no image at its relative place in a split; put "
            "the image there, or take the mask away"
        )
    for kind, own in photos.items():
        for folder, relative, _ in own:
            mask = pairs.masks.get(Path(kind) / relative)
            if mask is None:
                wanted = place / kind / relative.with_name(f"{relative.stem}_mask.png")
                raise SourceError(f"{folder / kind / relative} has no mask; {wanted} is missing")
            found[folder / kind / relative] = place / mask
    return found


def _read_image(
    path: Path,
    kind: str,
    name: str,
    split: str,
    masks: dict[Path, Path],
    min_mask_level: int | None,
) -> ImageRecord:
    height, width = read_image(path).shape[:2]
    if is_good(kind):
        return ImageRecord(path=path, name=name, split=split, size_hw=(height, width), defects=())
    mask = read_mask(masks[path], (height, width), min_level=min_mask_level, of_defects=True)
    if not mask.any():
        raise SourceError(
            f"the mask {masks[path]} is empty, but {path} lies in a folder of defects; draw the "
            "defect, or move the photo to good: without a label it would pass for a good one"
        )
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    own = clean_class(kind, str(path))
    defects = tuple(RealDefect(own, pieces == number) for number in range(1, count))
    return ImageRecord(path=path, name=name, split=split, size_hw=(height, width), defects=defects)
