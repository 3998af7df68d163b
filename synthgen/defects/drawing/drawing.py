"""A drawn defect: its mask, and maps of how it changes the surface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.imaging.geometry import nearest_instance
from synthgen.imaging.images import LUMA
from synthgen.imaging.optics import Optics
from synthgen.samples.arrays import Map

__all__ = [
    "AXIS_OF",
    "EDGE_FRACTION",
    "SCALE",
    "SIDES",
    "DefectKind",
    "Drawing",
    "Range",
    "Scene",
    "Side",
    "draw_range",
    "draw_size",
    "draw_strength",
    "fade",
    "fit_area",
    "mix_hues",
    "soften",
    "visible_extent",
    "zoom",
]

Rng = np.random.Generator
Range = tuple[float, float]  # low, high
Side = Literal["top", "bottom", "left", "right"]
SIDES: tuple[Side, ...] = ("top", "bottom", "left", "right")
AXIS_OF: Mapping[Side, int] = {"top": 0, "bottom": 0, "left": 1, "right": 1}  # of an array

SCALE = 3  # points of a drawn map per pixel of the photo, in each direction
MIN_KERNELS = 3.0  # a smaller defect is a blurred dot whatever its shape
EDGE_FRACTION = 0.45  # of the strongest change near by: where the label of a soft edge ends
EDGE_PX = 3  # what is near by
STREAK_SWAY = 0.06  # radians that what follows a surface's streaks deviates
FAINTEST = 0.12  # of full cover: what a taper leaves under that is not asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a defect is drawn for: ``short_side_px`` of the part, and the photo's optics.

    ``edge_deg``: direction of the edge that it lies at, 0 = along x, 90 = up; None = at none.
    """

    short_side_px: float
    optics: Optics = field(default_factory=Optics)
    edge_deg: float | None = None

    def draw_heading(self, rng: Rng) -> float:
        """Draw a direction in radians, y downward: along the surface's streaks as often as it has
        such, or any."""
        along = -np.deg2rad(self.optics.streak_deg) + rng.normal(0, STREAK_SWAY)
        anywhere = rng.uniform(0, np.pi)
        is_along = rng.random() < np.clip(1.5 * self.optics.streak_fraction - 0.15, 0, 0.85)
        return float(along if is_along else anywhere)

    @property
    def kernel_px(self) -> float:
        """The deviation of the photo's blur, in pixels."""
        return self.optics.kernel_px


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Drawing:
    """One defect in its own frame: an (h, w) bool mask and maps of ``scale`` points per pixel.

    ``contrast`` is the mean change of the grey level that is wanted, as a share 0..1 of the room
    between the surface and the darkest or brightest level of the photo. The maps, (h * scale,
    w * scale) float32, say where and how; their overall size does not matter:

    ``tone`` is darker (negative) or brighter. ``height`` is relief in pixels, whose slope is lit by
    the photo's light. ``gone`` 0..1 is where the surface's own texture is lost. ``lift`` is how far
    a thing stands above the surface, in pixels: it casts a shadow. ``tint`` RGB of mean luma 1 is
    the colour that the surface takes on by the share ``tinted`` 0..1. ``grit`` is fine structure of
    its own that a sketch without detail leaves out.

    ``floor`` scales the least change that shows on a texture; 0 = may be lost in it. ``seed`` is
    that of its grain. ``cut_at``: the image's borders that cut it off, each with where it does, in
    shares of the frame's height or width from the top or the left. ``parts`` (h, w) uint8: which
    of several defects a pixel of the mask belongs to, 1.., whose classes are ``classes``; None =
    all one, of the class asked for. ``change`` (h, w, 3) RGB, of a real defect, is added as a share
    of the surface's own grey level at each pixel; ``veil`` (0..1) of its texture is gone there.
    """

    mask: NDArray[np.bool_]
    contrast: float
    tone: Map
    height: Map
    gone: Map
    lift: Map
    tint: NDArray[np.float32]
    tinted: Map
    grit: Map
    scale: int = SCALE
    floor: float = 1.0
    seed: int = 0
    change: NDArray[np.float32] | None = None
    veil: Map | None = None
    cut_at: Mapping[Side, float] = field(default_factory=dict)
    parts: NDArray[np.uint8] | None = None
    classes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        rng: Rng,
        cover: Map,
        contrast: float,
        scene: Scene,
        *,
        tone: Map | None = None,
        height: Map | None = None,
        gone: Map | None = None,
        lift: Map | None = None,
        tint: NDArray[np.float32] | None = None,
        tinted: Map | None = None,
        grit: Map | None = None,
    ) -> Drawing:
        """Return a Drawing of maps in one frame; those that are not given do nothing.

        ``cover`` 0..1 is its extent, from which the mask follows as the photo's blur shows it. All
        maps have its size, in points; they are padded so that blur and shadow have room.
        """
        shadow_px = 0.0 if lift is None else 2.5 * float(lift.max())
        margin = SCALE * (int(np.ceil(3 * scene.kernel_px + shadow_px)) + 2)
        rows, columns = (-side % SCALE for side in cover.shape)
        pads = ((margin, margin + rows), (margin, margin + columns))

        def framed(layer: Map | None) -> Map:
            if layer is None:
                return np.zeros(extent.shape, np.float32)
            return np.pad(np.asarray(layer, np.float32), pads)

        extent = np.pad(np.asarray(cover, np.float32), pads)
        colour = np.ones(3, np.float32) if tint is None else np.asarray(tint, np.float32)
        if colour.ndim == 3:
            colour = np.pad(colour, (*pads, (0, 0)), mode="edge")
        return cls(
            mask=visible_extent(soften(extent, scene.kernel_px)),
            contrast=contrast,
            tone=framed(tone),
            height=framed(height),
            gone=framed(gone),
            lift=framed(lift),
            tint=colour,
            tinted=framed(tinted),
            grit=framed(grit),
            seed=int(rng.integers(2**31)),
        )

    @classmethod
    def of_real(
        cls,
        mask: NDArray[np.bool_],
        change: NDArray[np.float32],
        veil: Map | None = None,
        *,
        cut_at: Mapping[Side, float] | None = None,
        parts: NDArray[np.uint8] | None = None,
        classes: tuple[str, ...] = (),
    ) -> Drawing:
        """Return the Drawing of a real defect: a mask, and what it changes.

        All of it is of the photo's pixels, one point each.
        """
        nothing, white = np.zeros(mask.shape, np.float32), np.ones(3, np.float32)
        return cls(
            mask=mask,
            contrast=0.0,
            tone=nothing,
            height=nothing,
            gone=nothing,
            lift=nothing,
            tint=white,
            tinted=nothing,
            grit=nothing,
            scale=1,
            floor=0.0,
            seed=0,
            change=change,
            veil=veil,
            cut_at=cut_at or {},
            parts=parts,
            classes=classes,
        )


def soften(layer: Map, kernel_px: float) -> Map:
    """Return a map of ``SCALE`` points per pixel as the photo's camera sees it, in pixels.

    It is blurred by the photo's kernel; the mean over a pixel's area is a part of that blur.
    """
    size = (layer.shape[1] // SCALE, layer.shape[0] // SCALE)
    if not layer.any():
        return np.zeros(size[::-1], np.float32)
    # A pixel's own area has a variance of 1 / 12. Means and Gaussians may change places, and the
    # Gaussian is nine times cheaper on pixels; a narrow one is only sampled well on the points.
    rest = max(kernel_px**2 - 1 / 12, 0.0) ** 0.5
    if rest >= 0.6:
        pixels = cv2.resize(layer, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), rest), np.float32)
    blurred = cv2.GaussianBlur(layer, (0, 0), max(rest * SCALE, 0.2))
    return np.asarray(cv2.resize(blurred, size, interpolation=cv2.INTER_AREA), np.float32)


def visible_extent(cover: Map) -> NDArray[np.bool_]:
    """Return where a softened cover 0..1 counts as the defect: as its label will be cut.

    A line thinner than the blur is fainter all along; what counts is its own strength near by.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE_PX + 1,) * 2)
    least = np.maximum(EDGE_FRACTION * cv2.dilate(cover, disc), FAINTEST * float(cover.max()))
    return np.asarray((cover >= least) & (cover > 0), bool)


def zoom(drawing: Drawing, factor: float) -> Drawing:
    """Return the drawing as a camera ``factor`` times nearer sees it, slopes kept.

    Heights grow as sides do. Its mask may come out empty.
    """
    height, width = (max(1, round(side * factor)) for side in drawing.mask.shape)
    fine = (width * drawing.scale, height * drawing.scale)

    def scaled(layer: NDArray[np.float32], size: tuple[int, int] = fine) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(layer, size), np.float32)

    def own(layer: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        return None if layer is None else scaled(layer, (width, height))

    return replace(
        drawing,
        mask=scaled(drawing.mask.astype(np.float32), (width, height)) > 0.5,
        tone=scaled(drawing.tone),
        height=scaled(drawing.height) * np.float32(factor),
        gone=scaled(drawing.gone),
        lift=scaled(drawing.lift) * np.float32(factor),
        tint=drawing.tint if drawing.tint.ndim == 1 else scaled(drawing.tint),
        tinted=scaled(drawing.tinted),
        grit=scaled(drawing.grit),
        change=own(drawing.change),
        veil=own(drawing.veil),
        parts=drawing.parts
        if drawing.parts is None
        else np.asarray(  # the mask's own edge may come to lie a pixel further out
            cv2.resize(
                nearest_instance(drawing.parts), (width, height), interpolation=cv2.INTER_NEAREST
            )
        ),
    )


def fade(drawing: Drawing, factor: float) -> Drawing:
    """Return the drawing with ``factor`` times its contrast; its colour never grows stronger."""
    return replace(
        drawing,
        contrast=drawing.contrast * factor,
        floor=drawing.floor * factor,
        tinted=drawing.tinted * np.float32(min(factor, 1.0)),
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

    def draw(self, rng: Rng, severity: float, scene: Scene) -> Drawing:
        """Draw one; ``severity`` 0..1 goes from the low to the high end of the contrast range.

        Equal states of ``rng`` and equal scenes give equal drawings.
        """
        ...


def draw_range(rng: Rng, bounds: Range) -> float:
    """Return a number drawn evenly from a range."""
    return float(rng.uniform(*bounds))


def draw_size(
    rng: Rng,
    px: Range | None,
    fraction: Range,
    scene: Scene,
    min_kernels: float = MIN_KERNELS,
) -> float:
    """Return a size in points of a map, drawn log-uniformly from the range of ``px``, or of
    fractions of the part's short side where ``px`` is None.

    It is at least ``min_kernels`` times the photo's kernel: less cannot be seen for what it is.
    """
    low, high = px if px is not None else [one * scene.short_side_px for one in fraction]
    drawn = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return max(drawn, min_kernels * scene.kernel_px) * SCALE


def draw_strength(contrast: Range, severity: float) -> float:
    """Return the contrast, a share 0..1 of the photo's range, that a severity of 0..1 stands for.

    It grows by equal factors: what doubles a weak contrast is seen as much as what doubles a
    strong one (Weber's law).
    """
    return float(contrast[0] * (contrast[1] / contrast[0]) ** severity)


def mix_hues(
    values: NDArray[np.floating], places: Sequence[float], colours: Sequence[tuple[int, int, int]]
) -> NDArray[np.float32]:
    """Return the hue at each value of a map (h, w): (h, w, 3) RGB of luma 1.

    ``places`` are the rising values at which the hue is that of each of the ``colours`` (RGB,
    0..255); between two of them it is mixed.
    """
    stops = np.array(colours, np.float32)
    stops = stops / (stops @ LUMA)[:, None]
    mixed = [np.interp(values, places, stops[:, channel]) for channel in range(3)]
    return np.stack(mixed, -1).astype(np.float32)
