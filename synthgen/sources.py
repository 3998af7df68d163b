"""The catalogue of good images: drawn ones, or a folder of photos."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from synthgen.errors import ConfigError, ShapeError, SourceError
from synthgen.images import grey_window, read_image, read_mask, to_rgb8
from synthgen.sample import SourceImage
from synthgen.seeds import stream
from synthgen.surfaces import SURFACES, draw_surface

__all__ = [
    "SUFFIXES",
    "FolderSources",
    "ProceduralSources",
    "SourceEntry",
    "Sources",
    "find_part",
    "grouping",
    "name_files",
]

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
LEAST_SIDE_PX = 32
UNEVEN = 16  # CIELAB: a border that deviates more from its median colour is no background
CUT_OFF = 0.35  # of the border: a part that reaches more of it is taken for the background
ELSEWHERE = 0.3  # of what is not the part: where more stands out as well, it is not the only one


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One good image of a catalogue. ``path`` is None where it is drawn."""

    source_id: str
    group: str  # the physical part
    path: str | None
    surface: str  # its material in prompts


class Sources(Protocol):
    """A catalogue of good images."""

    entries: Sequence[SourceEntry]  # sorted by source_id
    skipped: Sequence[str]  # a sentence per file that is left out

    def read(self, source_id: str) -> SourceImage:
        """Return the image; raises SourceError where it cannot be read."""
        ...

    def region(self, source: SourceImage) -> NDArray[np.bool_] | None:
        """Return where defects may go, (H, W) bool; None = everywhere."""
        ...


class ProceduralSources:
    """Drawn surfaces of ``size_hw`` pixels; each is a group of its own. Empty ``kinds`` = all."""

    skipped: Sequence[str] = ()

    def __init__(
        self, count: int, size_hw: Sequence[int], kinds: Sequence[str] = (), seed: int = 0
    ) -> None:
        if not isinstance(count, int) or count < 1:
            raise ConfigError(f"source.count={count!r} must be a whole number of 1 or more")
        if len(size_hw) != 2 or any(not isinstance(s, int) or s < 64 for s in size_hw):
            raise ConfigError(f"source.size_hw={list(size_hw)} must be two sides of 64 px or more")
        for kind in kinds:
            if kind not in SURFACES:
                raise ConfigError(
                    f"source.kinds names {kind!r}; choose from {', '.join(sorted(SURFACES))}"
                )
        self.size_hw = (size_hw[0], size_hw[1])
        names = list(kinds) or sorted(SURFACES)
        self._seed = seed
        self._drawn = {
            f"{names[n % len(names)]}-{n:06d}": (n, names[n % len(names)]) for n in range(count)
        }
        self.entries: Sequence[SourceEntry] = [
            SourceEntry(source_id, source_id, None, SURFACES[kind][1])
            for source_id, (_, kind) in sorted(self._drawn.items())
        ]

    def read(self, source_id: str) -> SourceImage:
        number, kind = self._drawn[source_id]
        surface = draw_surface(stream(self._seed, "source", number), self.size_hw, kind)
        return SourceImage(source_id, source_id, surface.image, (0.0, 255.0), None, surface.name)

    def region(self, source: SourceImage) -> NDArray[np.bool_] | None:
        return None


class FolderSources:
    """Photos of good parts in a folder and the folders in it.

    ``legal`` and ``illegal`` are folders with mask images under the photos' own relative names;
    a photo without one is not restricted. ``foreground="auto"`` keeps defects on the part where it
    lies on an even background. ``licence`` of the photos is only passed on, to the datasheet.
    ``group_by``: as ``grouping``, or a CSV file with the columns image (relative to it) and group.
    Raises SourceError, ConfigError.
    """

    def __init__(
        self,
        path: str,
        surface: str = "surface",
        on_broken: Literal["skip", "fail"] = "skip",
        group_by: str = "file",
        legal: str | None = None,
        illegal: str | None = None,
        foreground: Literal["all", "auto"] = "all",
        licence: str | None = None,
    ) -> None:
        if on_broken not in ("skip", "fail"):
            raise ConfigError(f"source.on_broken={on_broken!r} must be skip or fail")
        if foreground not in ("all", "auto"):
            raise ConfigError(f"source.foreground={foreground!r} must be all or auto")
        self.root, self.foreground = Path(path).expanduser(), foreground
        self.licence = licence
        self._masks = [
            _MaskFolder(Path(folder).expanduser(), is_legal)
            for folder, is_legal in ((legal, True), (illegal, False))
            if folder is not None
        ]
        files = _find_images(self.root)
        reasons = {file: _why_unusable(file) for file in files}
        self.skipped: Sequence[str] = [reason for reason in reasons.values() if reason]
        if self.skipped and on_broken == "fail":
            raise SourceError(f"{self.skipped[0]}; source.on_broken=skip leaves such files out")
        usable = [file for file, reason in reasons.items() if not reason]
        if not usable:
            raise SourceError(
                f"none of the {len(files)} image files in {self.root} can be used; "
                f"the first: {self.skipped[0]}"
            )
        ids = name_files([file.relative_to(self.root) for file in usable])
        group_of = self._read_groups(group_by)
        self._files = dict(sorted(zip(ids, usable, strict=True)))
        self.entries: Sequence[SourceEntry] = [
            SourceEntry(
                source_id,
                group_of(file.relative_to(self.root), source_id),
                str(file.resolve()),
                surface,
            )
            for source_id, file in self._files.items()
        ]
        self._entry_of = {entry.source_id: entry for entry in self.entries}

    def _read_groups(self, group_by: str) -> Callable[[Path, str], str]:
        if not group_by.lower().endswith(".csv"):
            return grouping(group_by)
        table = _GroupTable.read(Path(group_by).expanduser())
        return lambda relative, _: table.find(self.root / relative)

    def read(self, source_id: str) -> SourceImage:
        pixels, entry = read_image(self._files[source_id]), self._entry_of[source_id]
        return SourceImage(
            source_id, entry.group, pixels, grey_window(pixels), entry.path, entry.surface
        )

    def region(self, source: SourceImage) -> NDArray[np.bool_] | None:
        if not self._masks and self.foreground == "all":
            return None
        file = self._files[source.source_id]
        free = np.ones(source.size_hw, bool)
        for masks in self._masks:
            try:
                mask = masks.find(file.relative_to(self.root), source.size_hw)
            except ShapeError as error:
                raise ShapeError(f"{error} (the image is {file})") from error
            if mask is not None:
                free &= mask if masks.is_legal else ~mask
        if self.foreground == "auto":
            free &= find_part(to_rgb8(source.pixels, source.window))
        return free


@dataclass(frozen=True, slots=True)
class _GroupTable:
    """The parts that a table says photos show: by their places, and by names that stand once."""

    path: Path
    by_place: Mapping[Path, str]
    by_name: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> _GroupTable:
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
        by_name = {file.name: group for file, group in pairs if names[file.name] == 1}
        return cls(path, dict(pairs), by_name)

    def find(self, file: Path) -> str:
        """Return the part that a photo shows; copies and links are known by their names."""
        place = file.resolve()
        group = self.by_place.get(place) or self.by_name.get(file.name)
        if group is None:
            raise SourceError(
                f"{file} has no group in source.group_by={str(self.path)!r}; give it one there, "
                "or leave the photo out"
            )
        return group


@dataclass(frozen=True, slots=True)
class _MaskFolder:
    root: Path
    is_legal: bool

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            key = "source.legal" if self.is_legal else "source.illegal"
            raise SourceError(f"{key}={str(self.root)!r} is no folder; give a folder of masks")

    def find(self, relative: Path, size_hw: tuple[int, int]) -> NDArray[np.bool_] | None:
        for suffix in (".png", ".bmp", ".tif", ".tiff", ".jpg"):
            path = (self.root / relative).with_suffix(suffix)
            if path.is_file():
                return read_mask(path, size_hw)
        return None


def _find_images(root: Path) -> list[Path]:
    if not root.exists():
        raise SourceError(f"source.path={str(root)!r} does not exist; give a folder of photos")
    if not root.is_dir():
        raise SourceError(f"source.path={str(root)!r} is a file; give the folder that it is in")
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES)
    if not files:
        raise SourceError(
            f"source.path={str(root)!r} holds no images; put PNG, JPEG, BMP or TIFF files there"
        )
    return files


def _why_unusable(file: Path) -> str:
    """Return a sentence why a file cannot be a source, or '' where it can."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about some of the files it then refuses
            with Image.open(file) as opened:
                width, height = opened.size
                opened.verify()  # checks a PNG to its end; other formats by their header only
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"{file} cannot be read as an image: {error}"
    if min(width, height) < LEAST_SIDE_PX:
        return f"{file} is {height} x {width} px; the shorter side must be {LEAST_SIDE_PX} or more"
    return ""


def name_files(relatives: Sequence[Path]) -> list[str]:
    """Return an id per file: its relative path, safe as a file name; the suffix where needed."""
    plain = [_safe(relative.with_suffix("")) for relative in relatives]
    taken = Counter(plain)
    full = [
        name if taken[name] == 1 else f"{name}-{_safe(Path(relative.suffix[1:].lower()))}"
        for name, relative in zip(plain, relatives, strict=True)
    ]
    taken = Counter(full)
    return [
        name if taken[name] == 1 else f"{name}-{hashlib.sha256(str(r).encode()).hexdigest()[:8]}"
        for name, r in zip(full, relatives, strict=True)
    ]


def _safe(path: Path) -> str:
    return re.sub(r"[^\w.-]+", "-", "_".join(path.parts)).strip("-.") or "image"


def grouping(group_by: str, key: str = "source.group_by") -> Callable[[Path, str], str]:
    """Return what names the group of a file, from its relative path and its own id.

    ``group_by``: file | folder | a regular expression with one group on the path. Raises
    ConfigError that names the ``key``.
    """
    if group_by == "file":
        return lambda relative, source_id: source_id
    if group_by == "folder":
        return lambda relative, source_id: relative.parent.as_posix()
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise ConfigError(
            f"{key}={group_by!r} must be file, folder or a regular expression: {error}"
        ) from error
    if pattern.groups != 1:
        raise ConfigError(
            f"{key}={group_by!r} must hold one group in brackets, as in '(part\\d+)_'"
        )

    def by_pattern(relative: Path, source_id: str) -> str:
        found = pattern.search(relative.as_posix())
        return found[1] if found and found[1] is not None else source_id

    return by_pattern


def find_part(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where the part is, (H, W) bool, on an (H, W, 3) RGB photo with an even background.

    Pixels that differ from the border's median colour (CIELAB, threshold by Otsu), holes filled,
    the largest piece. Everything where the border is uneven, the piece stands out no more than
    the border's own noise, covers under 5 % or over 95 %, or is not what differs most: where much
    of the border is in it, or much of the rest of the image differs, too.
    """
    lab = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 1.5), cv2.COLOR_RGB2LAB).astype(np.float32)
    everything = np.ones(image.shape[:2], bool)
    border = _border_of(lab)
    middle = np.median(border, axis=0)
    spread = float(np.median(np.linalg.norm(border - middle, axis=1)))
    if spread > UNEVEN:
        return everything
    away = np.clip(np.linalg.norm(lab - middle, axis=2), 0, 255).astype(np.uint8)
    threshold, binary = cv2.threshold(away, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    if threshold <= 3 * spread:
        return everything
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return everything
    piece = np.zeros(image.shape[:2], np.uint8)
    cv2.drawContours(piece, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    part = piece > 0
    is_whole = 0.05 <= part.mean() <= 0.95 and _border_of(part).mean() <= CUT_OFF
    return part if is_whole and binary[~part].mean() <= ELSEWHERE * 255 else everything


def _border_of(image: NDArray[Any]) -> NDArray[Any]:
    """Return the outermost pixels, (N, ...) of (H, W, ...)."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
