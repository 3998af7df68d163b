"""A folder of photos with a folder of masks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from synthgen.errors import ConfigError, SourceError
from synthgen.imaging.headers import check_image
from synthgen.realdata.masks import MaskReader
from synthgen.realdata.names import name_split
from synthgen.realdata.paths import list_images
from synthgen.realdata.records import DatasetIndex, ImageRecord, RealDefect
from synthgen.realdata.settings import RealSettings
from synthgen.storage.listing import SUFFIXES, is_hidden
from synthgen.storage.pairing import pair_masks

__all__ = ["read_mask_defects", "scan_folder"]


def scan_folder(asked: RealSettings, root: Path, notes: list[str]) -> DatasetIndex:
    """Read photos, and masks under the photos' own relative names.

    A photo without a mask is good. All photos are of the split ``real.split``, else train. Raises
    ConfigError for a missing setting, SourceError for files that do not fit.
    """
    if asked.masks is None:
        raise ConfigError("real.masks must be given with real.format=folder: a folder of masks")
    masks = Path(asked.masks).expanduser()
    if not masks.is_dir():
        raise SourceError(f"real.masks={asked.masks!r} is not a folder; give a folder of masks")
    if not root.is_dir():
        raise SourceError(
            f"real.path={asked.path!r} is not a folder; give the folder of the photos"
        )
    if masks.resolve() == root.resolve():
        raise SourceError(
            f"real.path and real.masks are one folder, {root}: photos and masks must lie in two"
        )
    mask_of = _pair_photos(root, masks, notes)
    split = name_split(asked.split or "train")

    def read() -> Iterator[ImageRecord]:
        empty: list[Path] = []
        reader = MaskReader(asked.classes, asked.min_mask_level)
        for path, mask in mask_of.items():
            size_hw = check_image(path)
            defects: tuple[RealDefect, ...] = ()
            if mask is not None:
                defects = read_mask_defects(reader, mask, path, size_hw, asked.defect_class)
                empty += [] if defects else [path]
            yield ImageRecord(
                path=path, name=path.stem, split=split, size_hw=size_hw, defects=defects
            )
        notes.extend(reader.finish())
        if empty:
            notes.append(
                f"{len(empty)} photos whose mask shows no defect count as good (the first: "
                f"{empty[0]})"
            )

    return DatasetIndex({name: n for n, name in enumerate(asked.classes or {}, start=1)}, read())


def _pair_photos(root: Path, masks: Path, notes: list[str]) -> dict[Path, Path | None]:
    """Return the mask of each photo, None for a good one; notes say what counts as good.

    Raises SourceError for a mask without a photo, and for labels that are not masks.
    """
    photos = list_images(root)
    files = [path for path in photos.files if not path.is_relative_to(masks)]
    lying = list_images(masks)
    if lying.others:
        raise SourceError(
            f"the mask {lying.others[0]} is of a kind that is not read, so that its photo would "
            "pass for good; save masks as PNG"
        )
    if not lying.files:
        others = sorted(p for p in masks.rglob("*") if p.is_file() and not is_hidden(p.name))
        if others:
            raise SourceError(
                f"real.masks={str(masks)!r} holds no masks, but {others[0].name}: all photos would "
                "pass for good; export masks as PNG from the tool that drew them"
            )
        notes.append(f"{masks} is empty: all {len(files)} photos count as good")
    notes += photos.notes
    pairs = pair_masks(
        [path.relative_to(root) for path in files],
        [path.relative_to(masks) for path in lying.files],
    )
    if pairs.lone:
        raise SourceError(_tell_lone(masks / pairs.lone[0], [*files, *photos.others], root))
    bare = [path for path in files if path.relative_to(root) not in pairs.masks]
    if 0 < len(bare) < len(files):
        notes.append(f"{len(bare)} photos without a mask count as good (the first: {bare[0]})")
    mask_of: dict[Path, Path | None] = dict.fromkeys(files)
    mask_of |= {root / photo: masks / mask for photo, mask in pairs.masks.items()}
    return mask_of


def _tell_lone(mask: Path, photos: list[Path], root: Path) -> str:
    """Return the error about a mask without a photo; ``photos``: also those of unread kinds."""
    stem = mask.stem.removesuffix("_mask")
    alike = [path.relative_to(root).as_posix() for path in photos if path.stem == stem]
    unread = [name for name in alike if Path(name).suffix.lower() not in SUFFIXES]
    if unread:
        return f"the mask {mask} is that of {unread[0]}, of a kind that is not read; save it as PNG"
    told = f" ({', '.join(alike[:2])} lies elsewhere)" if alike else ""
    return (
        f"the mask {mask} has no image of its name in {root}{told}; lay masks under the photos' "
        "own relative names"
    )


def read_mask_defects(
    reader: MaskReader, mask: Path, photo: Path, size_hw: tuple[int, int], defect_class: str
) -> tuple[RealDefect, ...]:
    """Return what the ``mask`` of a ``photo`` shows, one defect per class.

    Empty where it shows no defect. Raises SourceError, ShapeError.
    """
    found = reader.read(mask, size_hw, defect_class, photo)
    return tuple(RealDefect(name, pixels) for name, pixels in found.items())
