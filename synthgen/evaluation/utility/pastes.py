"""Synthetic defects that need no model: crop-paste, Perlin (DRAEM), NSA, and synthgen's sketch.

Each takes a good picture and returns it with one defect, and that defect's mask. All pure; levels
are those of the picture, (H, W, C) uint8.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.defects import DEFECTS, Scene, lay_on
from synthgen.imaging.images import to_levels
from synthgen.imaging.optics import estimate_optics
from synthgen.samples.arrays import Image, Mask
from synthgen.sources.surfaces import draw_surface

__all__ = ["Patch", "blend_nsa", "blend_perlin", "draw_sketch", "paste_defect", "perlin_noise"]

Rng = np.random.Generator
Painted = tuple[Image, Mask]
Patch = tuple[Image, Mask]  # of a real defect, with some of the good surface around it
FEATHER_PX = 1.5
PERLIN_OVER = 0.5  # DRAEM, section 3.2.1
NSA_CHANGE = 0.5  # of the picture's own deviation: what a labelled pixel has to change by
MARGIN_PX = 3  # of good surface around a patch that Poisson blending takes along


def paste_defect(rng: Rng, picture: Image, patch: Patch, is_poisson: bool) -> Painted:
    """Paste a real defect, mirrored, turned and scaled (0.7 to 1.4), somewhere on the picture.

    Feathered, its surroundings brought to the light of the new ones; or by Poisson blending (Perez
    et al. 2003), where the change in light is solved for. What is larger than the picture is cut
    off; a patch whose mask is lost on the way leaves the picture as it is.
    """
    height, width = picture.shape[:2]
    crop, mask = _turn(rng, *patch)
    crop = np.ascontiguousarray(crop[:height, :width])  # off with what is larger than the picture
    mask = np.ascontiguousarray(mask[:height, :width])
    height, width = mask.shape
    top = int(rng.integers(picture.shape[0] - height + 1))
    left = int(rng.integers(picture.shape[1] - width + 1))
    at = (slice(top, top + height), slice(left, left + width))
    label = np.zeros(picture.shape[:2], bool)
    label[at] = mask
    result = picture.copy()
    if not mask.any():
        return result, label
    kernel = np.ones((2 * MARGIN_PX + 1,) * 2, np.uint8)
    under, grown = picture[at], cv2.dilate(mask.astype(np.uint8), kernel) > 0
    if is_poisson:
        result[at] = _clone(crop, under, grown)
        return result, label
    ring, shift = grown & ~mask, 0.0
    if ring.any():  # the light here less the light there
        shift = np.median(under[ring], axis=0) - np.median(crop[ring], axis=0)
    weight = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), FEATHER_PX)[..., None]
    weight = np.maximum(weight, mask[..., None])  # soft outside only: the defect itself is whole
    result[at] = to_levels(under + weight * (crop.astype(np.float32) + shift - under))
    return result, label


def _turn(rng: Rng, crop: Image, mask: Mask) -> Patch:
    """Return a patch mirrored, turned by any angle and scaled, in a frame that holds its mask."""
    if rng.random() < 0.5:
        crop, mask = np.ascontiguousarray(crop[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    height, width = mask.shape
    scale, angle = float(rng.uniform(0.7, 1.4)), float(rng.uniform(0, 360))
    side = int(np.ceil(np.hypot(height, width) * scale)) + 2
    move = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
    move[:, 2] += (side - width) / 2, (side - height) / 2
    turned = cv2.warpAffine(crop, move, (side, side), borderMode=cv2.BORDER_REFLECT)
    shape = cv2.warpAffine(mask.astype(np.uint8) * 255, move, (side, side)) > 127
    crop = turned.reshape(side, side, -1)
    if not shape.any():
        return crop[:1, :1], shape[:1, :1]
    rows, columns = np.nonzero(shape)  # cut down to the mask and a margin
    reach = 2 * MARGIN_PX
    own = (
        slice(max(0, rows.min() - reach), rows.max() + 1 + reach),
        slice(max(0, columns.min() - reach), columns.max() + 1 + reach),
    )
    return np.ascontiguousarray(crop[own]), np.ascontiguousarray(shape[own])


def _clone(crop: Image, under: Image, mask: Mask, is_mixed: bool = False) -> Image:
    """Return ``under`` with ``crop`` cloned into it where the mask says, all of one size.

    Poisson blending (Perez et al. 2003), solved exactly by sine transforms; the frame's border
    keeps its levels. ``is_mixed`` keeps the stronger of both gradients. Not cv2.seamlessClone: that
    of OpenCV 4.14 loses gradients of one sign.
    """
    source, target = crop.astype(np.float64), under.astype(np.float64)
    bend = np.zeros_like(target)  # the divergence of what is added to the target's gradient
    for axis in (0, 1):
        new, old = np.diff(source, axis=axis), np.diff(target, axis=axis)
        inside = np.diff(mask.astype(np.int8), axis=axis) == 0
        inside &= mask[:-1] if axis == 0 else mask[:, :-1]
        taken = inside[..., None] & (np.abs(new) > np.abs(old) if is_mixed else True)
        edges = [(1, 1) if other == axis else (0, 0) for other in range(3)]
        bend += np.diff(np.pad(np.where(taken, new - old, 0.0), edges), axis=axis)
    return to_levels(target + _solve_poisson(bend))


def _solve_poisson(bend: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (H, W, C) field whose Laplacian is ``bend`` and that is 0 around the frame."""
    from scipy.fft import dstn, idstn

    rows, columns = (np.arange(1, length + 1) / (length + 1) for length in bend.shape[:2])
    values = (2 * np.cos(np.pi * rows) - 2)[:, None] + (2 * np.cos(np.pi * columns) - 2)
    waves = dstn(bend, type=1, axes=(0, 1)) / values[..., None]
    return np.asarray(idstn(waves, type=1, axes=(0, 1)))


def perlin_noise(rng: Rng, size_hw: tuple[int, int], cells: tuple[int, int]) -> NDArray[np.float32]:
    """Return gradient noise (Perlin 1985) of about -1..1 with so many cells down and across.

    (H, W) float32, as ``size_hw`` says.
    """
    angles = rng.uniform(0, 2 * np.pi, (cells[0] + 1, cells[1] + 1))
    y = np.linspace(0, cells[0], size_hw[0], endpoint=False)[:, None]
    x = np.linspace(0, cells[1], size_hw[1], endpoint=False)[None, :]
    row, column = y.astype(int), x.astype(int)
    dy, dx = y - row, x - column

    def slope(down: int, right: int) -> NDArray[np.float64]:
        turn = angles[row + down, column + right]
        return np.asarray(np.cos(turn) * (dx - right) + np.sin(turn) * (dy - down))

    fade_y, fade_x = (6 * t**5 - 15 * t**4 + 10 * t**3 for t in (dy, dx))
    upper = slope(0, 0) + fade_x * (slope(0, 1) - slope(0, 0))
    lower = slope(1, 0) + fade_x * (slope(1, 1) - slope(1, 0))
    return np.asarray(np.sqrt(2) * (upper + fade_y * (lower - upper)), np.float32)


def blend_perlin(rng: Rng, picture: Image, texture: Image) -> Painted:
    """Blend a texture in where turned Perlin noise is high (DRAEM, Zavrtanik et al. 2021).

    The texture is another good picture; every other time a drawn surface, since DRAEM's own come
    from a set of textures that does not ship here. Its fraction of the mix is 0.2 to 1.
    """
    height, width = picture.shape[:2]
    cells = 2 ** int(rng.integers(1, 6)), 2 ** int(rng.integers(1, 6))
    noise = perlin_noise(rng, (height, width), cells)
    move = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-90, 90)), 1.0)
    mask = cv2.warpAffine(noise, move, (width, height)) > PERLIN_OVER
    if rng.random() < 0.5:
        drawn = draw_surface(rng, (height, width)).image
        texture = drawn if picture.shape[2] == 3 else _grey(drawn)
    texture = _cut(rng, texture, (height, width))
    texture = np.clip(texture * rng.uniform(0.6, 1.4) + rng.normal(0, 20), 0, 255)
    fraction = float(rng.uniform(0.2, 1.0))
    mixed = picture + fraction * mask[..., None] * (texture - picture)
    return to_levels(mixed), np.asarray(mask)


def _grey(drawn: Image) -> Image:
    return np.asarray(cv2.cvtColor(drawn, cv2.COLOR_RGB2GRAY)[..., None], np.uint8)


def _cut(rng: Rng, texture: Image, size_hw: tuple[int, int]) -> Image:
    """Return a random part of a texture, mirrored at its edges where it is too small."""
    short = [max(0, want - have) for want, have in zip(size_hw, texture.shape, strict=False)]
    if any(short):
        texture = np.pad(texture, ((0, short[0]), (0, short[1]), (0, 0)), mode="symmetric")
    top, left = (
        int(rng.integers(have - want + 1))
        for want, have in zip(size_hw, texture.shape, strict=False)
    )
    return np.ascontiguousarray(texture[top : top + size_hw[0], left : left + size_hw[1]])


def blend_nsa(rng: Rng, picture: Image, other: Image) -> Painted:
    """Blend a resized piece of another good picture in by Poisson blending (NSA, Schlüter 2022).

    The piece is an ellipse or a box, its sides of a gamma distribution as there. The label is where
    the levels changed.
    """
    height, width = picture.shape[:2]
    low, high = 8, max(9, int(0.4 * min(height, width)))
    sides = np.clip(low + rng.gamma(2.0, 0.1, 2) * min(height, width), low, high).astype(int)
    scale = float(rng.uniform(0.7, 1.3))
    piece = _cut(rng, other, (max(4, int(sides[0] / scale)), max(4, int(sides[1] / scale))))
    piece = cv2.resize(piece, (int(sides[1]), int(sides[0]))).reshape(*sides, -1)
    shape = np.ones(tuple(sides), bool)
    if rng.random() < 0.5:
        drawn = np.zeros(tuple(sides), np.uint8)
        middle = (int(sides[1]) // 2, int(sides[0]) // 2)
        cv2.ellipse(drawn, middle, (middle[0] - 1, middle[1] - 1), 0, 0, 360, 1, -1)
        shape = drawn > 0
    top, left = int(rng.integers(height - sides[0] + 1)), int(rng.integers(width - sides[1] + 1))
    at = (slice(top, top + int(sides[0])), slice(left, left + int(sides[1])))
    is_mixed = bool(rng.random() < 0.5)
    result = picture.copy()
    result[at] = _clone(np.asarray(piece, np.uint8), picture[at], shape, is_mixed)
    change = np.abs(result.astype(np.int16) - picture).mean(axis=2).astype(np.uint8)
    least = max(2.0, NSA_CHANGE * float(picture.std()))
    return result, np.asarray(cv2.medianBlur(change, 5) >= least)


def draw_sketch(rng: Rng, picture: Image, kinds: Sequence[str]) -> Painted:
    """Draw one of synthgen's own defects, as ``backend=sketch`` does, anywhere on the picture.

    ``kinds`` are names of ``DEFECTS``, each as likely as any other. A drawing without a pixel gives
    the picture as it is and an empty mask.
    """
    height, width = picture.shape[:2]
    kind = DEFECTS[str(rng.choice(list(kinds)))]()
    is_grey = picture.shape[2] == 1
    surface = np.repeat(picture, 3, axis=2) if is_grey else np.ascontiguousarray(picture)
    optics = estimate_optics(surface)
    scene = Scene(short_side_px=min(height, width), optics=optics)
    drawing = kind.draw(rng, float(rng.random()), scene)
    rows, columns = np.nonzero(drawing.mask)
    if len(rows) == 0:
        return picture.copy(), np.zeros((height, width), bool)
    anchor = int(rng.integers(len(rows)))
    top = int(rng.integers(height)) - int(rows[anchor])
    left = int(rng.integers(width)) - int(columns[anchor])
    drawn, mask = lay_on(surface, drawing, (top, left), optics)
    return (_grey(drawn) if is_grey else drawn), mask
