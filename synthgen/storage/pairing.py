"""Which mask belongs to which photo: by relative path, never by a bare name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthgen.errors import SourceError

__all__ = ["Pairs", "name_key", "pair_masks"]

MASK_NAMES = ("{}", "{}_mask", "{}-mask", "{}.mask", "mask_{}", "{}_gt", "{}_label", "{}_seg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """``masks``: the mask of each photo that has one. ``lone``: masks without a photo."""

    masks: Mapping[Path, Path]
    lone: Sequence[Path]


def pair_masks(photos: Sequence[Path], masks: Sequence[Path]) -> Pairs:
    """Pair photos and masks, both relative to their own folders.

    A mask lies at the relative place of its photo, under the photo's name with or without its
    suffix, and with or without _mask, _gt, ... Letters may differ in case. Raises SourceError where
    two photos or two masks come into question: a guess would label one as the other.

    >>> pair_masks([Path("b/1.jpg"), Path("2.jpg")], [Path("b/1_mask.png")]).masks
    {PosixPath('b/1.jpg'): PosixPath('b/1_mask.png')}
    """
    same = _index((name_key(photo), photo) for photo in photos)
    full = _index((key, photo) for photo in photos for key in _list_keys(photo, photo.name))
    bare = _index((key, photo) for photo in photos for key in _list_keys(photo, photo.stem))
    sure: dict[Path, Path] = {}
    fits: dict[Path, list[Path]] = {}
    for mask in masks:
        whole, stem = name_key(mask), name_key(mask.with_suffix(""))
        strict = [*same.get(whole, ()), *full.get(stem, ())]
        strict = [photo for photo in strict if photo == mask] or strict
        fits[mask] = list(dict.fromkeys([*strict, *bare.get(stem, ())]))
        if len(set(strict)) == 1:
            sure[mask] = strict[0]  # it carries the whole name
    taken = set(sure.values())
    found: dict[Path, Path] = {}
    for mask, several in fits.items():
        open_to = [photo for photo in several if photo not in taken]
        own = [sure[mask], *open_to] if mask in sure else open_to or several
        if len(own) > 1:
            raise SourceError(
                f"the mask {mask} fits {len(own)} photos, {own[0]} and {own[1]}; give it the whole "
                f"name of its photo, as in {own[0].name}.png, and the other one a mask of its own"
            )
        for photo in own:
            if (other := found.setdefault(photo, mask)) != mask:
                raise SourceError(
                    f"{photo} has two masks, {other} and {mask}; merge them, or take one away"
                )
    lone = [mask for mask, several in fits.items() if not several]
    return Pairs(masks=found, lone=lone)


def name_key(path: Path | str) -> str:
    """Return what is equal for names that differ in case, or in how an umlaut is encoded."""
    text = path.as_posix() if isinstance(path, Path) else path
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _index(pairs: Iterable[tuple[str, Path]]) -> Mapping[str, Sequence[Path]]:
    found: dict[str, list[Path]] = {}
    for key, photo in pairs:
        found.setdefault(key, []).append(photo)
    return found


def _list_keys(photo: Path, name: str) -> list[str]:
    """Return the keys of all names that a mask of a photo may have, without their suffixes."""
    parent = photo.parent.as_posix()
    start = "" if parent == "." else f"{parent}/"
    return [name_key(start + pattern.format(name)) for pattern in MASK_NAMES]
