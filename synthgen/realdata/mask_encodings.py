"""What a mask file says of each pixel: a level, an index of a palette, a colour, an alpha."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from synthgen.errors import SourceError
from synthgen.imaging.decoding import Pixels, decode_opened, opened_image

__all__ = ["FEW", "MaskPixels", "colour_name", "decode_mask", "used_values"]

FEW = 16  # more values than this come of soft edges, or of JPEG
HALF = 128  # of alpha
TINT = 24  # by how much JPEG may tint what is grey, or of one colour
BRIGHT = 128  # the brightest level of what JPEG tints: a small id is never a tinted grey
VOID_INDEX, VOID_COLOUR = 255, 0xE0E0C0  # "neither" in the masks of PASCAL VOC


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskPixels:
    """The pixels of a mask file, turned upright as EXIF says. All arrays (H, W).

    ``levels``: the values of the file, 0 = background as a rule; of a file in several colours, the
    brightest channel. ``others``: the same pixels under other values, as tools show them: the ones
    of a 1 bit file are also 255. ``colours``: 0xRRGGBB, None where the file is grey. ``mask``: the
    defect, where the file itself says what it is. ``unclear``: why one class cannot be told, ''
    where it can.
    """

    levels: Pixels
    others: tuple[Pixels, ...] = ()
    colours: NDArray[np.uint32] | None = None
    mask: NDArray[np.bool_] | None = None
    unclear: str = ""
    is_lossy: bool = False  # saved as JPEG
    is_coloured: bool = False  # only colours name classes
    is_alpha: bool = False  # levels are alpha's

    @cached_property
    def values(self) -> list[int]:
        """The values of ``levels``, rising."""
        return used_values(self.levels)


def used_values(values: Pixels) -> list[int]:
    """Return the values that occur, rising.

    >>> used_values(np.array([[0, 255], [7, 0]], np.uint16))
    [0, 7, 255]
    """
    top, marked = int(values.max()), np.count_nonzero(values)
    if np.count_nonzero(values == top) == marked:  # most masks; ten times as fast as counting all
        return [top] if marked == values.size else [0, top]
    if not marked:
        return [0]
    if values.dtype == np.uint8:
        counts = cv2.calcHist([np.ascontiguousarray(values)], [0], None, [256], [0, 256])
    else:
        counts = np.bincount(values.ravel())
    return [int(value) for value in np.flatnonzero(counts)]


def colour_name(colour: int) -> str:
    """Return a colour as settings have it.

    >>> colour_name(0x800000)
    '#800000'
    """
    return f"#{colour:06x}"


def decode_mask(path: Path) -> MaskPixels:
    """Return what a mask file holds, with 8 bits a colour channel.

    Raises SourceError where it cannot be read, or where 8 bits would merge two colours.
    """
    name = f"the mask {path}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{name} cannot be read ({error.strerror or error})") from error
    with opened_image(data, name) as opened:
        bits, is_lossy = 8, False
        if opened is not None:
            bits = data[24] if opened.format == "PNG" else 1 if opened.mode == "1" else 8
            is_lossy = opened.format in ("JPEG", "MPO", "WEBP")
            if opened.mode == "P":
                return _from_palette(ImageOps.exif_transpose(opened))
            if opened.has_transparency_data:
                rgba = np.asarray(ImageOps.exif_transpose(opened).convert("RGBA"))
                if (found := _from_alpha(rgba)) is not None:
                    return found
        pixels = decode_opened(opened, data, name)
        is_wide = pixels.ndim == 3 and pixels.dtype != np.uint8
        if is_wide and not (pixels == pixels[..., :1]).all():  # colours of 16 bit are read with 8
            small = np.asarray(pixels >> (0 if pixels.max() < 256 else 8), np.uint8)
            if _count_colours(small) < _count_colours(pixels):
                raise SourceError(
                    f"{name} holds colours of 16 bit that differ in their lower 8 alone; save it "
                    "with 8 bits a channel from the tool that drew it"
                )
            pixels = small
        found = _from_pixels(pixels, bits)
    return replace(found, is_lossy=True) if is_lossy else found


def _from_pixels(pixels: Pixels, bits: int = 8) -> MaskPixels:
    """Return what grey levels (H, W) or RGB say; ``bits`` of a grey level in the file.

    RGB is grey, one colour on black, or colours that have to be named.
    """
    if pixels.ndim == 2 and bits == 1:
        return MaskPixels(levels=np.asarray(pixels > 0, np.uint8), others=(pixels,))
    if pixels.ndim == 2 and bits < 8:  # decoded, 2 and 4 bits are spread over 0..255
        return MaskPixels(
            levels=pixels, others=(np.asarray(pixels // (255 // (2**bits - 1)), np.uint8),)
        )
    if pixels.ndim == 2:
        return MaskPixels(levels=pixels)
    brightest = pixels.max(axis=2)
    spread = brightest - pixels.min(axis=2)
    if not spread.any():
        return MaskPixels(levels=brightest)
    red, green, blue = (pixels[..., channel].astype(np.uint32) for channel in range(3))
    colours = np.asarray(red << 16 | green << 8 | blue, np.uint32)
    used = np.unique(colours)
    is_tinted = len(used) > FEW and brightest.max() >= BRIGHT
    if is_tinted and spread.max() <= TINT:
        return MaskPixels(levels=brightest, colours=colours, is_lossy=True)
    own = (pixels.reshape(-1, 3)[brightest.argmax()]).astype(np.float32)  # the brightest colour
    expected = brightest[..., None] * (own / own.max())
    apart = np.abs(pixels - expected).max()
    is_one = apart <= (2 * TINT if is_tinted else 1)
    if is_one and brightest.min() <= (TINT if is_tinted else 0):
        return MaskPixels(levels=brightest, colours=colours, is_lossy=is_tinted, is_coloured=True)
    names = [colour_name(int(colour)) for colour in used if colour]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    unclear = f"the colours {', '.join(names[:6])}{more}{'' if 0 in used else ', and no black'}"
    return MaskPixels(levels=brightest, colours=colours, unclear=unclear, is_coloured=True)


def _count_colours(pixels: Pixels) -> int:
    red, green, blue = (pixels[..., channel].astype(np.uint64) for channel in range(3))
    return len(np.unique(red << 32 | green << 16 | blue))


def _from_alpha(rgba: NDArray[np.uint8]) -> MaskPixels | None:
    """Return what alpha says; None where it is opaque alike everywhere: the picture is the mask."""
    picture, levels = rgba[..., :3], rgba[..., 3]
    alpha = levels
    if alpha.min() == alpha.max():
        if alpha.min() > 0:
            return None
        if (picture == picture[0, 0]).all():  # one colour, nothing of it shown: no defect
            return MaskPixels(levels=levels)
        return MaskPixels(
            levels=levels, unclear="a picture that is transparent all over", is_alpha=True
        )
    shown, hidden = picture[alpha > 0], picture[alpha == 0]
    if (shown == shown[0]).all() and (hidden == hidden[:1]).all():  # a part, and what is around it
        return MaskPixels(levels=levels)
    is_painted = np.asarray(picture.any(axis=2))
    if is_painted[alpha > 0].all() or not is_painted[alpha == 0].any():
        # What is transparent is the background, and colours name the classes.
        shown = np.where((alpha >= HALF)[..., None], picture, 0)
        is_grey = bool((shown == shown[..., :1]).all())
        return _from_pixels(shown[..., 0] if is_grey else shown)
    return MaskPixels(
        levels=levels,
        unclear="a picture under transparent pixels that differs from alpha",
        is_alpha=True,
    )


def _from_palette(upright: Image.Image) -> MaskPixels:
    """Return what indices say; colours say which of two is the background."""
    indices = np.asarray(upright, np.uint8)
    upright.apply_transparency()
    entries = np.array(upright.getpalette("RGBA") or [], np.uint32).reshape(-1, 4)
    table = np.zeros((256, 4), np.uint32)
    table[:, 3] = 255
    table[: len(entries)] = entries
    shades = np.asarray(table[:, 0] << 16 | table[:, 1] << 8 | table[:, 2], np.uint32)
    used = used_values(indices)
    colours = shades[indices]
    greys = table[indices, 0].astype(np.uint8)
    is_grey = all(len(set(table[index, :3].tolist())) == 1 for index in used)
    found = MaskPixels(levels=indices, others=(greys,) if is_grey else (), colours=colours)
    hidden = [index for index in used if table[index, 3] < HALF]
    black = [index for index in used if shades[index] == 0]
    ground = hidden or ([] if 0 in black else black)
    if ground:  # transparent, or black in a palette that begins with another colour
        kept = [index for index in used if index not in ground]
        if len(kept) <= 1:
            is_other = shades[0] != 0 or bool(hidden)
            mask = np.isin(indices, kept)
            return replace(found, mask=mask if kept or is_other else indices > 0)
        if 0 in kept:
            return replace(
                found,
                unclear=f"a palette in which {_say_index(ground[0], shades)} is "
                f"the background, and {_say_index(0, shades)} beside others is not",
            )
        return replace(
            found, levels=np.where(np.isin(indices, ground), 0, indices).astype(np.uint8)
        )
    if 0 in used and shades[0] != 0:
        # The first colour is the background where it is the darkest one: else it may be a class.
        light = [sum(int(shades[index]) >> shift & 255 for shift in (16, 8, 0)) for index in used]
        if len(used) == 1 or light[0] >= min(light[1:]):
            said = ", ".join(_say_index(index, shades) for index in used[:6])
            return replace(found, unclear=f"a palette without black, of {said}")
    if [index for index in used if index] == [VOID_INDEX] and shades[VOID_INDEX] == VOID_COLOUR:
        return replace(found, unclear="nothing but the value 255, which PASCAL VOC leaves out")
    return found


def _say_index(index: int, shades: NDArray[np.uint32]) -> str:
    return f"{index} ({colour_name(int(shades[index]))})"
