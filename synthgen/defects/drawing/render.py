"""One renderer for all defects: maps of a surface's change, lit, softened and grained as the photo.

A photo is what a lens makes of a lit surface. So a defect is drawn in fine points, lit by the
photo's light, softened by the photo's kernel, and only then laid on: what it leaves alone keeps the
photo's pixels, what it takes away gets the photo's grain again.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.defects.drawing.drawing import SCALE, Drawing, soften
from synthgen.imaging.images import LUMA
from synthgen.imaging.optics import Optics, draw_grain
from synthgen.samples.arrays import Map
from synthgen.sources.surfaces.noise import relief_shading

__all__ = ["add_change", "lay_on", "lay_parts", "without_texture"]

Window = tuple[slice, slice]
TEXTURE_PX = 21  # what is narrower is a surface's texture; the window of a median, odd
PATTERN_PX = 3.0  # deviation of the blur after it
MIN_LEVELS = 8.0  # of change on an even surface: Delta E 3 to 4, seen and labelled
MIN_SPREAD = 0.6  # and on a texture, of its own deviation
MIN_ROOM = 24.0  # levels: with less on its side, a defect turns to the other
ONE_SIDED = 0.3  # of a change's strength: its mean, where it is dark or bright as a whole
MAX_GAIN = 1.6  # of what the bounds leave, to make up for what they cut off
MAX_GRAIN = 6.0  # grey levels: what is more is a surface's texture, taken for grain
DIFFUSE = 0.3  # of a relief's shading under light that comes from everywhere
GLOOM = 0.25  # of the light that a thing's shadow takes away, under directed light


def lay_on(
    image: NDArray[np.uint8],
    drawing: Drawing,
    top_left: tuple[int, int],
    optics: Optics,
    detail: bool = True,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the image (H, W, 3) RGB with the drawing laid on it, and its mask at the image's size.

    ``top_left`` (row, column) may lie outside the image: what sticks out is cut off, as is what
    lies off ``allowed`` (H, W). ``detail`` False leaves out the grit and the grain.
    """
    height, width = image.shape[:2]
    mask = np.zeros((height, width), bool)
    inside, own = _overlap((height, width), drawing.mask.shape, top_left)
    if own is None:
        return image.copy(), mask
    within = None if allowed is None else allowed[inside]
    seen = drawing.mask[own] if within is None else drawing.mask[own] & within
    mask[inside] = seen
    base = image[inside].astype(np.float32)
    if drawing.change is None:
        painted = _paint(base, drawing, own, seen, optics, detail, within)
    else:
        veil = None if drawing.veil is None else drawing.veil[own]
        painted = add_change(base, drawing.change[own], veil)
    if within is not None and not within.all():  # the part's edge is as soft as all edges are
        weight = cv2.GaussianBlur(within.astype(np.float32), (0, 0), max(optics.kernel_px, 0.4))
        painted = base + (np.clip(2 * weight - 1, 0, 1) * within)[..., None] * (painted - base)
    result = image.copy()
    result[inside] = np.clip(np.rint(painted), 0, 255).astype(np.uint8)
    return result, mask


def lay_parts(
    drawing: Drawing, size_hw: tuple[int, int], top_left: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return which of a drawing's defects each pixel of an image belongs to, (H, W); 0 = none.

    ``top_left`` (row, column) as in ``lay_on``; a drawing of one defect has number 1.
    """
    parts = np.zeros(size_hw, np.uint8)
    inside, own = _overlap(size_hw, drawing.mask.shape, top_left)
    if own is not None:
        numbers = 1 if drawing.parts is None else drawing.parts[own]
        parts[inside] = drawing.mask[own] * numbers
    return parts


def _overlap(
    size_hw: tuple[int, int], own_hw: tuple[int, ...], top_left: tuple[int, int]
) -> tuple[Window, Window | None]:
    spans = []
    for size, own, start in zip(size_hw, own_hw, top_left, strict=True):
        first, last = max(0, start), min(size, start + own)
        if last <= first:
            return (slice(0, 0), slice(0, 0)), None
        spans.append((slice(first, last), slice(first - start, last - start)))
    return (spans[0][0], spans[1][0]), (spans[0][1], spans[1][1])


def _paint(
    base: NDArray[np.float32],
    drawing: Drawing,
    own: Window,
    mask: NDArray[np.bool_],
    optics: Optics,
    detail: bool,
    within: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    """Return a surface (h, w, 3) of 0..255 levels with the part ``own`` of a drawing on it."""
    ground = base
    if within is not None and within.any() and not within.all():
        from scipy.ndimage import distance_transform_edt  # loaded where it is used

        # The part goes on where it ends: each pixel off it has the colour of the nearest one on it.
        nearest = distance_transform_edt(~within, return_distances=False, return_indices=True)
        ground = np.asarray(base[nearest[0], nearest[1]], np.float32)
    smooth = without_texture(ground)
    lift = _levels(drawing, own, mask, base, smooth, optics, detail)
    gone = soften(drawing.gone, optics.kernel_px)[own][..., None]
    surface = base - gone * (base - smooth)
    # What darkens takes its share of the light, with the texture; what brightens adds light.
    fraction = np.minimum(lift, 0) / np.maximum(smooth @ LUMA, 8.0)
    hue = smooth / np.maximum(smooth @ LUMA, 8.0)[..., None]
    painted = surface * np.maximum(1 + fraction, 0)[..., None]
    painted = painted + np.maximum(lift, 0)[..., None] * np.clip(hue, 0.3, 1.8)
    painted = _tint(painted, drawing, own, optics)
    if not detail:
        return painted
    # The grain that the photo would have at its new levels and has lost.
    before, after = base @ LUMA, np.clip(painted @ LUMA, 0, 255)
    wanted = optics.grain_at(after)
    left = (1 - gone[..., 0]) * np.maximum(1 + fraction, 0) * optics.grain_at(before)
    lost = np.minimum(np.sqrt(np.maximum(wanted**2 - left**2, 0)), MAX_GRAIN)
    unit = draw_grain(np.random.default_rng(drawing.seed), optics, after)
    grain = unit * (lost / np.maximum(wanted, 1e-3))[..., None]
    return np.asarray(painted + np.asarray(grain, np.float32))


def _levels(
    drawing: Drawing,
    own: Window,
    mask: NDArray[np.bool_],
    base: NDArray[np.float32],
    smooth: NDArray[np.float32],
    optics: Optics,
    detail: bool,
) -> Map:
    """Return by how many grey levels the drawing darkens or brightens each pixel, (h, w).

    Their mean over the mask is the contrast that is asked for, as far as the photo has room.
    """
    tone = drawing.tone + drawing.grit if detail else drawing.tone
    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    under, plain = base[mask] @ LUMA, smooth[mask] @ LUMA
    ground, spread = float(np.median(under)), 1.4826 * float(np.median(np.abs(under - plain)))
    room = ground - optics.gloom_level, optics.glint_level - ground  # to darken, to brighten
    lean = float(soften(tone, optics.kernel_px)[own][mask].sum())
    if room[lean > 0] < min(MIN_ROOM, room[lean < 0]):
        tone, lean = -tone, -lean  # of another material, whose relief the light falls on alike
    shaded = DIFFUSE + (1 - DIFFUSE) * optics.light_directedness
    tone = tone + shaded * relief_shading(drawing.height * SCALE, optics.light_deg)
    tone = tone - _shadow(drawing, optics)
    seen = soften(tone, optics.kernel_px)[own][mask]
    strength = max(float(np.abs(seen).mean()), 1e-3)
    is_relief = abs(float(seen.mean())) < ONE_SIDED * strength  # darker and brighter alike
    wide = max(min(room) if is_relief else room[lean > 0], 1.0)
    least = MIN_LEVELS + min(MIN_SPREAD * spread, 0.4 * wide)
    wanted = max(drawing.contrast * wide, drawing.floor * least)
    levels = tone * np.float32(wanted / strength)
    # No surface is darker than black or brighter than white before the lens blurs it.
    low, high = -max(room[0], least), max(room[1], least)
    bounded = soften(np.clip(levels, low, high), optics.kernel_px)[own]
    lost = wanted / max(float(np.abs(bounded[mask]).mean()), 1e-3)
    if lost > 1.05:  # what the bounds took from the strongest points is given to the others
        levels = np.clip(levels * np.float32(min(lost, MAX_GAIN)), low, high)
        bounded = soften(levels, optics.kernel_px)[own]
    return bounded


def _shadow(drawing: Drawing, optics: Optics) -> Map | float:
    """Return the shadow, as a tone, of what stands above the surface: darkest where it touches."""
    if not drawing.lift.any():
        return 0.0
    top = float(drawing.lift.max())
    thing = np.clip(drawing.lift / top, 0, 1)
    azimuth = np.deg2rad(optics.light_deg)
    reach = top * SCALE * (0.4 + optics.light_directedness)
    move = np.array([[1, 0, -np.cos(azimuth) * reach], [0, 1, np.sin(azimuth) * reach]], np.float32)
    cast = cv2.warpAffine(thing, move, thing.shape[::-1])
    cast = cv2.GaussianBlur(cast, (0, 0), 0.3 * SCALE + 0.4 * reach)
    around = cv2.GaussianBlur(thing, (0, 0), 0.5 * SCALE + 0.6 * top * SCALE)
    depth = GLOOM * (optics.light_directedness * cast + (1 - optics.light_directedness) * around)
    return np.asarray(depth * (1 - thing), np.float32)


def _tint(
    painted: NDArray[np.float32], drawing: Drawing, own: Window, optics: Optics
) -> NDArray[np.float32]:
    """Return the surface in the drawing's own colour, where it has one, at the same grey level."""
    if not drawing.tinted.any():
        return painted
    fraction = soften(drawing.tinted, optics.kernel_px)[own][..., None]
    colour = drawing.tint if drawing.tint.ndim == 1 else soften(drawing.tint, 0.7)[own]
    colour = colour / np.maximum(colour @ LUMA, 0.1)[..., None]
    level = (painted @ LUMA)[..., None]
    # A strong colour cannot be as bright as white: it loses saturation before it clips.
    most = (255 - level) / np.maximum(level * (colour.max(axis=-1, keepdims=True) - 1), 1e-3)
    return np.asarray(
        painted + fraction * (level * (1 + (colour - 1) * np.clip(most, 0, 1)) - painted)
    )


def add_change(
    base: NDArray[np.float32], change: NDArray[np.float32], veil: Map | None
) -> NDArray[np.float32]:
    """Return a surface (h, w, 3) of 0..255 levels with a real defect's ``change`` (h, w, 3) on it.

    The change is a share of the grey level at each pixel, as ``Drawing`` has it; ``veil`` (h, w)
    0..1 is how much of the surface's own texture is gone there. Levels are not clipped.
    """
    if veil is not None:
        base = base + veil[..., None] * (without_texture(base) - base)
    return np.asarray(base + change * (base @ LUMA)[..., None], np.float32)


def without_texture(surface: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a surface (h, w, 3) of 0..255 levels with its light and edges, but without lines,
    grain and spots narrower than ``TEXTURE_PX``.

    The median keeps edges; of a pattern that is dark and bright by halves it keeps one or the other
    from place to place, which the blur evens out.
    """
    levels = cv2.medianBlur(np.clip(np.rint(surface), 0, 255).astype(np.uint8), TEXTURE_PX)
    return np.asarray(cv2.GaussianBlur(levels.astype(np.float32), (0, 0), PATTERN_PX))
