"""What every defect is made of: a mask, and layers that change how the surface looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.geometry import nearest_instance
from synthgen.images import LUMA
from synthgen.surfaces.noise import Field, fractal_noise, relief_shading

__all__ = [
    "AXIS_OF",
    "SIDES",
    "DefectKind",
    "Drawing",
    "Range",
    "Side",
    "add_change",
    "cover_within",
    "draw_range",
    "draw_size",
    "draw_strength",
    "fade",
    "fit_area",
    "lay_on",
    "lay_parts",
    "radial_field",
    "stroke",
    "without_texture",
    "zoom",
]

Rng = np.random.Generator
Range = tuple[float, float]  # low, high
Side = Literal["top", "bottom", "left", "right"]
SIDES: tuple[Side, ...] = ("top", "bottom", "left", "right")
AXIS_OF: Mapping[Side, int] = {"top": 0, "bottom": 0, "left": 1, "right": 1}  # of an array
SUPERSAMPLING = 4
TEXTURE_PX = 21  # what is narrower is a surface's texture; the window of a median, odd
PATTERN_PX = 3.0  # deviation of the blur after it


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """One defect in its own frame, (h, w) float32 layers beside a (h, w) bool mask.

    ``tone`` changes the grey level (signed, 0..255 levels), ``relief`` is a height whose slope
    the light turns into grey levels, ``pigment`` (h, w, 3) RGB covers the surface by ``opacity``
    (0..1), and ``grain`` is fine structure in grey levels that a sketch leaves out.
    ``contrast`` (grey levels) is the least difference that a pigment has to make. ``change``
    (h, w, 3) RGB is added as a share of the surface's own grey level at each pixel, ``veil`` (0..1)
    of whose texture is gone there: the change brings its own. ``cut_at``: the
    image's borders that cut it off, each with where it does, in shares of the frame's height or
    width from the top or the left. ``parts`` (h, w) uint8: which of several defects a pixel of the
    mask belongs to, 1.., whose classes are ``classes``; None = all one, of the class asked for.
    """

    mask: NDArray[np.bool_]
    tone: Field
    relief: Field
    opacity: Field
    pigment: NDArray[np.float32]
    grain: Field
    contrast: float
    change: NDArray[np.float32] | None = None
    veil: Field | None = None
    cut_at: Mapping[Side, float] = field(default_factory=dict)
    parts: NDArray[np.uint8] | None = None
    classes: tuple[str, ...] = ()

    @classmethod
    def build(
        cls,
        mask: NDArray[np.bool_],
        contrast: float,
        *,
        tone: Field | None = None,
        relief: Field | None = None,
        opacity: Field | None = None,
        pigment: NDArray[np.float32] | None = None,
        grain: Field | None = None,
        change: NDArray[np.float32] | None = None,
        veil: Field | None = None,
        cut_at: Mapping[Side, float] | None = None,
        parts: NDArray[np.uint8] | None = None,
        classes: tuple[str, ...] = (),
    ) -> Drawing:
        """Return a Drawing whose layers that are not given do nothing."""
        nothing = np.zeros(mask.shape, np.float32)
        colour = np.zeros((*mask.shape, 3), np.float32)
        return cls(
            mask,
            nothing if tone is None else tone.astype(np.float32),
            nothing if relief is None else relief.astype(np.float32),
            nothing if opacity is None else opacity.astype(np.float32),
            colour if pigment is None else np.broadcast_to(pigment, colour.shape),
            nothing if grain is None else grain.astype(np.float32),
            contrast,
            change,
            veil,
            cut_at or {},
            parts,
            classes,
        )


def zoom(drawing: Drawing, factor: float) -> Drawing:
    """Return the drawing as a camera ``factor`` times nearer sees it, slopes kept."""

    def scaled(layer: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(layer, None, fx=factor, fy=factor), np.float32)

    return Drawing(
        scaled(drawing.mask.astype(np.float32)) > 0.5,
        scaled(drawing.tone),
        scaled(drawing.relief) * np.float32(factor),
        scaled(drawing.opacity),
        scaled(drawing.pigment),
        scaled(drawing.grain),
        drawing.contrast,
        None if drawing.change is None else scaled(drawing.change),
        None if drawing.veil is None else scaled(drawing.veil),
        drawing.cut_at,
        drawing.parts if drawing.parts is None else _zoom_parts(drawing.parts, factor),
        drawing.classes,
    )


def _zoom_parts(parts: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    near = nearest_instance(parts)  # the mask's own edge may come to lie a pixel further out
    return np.asarray(cv2.resize(near, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST))


def fade(drawing: Drawing, factor: float) -> Drawing:
    """Return the drawing with ``factor`` times its effect; what covers covers wholly at most."""
    return replace(
        drawing,
        tone=drawing.tone * np.float32(factor),
        relief=drawing.relief * np.float32(factor),
        opacity=np.minimum(drawing.opacity * np.float32(factor), 1),
        grain=drawing.grain * np.float32(factor),
        contrast=drawing.contrast * factor,
        change=None if drawing.change is None else drawing.change * np.float32(factor),
    )


def fit_area(drawing: Drawing, area_px: float) -> Drawing:
    """Return the drawing zoomed so that its mask has about so many pixels, 1/4 to 4 times as large.

    A thin line keeps its width on the pixel grid; a second step makes up for that.
    """
    for _ in range(2):
        factor = float(np.clip(np.sqrt(area_px / max(1, drawing.mask.sum())), 0.25, 4))
        zoomed = zoom(drawing, factor)
        if not zoomed.mask.any():
            return drawing
        drawing = zoomed
    return drawing


class DefectKind(Protocol):
    """Draws one defect of its class; the constructor holds the ranges that YAML gives."""

    def draw(self, rng: Rng, severity: float, short_side_px: int) -> Drawing:
        """Draw one; ``severity`` 0..1 goes from the low to the high end of the contrast range."""
        ...


def draw_range(rng: Rng, bounds: Range) -> float:
    return float(rng.uniform(*bounds))


def draw_size(rng: Rng, px: Range, fraction: Range | None, short_side_px: int) -> float:
    """Return a size in pixels, from the fraction of the image's short side where one is given."""
    return draw_range(rng, px) if fraction is None else draw_range(rng, fraction) * short_side_px


def draw_strength(contrast: Range, severity: float) -> float:
    """Return the contrast in grey levels that a severity of 0..1 stands for."""
    return contrast[0] + severity * (contrast[1] - contrast[0])


def cover_within(field: Field, radius_px: float, edge_px: float) -> Field:
    """Return 1 inside the outline of a radial field, 0 outside, over an edge of some pixels."""
    return np.asarray(np.clip((1 - field) * radius_px / edge_px + 0.5, 0, 1), np.float32)


def lay_on(
    image: NDArray[np.uint8],
    drawing: Drawing,
    top_left: tuple[int, int],
    light_deg: float,
    detail: bool = False,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the image with the drawing laid on it, and its mask at the image's size.

    ``top_left`` (row, column) may lie outside the image: what sticks out is cut off. ``light_deg``
    is where the light comes from. ``detail`` adds the grain that the sketch leaves out.
    """
    height, width = image.shape[:2]
    mask = np.zeros((height, width), bool)
    inside, own = _overlap((height, width), drawing.mask.shape, top_left)
    if own is None:
        return image.copy(), mask
    mask[inside] = drawing.mask[own]
    base = image[inside].astype(np.float32)
    painted = _paint(base, drawing, own, light_deg, detail)
    result = image.copy()
    result[inside] = np.clip(np.rint(painted), 0, 255).astype(np.uint8)
    return result, mask


def lay_parts(
    drawing: Drawing, size_hw: tuple[int, int], top_left: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return which of a drawing's defects each pixel of an image belongs to, (H, W); 0 = none."""
    parts = np.zeros(size_hw, np.uint8)
    inside, own = _overlap(size_hw, drawing.mask.shape, top_left)
    if own is not None:
        numbers = 1 if drawing.parts is None else drawing.parts[own]
        parts[inside] = drawing.mask[own] * numbers
    return parts


Window = tuple[slice, slice]


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
    base: NDArray[np.float32], drawing: Drawing, own: Window, light_deg: float, detail: bool
) -> NDArray[np.float32]:
    mask = drawing.mask[own]
    under = base[mask] if mask.any() else base.reshape(-1, 3)
    ground = under.mean(axis=0)
    opacity = drawing.opacity[own][..., None]
    grey = _within_range(drawing.tone[own], mask, float(ground @ LUMA))
    lift = float(grey[mask].mean()) if mask.any() else 0.0
    painted = base + opacity * (_visible(drawing, own, mask, ground, lift) - base)
    grey = grey + relief_shading(drawing.relief, light_deg)[own]
    if detail:
        grey = grey + drawing.grain[own]
    hue = ground / max(float(ground @ LUMA), 8.0)  # shading keeps the material's colour
    painted = painted + grey[..., None] * np.clip(0.4 + 0.6 * hue, 0.3, 1.8)
    if drawing.change is not None:
        veil = None if drawing.veil is None else drawing.veil[own]
        painted = painted + add_change(base, drawing.change[own], veil) - base
    return np.asarray(painted, np.float32)


def add_change(
    base: NDArray[np.float32], change: NDArray[np.float32], veil: Field | None
) -> NDArray[np.float32]:
    """Return a surface (h, w, 3) with a change in shares of its grey level, as ``Drawing`` has."""
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


def _visible(
    drawing: Drawing,
    own: Window,
    mask: NDArray[np.bool_],
    ground: NDArray[np.float32],
    lift: float,
) -> NDArray[np.float32]:
    """Return the pigment, moved in grey level until it shows, together with the tone's ``lift``."""
    pigment, opacity = drawing.pigment[own], drawing.opacity[own]
    if not mask.any() or opacity[mask].mean() < 0.02:
        return pigment
    share = float(opacity[mask].mean())
    change = share * (pigment[mask].mean(axis=0) - ground) + np.float32(lift)
    seen = float(np.linalg.norm(change)) / np.sqrt(3)
    if seen >= drawing.contrast:
        return pigment
    level = float(ground @ LUMA)
    sign = np.sign(float(change @ LUMA)) or 1.0
    needed = drawing.contrast - seen
    if not 8 < level + sign * drawing.contrast < 247 and abs(lift) < 1:
        sign, needed = -sign, drawing.contrast + seen  # past the surface's own level
    return pigment + np.float32(sign * needed / share)


def _within_range(tone: Field, mask: NDArray[np.bool_], level: float) -> Field:
    """Flip a tone that would be lost in black or white."""
    strongest = float(tone[mask].mean()) if mask.any() else 0.0
    return tone if 6 < level + strongest < 249 else -tone


def stroke(
    points: NDArray[np.float32], widths: NDArray[np.float32], weights: NDArray[np.float32]
) -> tuple[Field, NDArray[np.float32]]:
    """Rasterise a line with a width and a weight at each point, anti-aliased.

    ``points`` (n, 2) are x, y in pixels. Return the (h, w) coverage 0..1 in a tight frame with a
    margin of 6 px, and the (x, y) of that frame's corner.
    """
    margin = 6 + float(widths.max())
    corner = np.floor(points.min(axis=0) - margin).astype(np.float32)
    size = np.ceil(points.max(axis=0) + margin - corner).astype(int)
    canvas = np.zeros((size[1] * SUPERSAMPLING, size[0] * SUPERSAMPLING), np.float32)
    pixels = np.rint((points - corner) * SUPERSAMPLING).astype(int)
    for first, last, width, weight in zip(
        pixels[:-1], pixels[1:], widths[:-1], weights[:-1], strict=True
    ):
        thickness = max(1, round(float(width) * SUPERSAMPLING))
        cv2.line(canvas, first.tolist(), last.tolist(), float(weight), thickness)
    frame = (int(size[0]), int(size[1]))
    return cv2.resize(canvas, frame, interpolation=cv2.INTER_AREA).astype(np.float32), corner


def radial_field(
    rng: Rng, radius_px: float, aspect: float, lobes: float, ragged: float, margin: float = 1.35
) -> Field:
    """Return a (s, s) field that is 0 at the centre, 1 on an irregular outline, and grows on.

    ``aspect`` >= 1 stretches it along a random direction; ``lobes`` (0..0.5) waves the outline;
    ``ragged`` (0..0.6) adds fractal noise to it.
    """
    half = int(np.ceil(radius_px * aspect**0.5 * (margin + lobes + ragged))) + 4
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    turn = rng.uniform(0, np.pi)
    along = (x * np.cos(turn) + y * np.sin(turn)) / aspect**0.5
    across = (-x * np.sin(turn) + y * np.cos(turn)) * aspect**0.5
    theta = np.arctan2(across, along)
    outline = np.ones_like(theta)
    for order in range(2, 6):
        phase = rng.uniform(0, 2 * np.pi)
        outline += lobes * rng.normal(0, 0.6) / order**0.5 * np.cos(order * theta + phase)
    field = np.hypot(along, across) / (radius_px * np.clip(outline, 0.35, 2))
    if ragged > 0:
        blobs = max(3.0, radius_px * 0.7)
        field = field + ragged * fractal_noise(rng, field.shape, blobs, octaves=4, persistence=0.6)
    return np.asarray(field, np.float32)
