"""Read masks: which pixels of a photo are a defect, or the part, however a tool encodes them.

Every mask file that a user has comes through here. What can be meant in two ways is an error that
says what the file holds, and which setting tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthgen.errors import ConfigError, ShapeError, SourceError
from synthgen.imaging.decoding import Pixels
from synthgen.imaging.headers import read_orientation
from synthgen.realdata.areas import (
    LOW,
    SOFT_LEVEL,
    find_faint,
    find_plateaus,
    is_flat,
    is_rim,
    is_soft,
    seems_inverted,
)
from synthgen.realdata.mask_encodings import FEW, MaskPixels, colour_name, decode_mask, used_values
from synthgen.samples.arrays import Mask

__all__ = ["ClassValue", "MaskReader", "parse_value", "read_mask"]

ClassValue = int | str  # a value of the file, 1.., or a colour as '#800000'
BLENDED = (
    ": edges were softened, or it was once saved as JPEG, so its classes cannot be told apart; "
    "save it as PNG from the tool that drew it"
)
SAVE_ANEW = "save it with 0 for background and 255 for what it marks"


def read_mask(
    path: Path,
    size_hw: tuple[int, int],
    *,
    min_level: int | None = None,
    advice: str = SAVE_ANEW,
    of_defects: bool = False,
) -> Mask:
    """Read a mask of one class, (H, W) bool.

    One value beside 0 is the class, be that 1 or 255. Soft edges are cut at half of the highest
    level. In a palette the black or transparent entry is the background. Alpha that varies over a
    picture that does not is the mask. ``min_level``: this level and higher ones are the class,
    whatever the file. ``advice``: what to do about a mask that can be meant in two ways.
    ``of_defects``: a mask that marks its border and most of its pixels is refused, too.
    Raises SourceError, and ShapeError for another size than the image's.
    """
    encoded = decode_mask(path)
    _check_size(path, encoded.levels.shape, size_hw)
    if min_level is not None:
        return np.asarray(encoded.levels >= min_level)
    mask = _one_class(encoded, path, lambda: advice)
    if of_defects:
        _check_ground(encoded, mask, path)
    return mask


def _one_class(encoded: MaskPixels, path: Path, advise: Callable[[], str]) -> Mask:
    """Return the pixels of the only class; SourceError where the file may mean several."""
    levels = encoded.levels
    if encoded.unclear:
        raise SourceError(f"the mask {path} holds {encoded.unclear}; {advise()}")
    if encoded.mask is not None:
        return encoded.mask
    values = encoded.values
    positive = [value for value in values if value]
    if len(positive) <= 1:
        return np.asarray(levels > 0)
    if not is_soft(encoded):
        raise SourceError(f"the mask {path} holds {_say_values(levels)}; {advise()}")
    top = positive[-1]
    if faint := find_faint(levels, encoded.is_lossy):
        raise SourceError(
            f"the mask {path} holds {_say_values(levels)}: of its parts, {len(faint)} would be "
            f"lost where soft edges are cut at half of {top}; "
            f"real.min_mask_level={max(1, faint[0] // 2)} makes one class of all from there up"
        )
    return np.asarray(levels > top // 2)


def _check_ground(encoded: MaskPixels, mask: Mask, path: Path) -> None:
    """Raise SourceError for a mask that marks what is around a defect, as an inverted one does."""
    if not seems_inverted(mask):
        return
    saved = "" if encoded.mask is None else "save it as grey levels and "
    level = 128 if encoded.mask is not None else int(encoded.levels.max()) // 2 + 1
    raise SourceError(
        f"the mask {path} marks {mask.mean():.0%} of its image, up to the border: invert it if "
        f"black is the defect; if all of that is, {saved}give real.min_mask_level={level}"
    )


def _say_values(levels: Pixels) -> str:
    """Name the values of a mask; of many, the most frequent ones."""
    values = [value for value in used_values(levels) if value]
    if len(values) <= FEW:
        return "the values " + ", ".join(map(str, values))
    counts = np.bincount(levels.ravel())
    counts[0] = 0
    frequent = ", ".join(str(value) for value in np.argsort(-counts, kind="stable")[:4])
    return f"{len(values)} values, {frequent} most often"


def _check_size(path: Path, shape: tuple[int, ...], size_hw: tuple[int, int]) -> None:
    if shape == size_hw:
        return
    lying = (
        " If EXIF turns the image, the mask lies as it is stored: take the orientation out of the "
        "image (exiftool -Orientation= IMAGE)"
        if shape == size_hw[::-1]
        else ""
    )
    raise ShapeError(
        f"the mask {path} is {shape[0]} x {shape[1]} px (height, width) but its "
        f"image is {size_hw[0]} x {size_hw[1]}; resize masks with nearest-neighbour only.{lying}"
    )


@dataclass
class MaskReader:
    """Reads the masks of a dataset by its settings, and remembers what no setting names.

    ``classes`` names values or colours of masks; other values are not defects. Without ``classes``
    all masks are of the class that the caller names. ``min_level``: as in ``read_mask``. Raises
    ConfigError for a value that cannot be one, and for ``classes`` and ``min_level`` at once.
    """

    classes: Mapping[str, ClassValue] | None = None
    min_level: int | None = None
    _named: int = 0  # masks that hold a value of classes
    _unnamed: dict[str, list[Path]] = field(default_factory=dict)  # values, and their masks
    _single: dict[str, dict[str, Path]] = field(default_factory=dict)  # by class: of one value
    _turned: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, value in (self.classes or {}).items():
            parse_value(value, name)
        if self.classes and self.min_level is not None:
            raise ConfigError(
                "real.classes and real.min_mask_level exclude each other: the one names values, "
                "the other makes one class of all from a level up"
            )

    def read(
        self, path: Path, size_hw: tuple[int, int], defect_class: str, photo: Path
    ) -> dict[str, Mask]:
        """Return the mask (H, W) of each class in a file, none for a mask without a defect.

        ``photo`` is the image that the mask belongs to, ``size_hw`` its size when upright. Raises
        SourceError for a mask that cannot be told, ShapeError for one of another size.
        """
        encoded = decode_mask(path)
        _check_size(path, encoded.levels.shape, size_hw)
        orientation = read_orientation(photo)
        if orientation in (2, 3, 4) or (orientation > 4 and size_hw[0] == size_hw[1]):
            self._turned.append(photo)  # the mask would fit either way
        if self.classes:
            return self._read_classes(encoded, path)
        if self.min_level is not None:
            mask = np.asarray(encoded.levels >= self.min_level)
        else:
            mask = _one_class(encoded, path, partial(self._advise, encoded, defect_class))
            self._compare(encoded, path, defect_class)
            _check_ground(encoded, mask, path)
        return {defect_class: mask} if mask.any() else {}

    def _read_classes(self, encoded: MaskPixels, path: Path) -> dict[str, Mask]:
        """Return the mask of each of ``classes`` that is there, by name."""
        assert self.classes is not None
        wanted = {name: parse_value(value, name) for name, value in self.classes.items()}
        by_colour = {n: v for n, v in wanted.items() if isinstance(self.classes[n], str)}
        by_value = {n: v for n, v in wanted.items() if n not in by_colour}
        masks = self._by_value(encoded, by_value, path) if by_value else {}
        if by_colour:
            colours = _colours_of(encoded)
            used = np.unique(colours)
            if encoded.is_lossy or len(used) > FEW + 1 + len(by_colour):
                raise SourceError(f"the mask {path} holds {len(used)} colours{BLENDED}")
            masks |= {name: colours == value for name, value in by_colour.items() if value in used}
        self._note_unnamed(encoded, masks, path, by_value)
        self._named += bool(masks)
        return dict(sorted(masks.items()))

    def _by_value(
        self, encoded: MaskPixels, wanted: Mapping[str, int], path: Path
    ) -> dict[str, Mask]:
        """Return the pixels of each value that is there.

        Raises SourceError where values cannot be told apart.
        """
        if encoded.is_coloured and encoded.unclear:
            raise SourceError(
                f"the mask {path} holds {encoded.unclear}; name its classes by colour: "
                f"{_example(encoded, next(iter(wanted)))}"
            )
        levels, values = encoded.levels, encoded.values
        if encoded.is_lossy or len(values) > FEW + 1 + len(wanted):
            return _by_nearest(levels, wanted, path, encoded.is_lossy)
        named = set(wanted.values())
        if not named & set(values):  # the same pixels by another name
            for other in encoded.others:
                if present := named & set(used_values(other)):
                    return {n: other == value for n, value in wanted.items() if value in present}
        for name, value in wanted.items():
            is_own = levels == value
            if encoded.mask is not None and is_own.any() and not (is_own & encoded.mask).any():
                raise SourceError(
                    f"the mask {path} shows value {value} as background (black or transparent), "
                    f"but real.classes calls it {name}; name the class by the colour that its "
                    f"defects have: {_example(encoded, name)}"
                )
        for name, value in wanted.items():
            if is_rim(levels, value, values, named):
                raise SourceError(
                    f"the mask {path} holds value {value} ({name}) only as the soft edge of value "
                    f"{values[-1]}; give real.classes={{{name}: {values[-1]}}}, or no classes, and "
                    "soft edges are cut at half"
                )
        return {name: levels == value for name, value in wanted.items() if value in values}

    def _note_unnamed(
        self,
        encoded: MaskPixels,
        masks: Mapping[str, Mask],
        path: Path,
        by_value: Mapping[str, int],
    ) -> None:
        """Remember what a mask holds beside its classes; raises SourceError for 255 alone."""
        marked = sum(int(np.count_nonzero(mask)) for mask in masks.values())
        if encoded.is_lossy or np.count_nonzero(encoded.levels) == marked:
            return
        if by_value:
            rest = [v for v in encoded.values if v and v not in by_value.values()]
        else:
            known = np.any([np.zeros(encoded.levels.shape, bool), *masks.values()], axis=0)
            rest = [int(value) for value in np.unique(_colours_of(encoded)[~known]) if value]
        if by_value and rest == [255] and not masks:
            raise SourceError(
                f"the mask {path} holds value 255 alone, which real.classes does not name: add "
                "it there, or leave the mask out if its photo is good"
            )
        for value in rest[:FEW]:
            shown = str(value) if by_value else colour_name(value)
            self._unnamed.setdefault(shown, []).append(path)

    def _compare(self, encoded: MaskPixels, path: Path, defect_class: str) -> None:
        """Raise SourceError where masks of one class hold one value each, but not the same."""
        if encoded.mask is not None or encoded.is_lossy:
            return
        if encoded.is_coloured and encoded.colours is not None:
            values = [colour_name(int(one)) for one in np.unique(encoded.colours) if one]
        else:
            values = [str(min(255, v) if v < 231 else 255) for v in encoded.values if v]
        if len(values) != 1:
            return
        own = self._single.setdefault(defect_class, {})
        before = next((value for value in own if value != values[0]), None)
        own.setdefault(values[0], path)
        if before is not None:
            raise SourceError(
                f"the mask {own[before]} holds {before}, and {path} holds {values[0]}; "
                f"{self._advise(encoded, defect_class)}"
            )

    def _advise(self, encoded: MaskPixels, defect_class: str) -> str:
        """Return what to do about a mask that can be meant in several ways."""
        values = encoded.values
        if encoded.is_alpha:
            return SAVE_ANEW
        least = next((value for value in values if value), 1)
        is_many = len(values) > FEW + 1
        is_numbered = is_many and values[0] == 0 and not (encoded.is_lossy or encoded.unclear)
        if is_numbered and is_flat(encoded.levels):
            return f"real.min_mask_level={least} makes one class of all"
        if encoded.is_lossy or is_many:
            plateaus = find_plateaus(encoded.levels, values[-1])
            is_slope = not plateaus or plateaus[-1] - plateaus[0] > values[-1] // 4
            half = max((values[-1] if is_slope else plateaus[0]) // 2, 1)
            return (
                f"real.min_mask_level={half} makes one class of all from there up; to keep "
                "classes apart, save it as PNG from the tool that drew it"
            )
        named = f"name what is a defect, as in {_example(encoded, defect_class)}"
        if values[0] > 0 or (encoded.unclear and not encoded.is_coloured):
            return named  # the lowest value is no background
        return f"{named}, or give real.min_mask_level={least}, which makes one class of all"

    def finish(self) -> list[str]:
        """Return notes on all that was read; raises SourceError where no mask holds a class."""
        notes = []
        if self._unnamed:
            said = ", ".join(
                f"{value} in {len(paths)} masks" for value, paths in sorted(self._unnamed.items())
            )
            first = next(iter(self._unnamed.values()))[0]
            if not self._named:
                raise SourceError(
                    f"no mask holds a value of real.classes; they hold {said} (the first: {first})"
                )
            notes.append(f"values that real.classes does not name are no defect: {said}")
        if self._turned:
            notes.append(
                f"{len(self._turned)} photos are turned by EXIF and their masks fit either way: "
                f"masks are taken as upright (the first: {self._turned[0]})"
            )
        return notes


def parse_value(value: ClassValue, name: str) -> int:
    """Return a class value as a number; a colour as 0xRRGGBB. Raises ConfigError.

    >>> parse_value(3, "scratch"), hex(parse_value("#800000", "scratch"))
    (3, '0x800000')
    """
    if isinstance(value, int) and 1 <= value <= 65535:
        return value
    if isinstance(value, str) and len(value) == 7 and value[0] == "#":
        try:
            return int(value[1:], 16)
        except ValueError:
            pass
    raise ConfigError(
        f"real.classes.{name}={value!r} is not a value of masks: give 1..65535, or a colour as "
        "'#800000'"
    )


def _colours_of(encoded: MaskPixels) -> NDArray[np.uint32]:
    """Return 0xRRGGBB of each pixel; grey has three equal channels."""
    if encoded.colours is not None:
        return encoded.colours
    return encoded.levels.astype(np.uint32) * 0x010101


def _example(encoded: MaskPixels, defect_class: str) -> str:
    """Return a setting that names what a mask holds, as the command line takes it.

    Without a background that is 0 or black, what there is most of is left out.
    """
    by_colour = encoded.is_coloured or bool(encoded.unclear) or encoded.mask is not None
    values = _colours_of(encoded) if by_colour else encoded.levels
    if encoded.mask is not None:
        values = np.where(encoded.mask, values, 0)
    used, counts = np.unique(values, return_counts=True)
    ground = 0 if used[0] == 0 and encoded.mask is None else used[counts.argmax()]
    kept = [int(value) for value in used if value != ground]
    if not kept:  # nothing but background
        return f"'real.classes={{{defect_class}: \"#ffffff\"}}'"
    shown = [f'"{colour_name(value)}"' if by_colour else str(value) for value in kept]
    names = [defect_class, *(f"{defect_class}_{n}" for n in range(2, len(shown) + 1))]
    pairs = ", ".join(f"{name}: {value}" for name, value in zip(names, shown, strict=False))
    return f"'real.classes={{{pairs}}}'"


def _by_nearest(
    levels: Pixels, wanted: Mapping[str, int], path: Path, is_lossy: bool
) -> dict[str, Mask]:
    """Return the only class of a mask with soft edges, or with the traces of a JPEG.

    Raises SourceError for several: the edge of a high value passes through the lower ones.
    """
    values = used_values(levels)
    top = values[-1]
    close = [name for name, value in wanted.items() if abs(value - top) <= LOW * top]
    if top < SOFT_LEVEL and is_lossy and top <= max(0, min(wanted.values()) // 4):
        return {}
    if len(close) == 1 and len(wanted) == 1 and not find_plateaus(levels, top):
        return {close[0]: np.asarray(levels > top // 2)}
    raise SourceError(f"the mask {path} holds {_say_values(levels)}{BLENDED}")
