"""SampleSpec -> Condition: the source, the defect drawn on it, the masks, the control images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synthgen.conditioning.augment import Augment
from synthgen.conditioning.control.controls import Control
from synthgen.conditioning.placement import Room, choose_edge, place
from synthgen.conditioning.variation import vary_source
from synthgen.defects import Drawing, Scene, lay_on
from synthgen.defects.drawing.drawing import fit_area
from synthgen.defects.drawing.lines import Line
from synthgen.defects.drawing.render import lay_parts
from synthgen.errors import PlacementError
from synthgen.imaging.geometry import grow_mask, grow_to_cells, mask_window
from synthgen.imaging.images import to_rgb8
from synthgen.imaging.optics import Optics, estimate_near, estimate_optics
from synthgen.planning.missed import near_place
from synthgen.planning.plan import DefectClass
from synthgen.references.lending import References
from synthgen.samples.sample import Attempt, Condition, Part, SampleSpec, SourceImage
from synthgen.samples.seeds import rng_for
from synthgen.sources import Sources
from synthgen.sources.parts import short_side_px

__all__ = ["Conditioner"]

NEAR = 0.1  # of the longer side: as near as a defect lies to a place that was asked for
MIN_INSIDE = 0.5  # of a real defect for which there is no room elsewhere
MIN_CUT = 0.3  # of one that the image's border cuts off, as it did its reference defect
MIN_OF_LINE = 0.6  # of a line, which may run out at the part's edge
MIN_OF_SURFACE = 0.6  # of any defect, where the picture cuts a larger surface off
MIN_OF_LONG = 0.4  # of a line there
MIN_AT_EDGE = 0.35  # of what has broken out of the part's edge
DRAWS = 6  # a defect that finds no room is drawn again ...
SMALLER = 0.75  # ... each time smaller
KERNELS_AROUND = 2.0  # of the photo's blur: how far a softened edge reaches beyond the mask
NEAR_PX = 24  # around a defect: what its own optics are measured on
FIRST = Attempt()
KEPT = 256  # photos whose optics are remembered


class Conditioner:
    """Builds conditions. ``margin_px``: how far the repaint mask reaches beyond the defect mask.

    ``cell_px`` is the backend's mask grid: the repaint mask is grown to whole cells of it.
    ``detail`` gives the sketch its fine structure and the photo's grain. ``augment`` varies the
    source, for each sample again. ``is_varied``: good images are painted again, wholly.
    ``references``: real defects, which draw what a spec names one for.
    """

    def __init__(
        self,
        sources: Sources,
        classes: Mapping[str, DefectClass],
        controls: Mapping[str, Control],
        margin_px: int = 4,
        cell_px: int = 1,
        detail: bool = True,
        augment: Augment | None = None,
        is_varied: bool = False,
        references: References | None = None,
    ) -> None:
        self.sources, self.classes, self.controls = sources, classes, controls
        self.margin_px, self.cell_px, self.detail = margin_px, cell_px, detail
        self.augment, self.is_varied, self.references = augment, is_varied, references
        self._optics: dict[str, Optics] = {}

    def __call__(self, spec: SampleSpec, attempt: Attempt = FIRST) -> Condition:
        """Return the condition of a try; raises SourceError, ShapeError or PlacementError."""
        source, part = self._read(spec)
        image = to_rgb8(source.pixels, source.window)
        instance_map = np.zeros(source.size_hw, np.uint8)
        sketch, close_px, optics = image, 0, Optics()
        allowed = None if part is None else part.allowed
        classes: tuple[tuple[str, int], ...] = ()
        if spec.defect_class is not None:
            kind = self.classes[spec.defect_class]
            optics = self._optics_of(source, image, allowed)
            sketch, instance_map, classes = self._draw_defects(
                spec, attempt, kind, allowed, image, optics
            )
            close_px = kind.close_px
        defect_mask = instance_map > 0
        margin_px = self.margin_px + round(max(0.0, KERNELS_AROUND * optics.kernel_px - 1))
        repaint_mask = grow_to_cells(grow_mask(defect_mask, margin_px), self.cell_px)
        if source.opaque is not None:
            repaint_mask &= source.opaque
        controls = {  # of a whole image: the part's own, everywhere
            name: control.draw(image, sketch, defect_mask, repaint_mask)
            for name, control in self.controls.items()
        }
        if self.is_varied and spec.is_defect_free:
            repaint_mask = ~defect_mask
        return Condition(
            spec=spec,
            source=source,
            image=image,
            defect_mask=defect_mask,
            repaint_mask=repaint_mask,
            instance_map=instance_map,
            sketch=sketch,
            controls=controls,
            allowed=allowed,
            label_close_px=close_px,
            classes=classes,
            optics=optics,
            part=part,
            attempt=attempt,
        )

    def _optics_of(
        self, source: SourceImage, image: NDArray[np.uint8], allowed: NDArray[np.bool_] | None
    ) -> Optics:
        """Return the optics of a photo, measured on its part; once for those that do not vary."""
        if source.is_augmented:
            return estimate_optics(image, allowed)
        if source.source_id not in self._optics:
            if len(self._optics) >= KEPT:
                self._optics.pop(next(iter(self._optics)))
            self._optics[source.source_id] = estimate_optics(image, allowed)
        return self._optics[source.source_id]

    def _read(self, spec: SampleSpec) -> tuple[SourceImage, Part | None]:
        """Return the source, and where its part is; None where no defect is wanted."""
        source = self.sources.read(spec.source_id)
        part = None if spec.is_defect_free else self.sources.part(source)
        if self.augment is None:
            return source, part
        allowed = None if part is None else part.allowed
        varied, region = vary_source(self.augment, source, allowed, spec.seed)
        return varied, part and Part(finding=part.finding, mask=region)

    def _draw_defects(
        self,
        spec: SampleSpec,
        attempt: Attempt,
        kind: DefectClass,
        allowed: NDArray[np.bool_] | None,
        image: NDArray[np.uint8],
        optics: Optics,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[tuple[str, int], ...]]:
        """Return the sketch, the defects' numbers on it, 1.., and the classes of those.

        A class is its name and id; there is none where all defects are of the spec's class.
        """
        assert spec.defect_class is not None
        free = np.ones(image.shape[:2], bool) if allowed is None else allowed.copy()
        scene = Scene(short_side_px=short_side_px(allowed, image.shape[:2]), optics=optics)
        sketch, instance_map = image, np.zeros(image.shape[:2], np.uint8)
        names: tuple[str, ...] = ()
        for number in range(1, spec.instances + 1):
            rng = rng_for(spec, attempt, f"defect {number}")
            try:
                drawing, corner = self._draw_and_place(rng, spec, kind, free, scene, number == 1)
            except PlacementError:
                if number == 1:
                    raise
                break  # the image is full; the label counts what is there
            local = estimate_near(optics, image, _around(drawing, corner, free.shape))
            sketch, mask = lay_on(sketch, drawing, corner, local, self.detail, allowed)
            instance_map[mask] = lay_parts(drawing, free.shape, corner)[mask] + len(names)
            names += drawing.classes or (spec.defect_class,)
            free &= ~grow_mask(mask, 2 * self.margin_px + 2)  # apart by both their margins
        if set(names) <= {spec.defect_class}:
            return sketch, instance_map, ()
        return sketch, instance_map, tuple((name, self.classes[name].class_id) for name in names)

    def _draw_and_place(
        self,
        rng: np.random.Generator,
        spec: SampleSpec,
        kind: DefectClass,
        free: NDArray[np.bool_],
        scene: Scene,
        is_first: bool,
    ) -> tuple[Drawing, tuple[int, int]]:
        """Return a drawing and the corner where it lies; raises PlacementError after all draws."""
        asked = free
        if is_first and spec.asked_xy is not None:
            asked = near_place(free, *spec.asked_xy, NEAR)
        for draw in range(DRAWS):
            # the place of a reference defect is not binding
            is_free = bool(spec.reference) and draw >= DRAWS // 2
            smaller = replace(scene, short_side_px=scene.short_side_px * SMALLER**draw)
            near, edge = asked, None
            if kind.place == "edge" and not spec.reference:
                edge = choose_edge(rng, free, asked, is_border=bool(spec.seed % 4))
                if edge is not None:
                    near, smaller = edge.near, replace(smaller, edge_deg=edge.along_deg)
            drawing = self._draw(rng, spec, kind, smaller)
            if is_first and spec.asked_area_px:
                drawing = fit_area(drawing, spec.asked_area_px)
            if edge is not None:
                room = edge.room(free, MIN_AT_EDGE)
            else:
                room = self._room(spec, kind, free, free if is_free else near, drawing, is_free)
            try:
                return drawing, place(rng, drawing.mask, room, spec.sample_id)
            except PlacementError:
                if draw == DRAWS - 1:
                    raise
        raise AssertionError("unreachable")

    def _room(
        self,
        spec: SampleSpec,
        kind: DefectClass,
        free: NDArray[np.bool_],
        near: NDArray[np.bool_],
        drawing: Drawing,
        is_free: bool,
    ) -> Room:
        """Return where a drawing may go.

        A real defect lies as it lay, a line may run out over the part's edge, and all others lie
        wholly on the part. Where no background is seen, the picture's border may cut a defect off.
        """
        if spec.reference:
            cut_at = {} if is_free else drawing.cut_at
            least = MIN_INSIDE if is_free else MIN_CUT if cut_at else 1.0
            return Room(free=free, near=near, on_image_fraction=least, cut_at=cut_at)
        is_line = isinstance(kind.shape, Line)
        on_part = MIN_OF_LINE if is_line else 1.0
        on_image = 1.0
        if free.all():  # no part's edge is seen
            on_image = MIN_OF_LONG if is_line else MIN_OF_SURFACE
        return Room(free=free, near=near, on_image_fraction=on_image, on_part_fraction=on_part)

    def _draw(
        self, rng: np.random.Generator, spec: SampleSpec, kind: DefectClass, scene: Scene
    ) -> Drawing:
        """Draw a defect: as the spec's reference defect, as a line of the bank, or by its class."""
        if self.references is not None and spec.reference:
            is_alone = spec.asked_area_px is not None  # an area is that of one defect
            return self.references.draw(rng, spec.reference, spec.severity, spec.asked_xy, is_alone)
        assert kind.shape is not None  # else the plan names a reference defect
        if self.references is not None and isinstance(kind.shape, Line):
            return self.references.draw_line(
                rng, kind.shape, spec.defect_class or "", spec.severity, scene
            )
        return kind.shape.draw(rng, spec.severity, scene)


def _around(
    drawing: Drawing, corner: tuple[int, int], size_hw: tuple[int, ...]
) -> tuple[slice, slice]:
    """Return the (rows, columns) of an image that a drawing and its surroundings lie in."""
    rows, columns = mask_window(drawing.mask, NEAR_PX)
    spans = []
    for span, first, size in zip((rows, columns), corner, size_hw, strict=True):
        start = int(np.clip(first + span.start - NEAR_PX, 0, size - 1))
        spans.append(slice(start, int(np.clip(first + span.stop + NEAR_PX, start + 1, size))))
    return spans[0], spans[1]
