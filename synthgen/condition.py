"""SampleSpec -> Condition: the source, the defect drawn on it, the masks, the control images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from synthgen.augment import Augment
from synthgen.bank.donors import Donors
from synthgen.control.controls import Control
from synthgen.defects import Drawing, lay_on
from synthgen.defects.drawing import fit_area, lay_parts
from synthgen.defects.lines import Line
from synthgen.errors import PlacementError
from synthgen.gaps import near_place
from synthgen.geometry import grow_mask, grow_to_cells
from synthgen.images import to_rgb8
from synthgen.placement import place
from synthgen.plan import DefectClass
from synthgen.sample import Condition, SampleSpec, SourceImage
from synthgen.seeds import rng_for
from synthgen.sources import Sources
from synthgen.variation import vary_source

__all__ = ["Conditioner"]

NEAR = 0.1  # of the longer side: as near as a defect lies to a place that was asked for
LEAST_INSIDE = 0.5  # of a defect for which there is no room elsewhere
LEAST_CUT = 0.3  # of one that the image's border cuts off, as it did its donor
DRAWS = 6  # a defect that finds no room is drawn anew, mostly smaller or turned


class Conditioner:
    """Builds conditions. ``margin_px``: how far the repaint mask reaches beyond the defect mask.

    ``cell_px`` is the backend's mask grid: the repaint mask is grown to whole cells of it.
    ``detail`` gives the sketch the fine grain that a backend would paint. ``augment`` varies the
    source, for each sample anew. ``is_varied``: good images are painted anew, wholly. ``donors``:
    real defects, which draw what a spec names one for.
    """

    def __init__(
        self,
        sources: Sources,
        classes: Mapping[str, DefectClass],
        controls: Mapping[str, Control],
        margin_px: int = 4,
        cell_px: int = 1,
        detail: bool = False,
        augment: Augment | None = None,
        is_varied: bool = False,
        donors: Donors | None = None,
    ) -> None:
        self.sources, self.classes, self.controls = sources, classes, controls
        self.margin_px, self.cell_px, self.detail = margin_px, cell_px, detail
        self.augment, self.is_varied, self.donors = augment, is_varied, donors

    def __call__(self, spec: SampleSpec) -> Condition:
        """Return the condition; raises SourceError, ShapeError or PlacementError."""
        source, region = self._read(spec)
        image = to_rgb8(source.pixels, source.window)
        instance_map = np.zeros(source.size_hw, np.uint8)
        sketch, close_px, allowed = image, 0, None
        names: tuple[str, ...] = ()
        if spec.defect_class is not None:
            kind = self.classes[spec.defect_class]
            allowed = region
            sketch, instance_map, names = self._draw_defects(spec, kind, allowed, image)
            close_px = kind.close_px
        defect_mask = instance_map > 0
        repaint_mask = grow_to_cells(grow_mask(defect_mask, self.margin_px), self.cell_px)
        controls = {  # of a whole image: the part's own, everywhere
            name: control.draw(image, sketch, defect_mask, repaint_mask)
            for name, control in self.controls.items()
        }
        if self.is_varied and spec.is_defect_free:
            repaint_mask = ~defect_mask
        return Condition(
            spec,
            source,
            image,
            defect_mask,
            repaint_mask,
            instance_map,
            sketch,
            controls,
            allowed,
            close_px,
            classes=self._classes_of(spec, names),
        )

    def _classes_of(self, spec: SampleSpec, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
        """Return name and id of the class of each defect; () where all are the spec's."""
        if set(names) <= {spec.defect_class}:
            return ()
        return tuple((name, self.classes[name].class_id) for name in names)

    def _read(self, spec: SampleSpec) -> tuple[SourceImage, NDArray[np.bool_] | None]:
        """Return the source, and where defects may go: None = everywhere, or none is wanted."""
        source = self.sources.read(spec.source_id)
        region = None if spec.is_defect_free else self.sources.region(source)
        if self.augment is None:
            return source, region
        return vary_source(self.augment, source, region, spec.seed)

    def _draw_defects(
        self,
        spec: SampleSpec,
        kind: DefectClass,
        allowed: NDArray[np.bool_] | None,
        image: NDArray[np.uint8],
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[str, ...]]:
        """Return the sketch, the defects' numbers on it, 1.., and their classes."""
        assert spec.defect_class is not None
        free = np.ones(image.shape[:2], bool) if allowed is None else allowed.copy()
        light_deg = float(rng_for(spec, "light").uniform(0, 360))
        sketch, instance_map = image, np.zeros(image.shape[:2], np.uint8)
        names: tuple[str, ...] = ()
        for number in range(1, spec.instances + 1):
            rng = rng_for(spec, f"defect {number}")
            try:
                drawing, corner = self._draw_and_place(rng, spec, kind, free, number == 1)
            except PlacementError:
                if number == 1:
                    raise
                break  # the image is full; the label counts what is there
            sketch, mask = lay_on(sketch, drawing, corner, light_deg, self.detail)
            instance_map[mask] = lay_parts(drawing, free.shape, corner)[mask] + len(names)
            names += drawing.classes or (spec.defect_class,)
            free &= ~grow_mask(mask, 2 * self.margin_px + 2)
        return sketch, instance_map, names

    def _draw_and_place(
        self,
        rng: np.random.Generator,
        spec: SampleSpec,
        kind: DefectClass,
        free: NDArray[np.bool_],
        is_first: bool,
    ) -> tuple[Drawing, tuple[int, int]]:
        near = free
        if is_first and spec.asked_x >= 0 and spec.asked_y >= 0:
            near = near_place(free, spec.asked_x, spec.asked_y, NEAR)
        for draw in range(DRAWS):
            is_free = bool(spec.donor) and draw >= DRAWS // 2  # a donor's place is not binding
            drawing = self._draw(rng, spec, kind, min(free.shape))
            if is_first and spec.asked_area_px:
                drawing = fit_area(drawing, spec.asked_area_px)
            try:
                cut_at = {} if is_free else drawing.cut_at
                least = LEAST_INSIDE if is_free else LEAST_CUT if cut_at else 1.0
                middle = free if is_free else near
                corner = place(rng, drawing.mask, free, middle, spec.sample_id, least, cut_at)
                return drawing, corner
            except PlacementError:
                if draw == DRAWS - 1:
                    raise
        raise AssertionError("unreachable")

    def _draw(
        self, rng: np.random.Generator, spec: SampleSpec, kind: DefectClass, short_side_px: int
    ) -> Drawing:
        if self.donors is not None and spec.donor:
            asked_xy = (spec.asked_x, spec.asked_y)
            place_xy = asked_xy if min(asked_xy) >= 0 else None
            is_alone = spec.asked_area_px > 0  # an area is that of one defect
            return self.donors.draw(rng, spec.donor, spec.severity, place_xy, is_alone)
        assert kind.shape is not None  # the plan names a donor for classes that have no shape
        if self.donors is not None and isinstance(kind.shape, Line):
            return self.donors.draw_line(
                rng, kind.shape, spec.defect_class or "", spec.severity, short_side_px
            )
        return kind.shape.draw(rng, spec.severity, short_side_px)
