"""The one table of measures: a row for each number that is told of a finished image.

Limits, columns of a run's tables, report, datasheet and docs/reference/quality.md derive from
``MEASURES``. A further measure is one row here, and a function beside those of ``changes`` and
``belonging`` where it needs one. Measures do not decide: limits do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from synthgen.conditioning.control.edges import canny_edges
from synthgen.imaging.colour import ring_contrast, to_lab
from synthgen.imaging.geometry import mask_window
from synthgen.imaging.optics import Optics
from synthgen.quality.belonging import edge_width_ratio, grain_ratio, range_fraction
from synthgen.quality.changes import (
    black_fraction,
    change_strength,
    changed_outside,
    clipped_fraction,
    edge_agreement,
    fill_fraction,
    leak_fraction,
    mask_iou,
    off_object_fraction,
    seam_step,
    sharpness_ratio,
    size_ratio,
)
from synthgen.samples.arrays import Image, Lab, Mask
from synthgen.samples.sample import Candidate, Measurement, Part
from synthgen.sources.parts import off_part_fraction

__all__ = ["MEASURES", "ChangeView", "Measure", "Scope", "measure", "measure_label", "view_change"]

Scope = Literal["label", "defect", "painted", "varied", "bank", "classes", "run"]
WINDOW_PX = 16
STRONGER = (
    "raise the contrast of the class (defect.<class>.shape.contrast) or backend.painting.strength"
)
GIVE_PARTS = "look at the parts with synthgen preview; give masks with source.legal"
KEEP_OPTICS = (
    "look at some; backend.painting.match_optics must be true, as it is by default; a class may "
    "have a limit of its own (quality.classes)"
)
PAINT_AGAIN = "let a model paint them: backend=embedded, or a higher backend.painting.strength"
WEAKER = "lower the contrast of the class (defect.<class>.shape.contrast)"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ChangeView:
    """The part of a Candidate that its measures look at: the repaint mask and 16 px around.

    Images (h, w, 3) uint8 RGB and their CIELAB, masks (h, w) bool. ``allowed``: where a defect may
    lie, None = everywhere. ``others``: further defects of the image, None = none.
    """

    source: Image
    finished: Image
    source_lab: Lab
    finished_lab: Lab
    asked: Mask
    repaint: Mask
    realised: Mask
    allowed: Mask | None
    window: tuple[slice, slice]  # rows and columns of the image
    optics: Optics = field(default_factory=lambda: Optics(kernel_px=0.0))
    others: Mask | None = None
    candidate: Candidate | None = None  # the whole image; None = only a label is looked at

    def of(self, realised: Mask, asked: Mask) -> ChangeView:
        """Return the same view of one defect among several, its masks given (H, W)."""
        own = realised[self.window]
        others = self.realised & ~own
        return replace(self, realised=own, asked=asked[self.window], others=others)

    @property
    def beside(self) -> Mask | None:
        """Pixels that are not bare surface of the part, so that no defect stands out of them."""
        if self.allowed is None:
            return self.others
        return ~self.allowed if self.others is None else ~self.allowed | self.others


def view_change(candidate: Candidate) -> ChangeView:
    """Return what the measures of a candidate look at."""
    condition = candidate.condition
    window = mask_window(condition.repaint_mask, WINDOW_PX)
    source, finished = condition.image[window], candidate.image[window]
    return ChangeView(
        source=source,
        finished=finished,
        source_lab=to_lab(source),
        finished_lab=to_lab(finished),
        asked=condition.defect_mask[window],
        repaint=condition.repaint_mask[window],
        realised=candidate.realised_mask[window],
        allowed=None if condition.allowed is None else condition.allowed[window],
        window=window,
        optics=condition.optics,
        candidate=candidate,
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Measure:
    """One number about a finished image. A limit is set by its name.

    ``title``: a word or two for a chart. ``meaning``: what it is, on one line. ``scope``: of each
    *label*, so of an image and of each of its defects; of an image with a *defect*; of any
    *painted* image; of one *varied* as a whole; or measured where the *bank*, the *classes* of
    further defects or the other samples of the *run* are known. ``function`` returns it for the
    first four, NaN where it does not apply. ``needs_source``: without the clean image it cannot be
    told. ``since``: the version that first measured it. ``remedy``: what a person can do where many
    images break its limit; '' where there is nothing to say.
    """

    name: str
    title: str
    unit: str
    scope: Scope
    meaning: str
    function: Callable[[ChangeView], float] | None = None
    needs_source: bool = False
    since: str = "0.1.0"
    remedy: str = ""

    @property
    def in_words(self) -> str:
        """The meaning, with the unit where it says more than how large a share or a count is."""
        has_unit = self.unit in ("CIELAB", "bits of 64")
        return f"{self.meaning} ({self.unit})" if has_unit else self.meaning


def _changed_outside(view: ChangeView) -> float:
    assert view.candidate is not None
    return float(changed_outside(view.candidate).sum())


def _off_part(view: ChangeView) -> float:
    assert view.candidate is not None
    part = view.candidate.condition.part
    return off_part_fraction(view.candidate.realised_mask, part or Part(finding="surface"))


def _edges_kept(view: ChangeView) -> float:
    """Return the F1 of Canny's edges, whatever control image guided the painting."""
    edges = np.repeat(canny_edges(view.source)[..., None], 3, axis=2)
    return edge_agreement(edges, view.source, view.finished, view.repaint)


MEASURES: tuple[Measure, ...] = (
    Measure(
        name="area_px",
        title="area",
        unit="px",
        scope="label",
        meaning="pixels of the label",
        function=lambda v: float(v.realised.sum()),
        remedy="make its defects larger (defect.<class>.shape)",
    ),
    Measure(
        name="fill_fraction",
        title="fill",
        unit="0..1",
        scope="label",
        meaning="share of the asked mask that visibly changed",
        function=lambda v: fill_fraction(v.realised, v.asked),
        remedy=STRONGER,
    ),
    Measure(
        name="leak_fraction",
        title="leak",
        unit="0..1",
        scope="label",
        meaning="share of the change over 2 px, or twice the blur, outside the asked mask",
        function=lambda v: leak_fraction(v.realised, v.asked, v.optics.kernel_px),
        remedy="lower backend.painting.strength, or let the class have more leak (quality.classes)",
    ),
    Measure(
        name="mask_iou",
        title="overlap",
        unit="0..1",
        scope="label",
        meaning="overlap of label and asked mask, of their union",
        function=lambda v: mask_iou(v.realised, v.asked),
    ),
    Measure(
        name="size_ratio",
        title="size ratio",
        unit="ratio",
        scope="label",
        meaning="area of the label over the asked one",
        function=lambda v: size_ratio(v.realised, v.asked),
        remedy="as a rule nothing: a label is where the photo visibly changed, its blur included",
    ),
    Measure(
        name="off_object_fraction",
        title="off the part",
        unit="0..1",
        scope="label",
        meaning="share of the label over 2 px off where a defect may lie",
        function=lambda v: off_object_fraction(v.realised, v.allowed),
        remedy=GIVE_PARTS,
    ),
    Measure(
        name="change_delta_e",
        title="change",
        unit="CIELAB",
        scope="label",
        meaning="mean change of the labelled pixels against the source",
        function=lambda v: change_strength(v.source_lab, v.finished_lab, v.realised),
        needs_source=True,
        remedy=STRONGER,
    ),
    Measure(
        name="contrast_delta_e",
        title="contrast",
        unit="CIELAB",
        scope="label",
        meaning="how far the label stands out of its ring's texture: 0 = lost in it",
        function=lambda v: ring_contrast(v.finished_lab, v.realised, v.beside),
        remedy=STRONGER,
    ),
    Measure(
        name="clipped_fraction",
        title="clipped",
        unit="0..1",
        scope="label",
        meaning="share of the label that became pure black or white and was not",
        function=lambda v: clipped_fraction(v.source, v.finished, v.realised),
        needs_source=True,
        remedy=WEAKER,
    ),
    Measure(
        name="black_fraction",
        title="black",
        unit="0..1",
        scope="painted",
        meaning="share of the repaint mask, of its worst part, that came out black and was not",
        function=lambda v: black_fraction(v.source, v.finished, v.repaint),
        remedy="the checkpoint paints black: load it in another precision (backend.hardware.dtype)",
    ),
    Measure(
        name="seam_delta_e",
        title="seam",
        unit="CIELAB",
        scope="defect",
        meaning="mean step across the repaint border, less the source's step there",
        function=lambda v: seam_step(v.source_lab, v.finished_lab, v.repaint),
    ),
    Measure(
        name="changed_outside_px",
        title="changed outside",
        unit="px",
        scope="defect",
        meaning="changed pixels outside the repaint mask, beyond any later blur's reach",
        function=_changed_outside,
    ),
    Measure(
        name="sharpness_ratio",
        title="sharpness",
        unit="ratio",
        scope="defect",
        meaning="fine detail beside the label over the source's: below 1 = smoothed",
        function=lambda v: sharpness_ratio(v.source, v.finished, v.repaint, v.realised),
    ),
    Measure(
        name="off_part_fraction",
        title="on the background",
        unit="0..1",
        scope="defect",
        meaning="share of the label that looks like background, whatever the part's mask says",
        function=_off_part,
        since="0.2.0",
        remedy=GIVE_PARTS,
    ),
    Measure(
        name="edge_width_ratio",
        title="edge width",
        unit="ratio",
        scope="defect",
        meaning="width of its edges over what the photo's blur gives: below 1 = sharper",
        function=lambda v: edge_width_ratio(v.source, v.finished, v.realised, v.optics.kernel_px),
        since="0.2.0",
        remedy=KEEP_OPTICS,
    ),
    Measure(
        name="grain_ratio",
        title="grain",
        unit="ratio",
        scope="defect",
        meaning="grain inside the label over that of the surface around it",
        function=lambda v: grain_ratio(v.source, v.finished, v.realised, v.allowed),
        since="0.2.0",
        remedy=KEEP_OPTICS,
    ),
    Measure(
        name="range_fraction",
        title="range",
        unit="ratio",
        scope="defect",
        meaning="mean change over the room to the photo's black or white: above 1 = beyond it",
        function=lambda v: range_fraction(v.source, v.finished, v.realised, v.optics),
        since="0.2.0",
        remedy=WEAKER,
    ),
    Measure(
        name="real_bits",
        title="nearest real",
        unit="bits of 64",
        scope="bank",
        meaning="from its look to the nearest real defect of the bank: a copy has few",
        remedy=PAINT_AGAIN,
    ),
    Measure(
        name="reference_delta_e",
        title="off its reference",
        unit="CIELAB",
        scope="bank",
        meaning="mean difference from the real defect it follows, in the same place: 0 = pasted",
        remedy=PAINT_AGAIN,
    ),
    Measure(
        name="own_px",
        title="own class",
        unit="px",
        scope="classes",
        meaning="pixels of the class asked for, where others came along with it",
    ),
    Measure(
        name="edge_f1",
        title="edges kept",
        unit="0..1",
        scope="varied",
        meaning="of a varied image: edges that agree with its source's, F1 within 2 px",
        function=_edges_kept,
        remedy="lower backend.painting.vary_strength",
    ),
    Measure(
        name="varied_delta_e",
        title="varied",
        unit="CIELAB",
        scope="varied",
        meaning="of a varied image: mean change against its source",
        function=lambda v: float(np.linalg.norm(v.finished_lab - v.source_lab, axis=2).mean()),
    ),
    Measure(
        name="near_duplicate_bits",
        title="near duplicate",
        unit="bits of 64",
        scope="run",
        meaning="from its look to the most alike earlier sample of its source and class",
        remedy="add photos of other good parts, or ask for fewer images (run.count)",
    ),
)
OF_SOURCE = frozenset(one.name for one in MEASURES if one.needs_source)


def measure(candidate: Candidate, view: ChangeView) -> tuple[Measurement, ...]:
    """Return every measurement of a finished image that it alone tells; none for a good one."""
    if candidate.condition.is_whole:
        return tuple(_take(view, "painted", "varied"))
    if candidate.condition.spec.is_defect_free:
        return ()
    return tuple(_take(view, "label", "defect", "painted"))


def measure_label(view: ChangeView, has_source: bool = True) -> tuple[Measurement, ...]:
    """Return what says how well one label, of an image or of one defect, agrees with the image.

    ``has_source`` False: what only the clean image tells is NaN.
    """
    return tuple(
        replace(one, value=float("nan")) if not has_source and one.name in OF_SOURCE else one
        for one in _take(view, "label")
    )


def _take(view: ChangeView, *scopes: Scope) -> Iterable[Measurement]:
    for one in MEASURES:
        if one.function is not None and one.scope in scopes:
            yield Measurement(one.name, one.function(view))
