"""Photos of good parts in a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.errors import ConfigError, ShapeError, SourceError
from synthgen.imaging.decoding import read_opaque
from synthgen.imaging.headers import check_image
from synthgen.imaging.images import grey_window, read_image, to_rgb8
from synthgen.progress import track
from synthgen.realdata.masks import read_mask
from synthgen.samples.sample import Part, SourceImage
from synthgen.sources.catalogue import SourceEntry
from synthgen.sources.parts import PartFinder
from synthgen.storage.grouping import grouping, name_files
from synthgen.storage.listing import Listing, list_files
from synthgen.storage.pairing import pair_masks

__all__ = [
    "FolderSources",
    "Foreground",
    "check_foreground",
]

MIN_SIDE_PX = 32
KEPT = 64  # photos whose parts are remembered
CUT_OUT = 0.9  # of the pixels, at most, are opaque where a part was cut out
Foreground = Literal["auto", "all"]


class FolderSources:
    """Photos of good parts in a folder and its subfolders.

    ``foreground="auto"`` finds the part on each photo, all photos of a fixed camera together, and
    keeps defects on it. ``legal`` and ``illegal`` are folders with mask images under the photos'
    own relative names, with or without _mask behind them: a legal mask takes the place of the part
    that would be found. Transparent pixels are not surface: defects lie on opaque ones.
    ``licence`` of the photos is only passed on, to the datasheet. ``group_by``: as ``grouping``,
    or a CSV file with the columns image (relative to it) and group.
    Raises SourceError for a folder without usable photos, ConfigError for settings.
    """

    def __init__(
        self,
        path: str,
        surface: str = "surface",
        on_broken: Literal["skip", "fail"] = "skip",
        group_by: str = "file",
        legal: str | None = None,
        illegal: str | None = None,
        foreground: Foreground = "auto",
        licence: str | None = None,
    ) -> None:
        if on_broken not in ("skip", "fail"):
            raise ConfigError(f"source.on_broken={on_broken!r} must be skip or fail")
        check_foreground(foreground)
        self.root = Path(path).expanduser()
        self.licence = licence
        self._masks = [
            _MaskFolder(Path(folder).expanduser(), is_legal)
            for folder, is_legal in ((legal, True), (illegal, False))
            if folder is not None
        ]
        listing = _list_photos(self.root, [folder.root for folder in self._masks])
        files = track(listing.files, "looking through the photos", unit="photos")
        reasons = {file: _why_unusable(file) for file in files}
        broken = [*listing.faults, *(reason for reason in reasons.values() if reason)]
        if broken and on_broken == "fail":
            raise SourceError(f"{broken[0]}; source.on_broken=skip leaves such files out")
        usable = [file for file, reason in reasons.items() if not reason]
        if not usable:
            raise SourceError(
                f"none of the {len(broken)} image files in {self.root} can be used; "
                f"the first: {broken[0]}"
            )
        relatives = [file.relative_to(self.root) for file in listing.files]
        lone = [note for folder in self._masks for note in folder.pair(relatives)]
        self.skipped: Sequence[str] = [*broken, *listing.notes, *lone]
        ids = name_files([file.relative_to(self.root) for file in usable])
        self._files = dict(sorted(zip(ids, usable, strict=True)))
        if group_by.lower().endswith(".csv"):
            table = _GroupTable.read(Path(group_by).expanduser())
            groups = [table.find(file) for file in self._files.values()]
        else:
            group_of = grouping(group_by)
            groups = [group_of(file.relative_to(self.root), i) for i, file in self._files.items()]
        self.entries: Sequence[SourceEntry] = [
            SourceEntry(source_id, group, str(file.resolve()), surface)
            for (source_id, file), group in zip(self._files.items(), groups, strict=True)
        ]
        self._entry_of = {entry.source_id: entry for entry in self.entries}
        photos = [partial(_read_photo, file) for file in self._files.values()]
        self._finder = PartFinder(photos) if foreground == "auto" else None
        self._parts: dict[str, Part] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process is sent: all but the masks of photos read lately."""
        return vars(self) | {"_parts": {}}

    def read(self, source_id: str) -> SourceImage:
        """Return a photo as its file has it, with its grey window; raises SourceError."""
        file, entry = self._files[source_id], self._entry_of[source_id]
        pixels = read_image(file)
        return SourceImage(
            source_id=source_id,
            group=entry.group,
            pixels=pixels,
            window=grey_window(pixels),
            path=entry.path,
            surface=entry.surface,
            opaque=read_opaque(file),
        )

    def part(self, source: SourceImage) -> Part:
        """Return where the part is: by a legal mask, by opaque pixels, or as it is found.

        The parts of the last 64 photos are remembered. Raises ShapeError for a mask of another
        size than its photo, ConfigError for a mask that cannot be read.
        """
        if source.source_id in self._parts:
            return self._parts[source.source_id]
        masks = {
            folder.is_legal: mask
            for folder in self._masks
            if (mask := self._read_mask(folder, source)) is not None
        }
        opaque = source.opaque
        is_cut_out = opaque is not None and bool(opaque.mean() < CUT_OUT)
        if True in masks:
            part = Part(mask=masks[True], finding="given")
        elif self._finder is None or is_cut_out:
            part = Part(mask=opaque, finding="given")
        else:
            part = self._finder.find(to_rgb8(source.pixels, source.window))
        if opaque is not None:
            if part.mask is None:
                part = Part(mask=opaque, finding="given")
            else:
                part = replace(part, mask=part.mask & opaque)
        if len(self._parts) >= KEPT:
            self._parts.pop(next(iter(self._parts)))
        self._parts[source.source_id] = replace(part, illegal=masks.get(False))
        return self._parts[source.source_id]

    def _read_mask(self, folder: _MaskFolder, source: SourceImage) -> NDArray[np.bool_] | None:
        file = self._files[source.source_id]
        try:
            return folder.find(file.relative_to(self.root), source.size_hw)
        except ShapeError as error:
            raise ShapeError(f"{error} (the image is {file})") from error
        except SourceError as error:  # without its mask a photo would have defects anywhere
            raise ConfigError(f"{folder.setting}: {error}") from error


def _read_photo(file: Path) -> NDArray[np.uint8]:
    pixels = read_image(file)
    return to_rgb8(pixels, grey_window(pixels))


def check_foreground(foreground: str) -> None:
    """Raise ConfigError for a ``source.foreground`` other than auto and all."""
    if foreground not in get_args(Foreground):
        raise ConfigError(f"source.foreground={foreground!r} must be auto or all")


@dataclass(frozen=True, slots=True)
class _GroupTable:
    """The group of each photo in a CSV table: by its path, and by a file name that is unique."""

    path: Path
    by_place: Mapping[Path, str]
    by_name: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> _GroupTable:
        """Read a table with the columns image and group; raises ConfigError."""
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            images, groups = table["image"], table["group"]
        except (OSError, ValueError) as error:
            raise ConfigError(f"source.group_by={str(path)!r} cannot be read: {error}") from error
        except KeyError as error:
            raise ConfigError(
                f"source.group_by={str(path)!r} has no column {error}; it needs image and group"
            ) from error
        files = [(path.parent / image).resolve() for image in images]
        names = Counter(file.name for file in files)
        pairs = [(file, group) for file, group in zip(files, groups, strict=True) if group]
        known: dict[Path, str] = {}
        for file, group in pairs:
            if (other := known.setdefault(file, group)) != group:
                raise ConfigError(
                    f"source.group_by={str(path)!r} names two groups for {file}, {other!r} and "
                    f"{group!r}; a photo shows one part"
                )
        by_name = {file.name: group for file, group in pairs if names[file.name] == 1}
        return cls(path, known, by_name)

    def find(self, file: Path) -> str:
        """Return the group of a photo; a copy or link elsewhere is found by its name.

        Raises SourceError for a photo without a group.
        """
        place = file.resolve()
        group = self.by_place.get(place) or self.by_name.get(file.name)
        if group is None:
            raise SourceError(
                f"{file} has no group in source.group_by={str(self.path)!r}; give it one there, "
                "or leave the photo out"
            )
        return group


@dataclass(frozen=True)
class _MaskFolder:
    """A folder of masks: of where defects may go (legal), or may not."""

    root: Path
    is_legal: bool
    mask_of: dict[Path, Path] = field(default_factory=dict)  # by the photo's relative path

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise SourceError(f"{self.setting} is not a folder; give a folder of masks")

    @property
    def setting(self) -> str:
        """The setting that names the folder, for messages."""
        return f"source.{'legal' if self.is_legal else 'illegal'}={str(self.root)!r}"

    def pair(self, photos: Sequence[Path]) -> list[str]:
        """Find the mask of each photo (relative paths); return sentences on what has no photo.

        Raises SourceError for masks of a kind that is not read, and where no mask has a photo.
        """
        listing = list_files(self.root)
        if listing.others:
            raise SourceError(
                f"{self.setting}: {listing.others[0]} is of a kind that is not read, so that "
                "defects would lie anywhere on its photo; save masks as PNG"
            )
        masks = [path.relative_to(self.root) for path in listing.files]
        pairs = pair_masks(photos, masks)
        if not pairs.masks:
            first = f" (the first mask: {pairs.lone[0]})" if pairs.lone else ""
            raise SourceError(
                f"{self.setting} holds no mask of any photo{first}; lay masks under the photos' "
                "own relative names"
            )
        self.mask_of.update(pairs.masks)
        lone = [
            f"the mask {self.root / path} has no photo at its relative place" for path in pairs.lone
        ]
        return [*listing.faults, *listing.notes, *lone]

    def find(self, relative: Path, size_hw: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Return the mask (H, W) of a photo; None where there is none."""
        mask = self.mask_of.get(relative)
        return None if mask is None else read_mask(self.root / mask, size_hw)


def _list_photos(root: Path, masks: Sequence[Path]) -> Listing:
    """List the images of a folder, without those in folders of masks that lie in it."""
    if not root.exists():
        raise SourceError(f"source.path={str(root)!r} does not exist; give a folder of photos")
    if not root.is_dir():
        raise SourceError(f"source.path={str(root)!r} is a file; give the folder that it is in")
    listing = list_files(root)
    inner = [folder for folder in masks if folder.resolve() != root.resolve()]
    files = [path for path in listing.files if not any(map(path.is_relative_to, inner))]
    if not files and not listing.faults:
        hint = f" ({listing.notes[0]})" if listing.notes else ""
        raise SourceError(
            f"source.path={str(root)!r} holds no images; put PNG, JPEG, BMP or TIFF files there"
            f"{hint}"
        )
    return replace(listing, files=files)


def _why_unusable(file: Path) -> str:
    """Return a sentence why a file cannot be a source, or '' where it can."""
    try:
        height, width = check_image(file)
    except SourceError as error:
        return str(error)
    if min(width, height) < MIN_SIDE_PX:
        return f"{file} is {height} x {width} px; the shorter side must be {MIN_SIDE_PX} or more"
    return ""
