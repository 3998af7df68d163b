"""The nouns: what is planned, what the backend sees, what comes out. All frozen.

SampleSpec --condition--> Condition --paint, composite--> Candidate --inspect, annotate--> Sample
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthgen.errors import ShapeError
from synthgen.samples.arrays import IdMap, Image, Mask
from synthgen.samples.optics import Optics

__all__ = [
    "ACCEPT",
    "CONFLICT",
    "REJECT",
    "Annotation",
    "Attempt",
    "Boost",
    "BoxXYWH",
    "Candidate",
    "Condition",
    "Failure",
    "Measurement",
    "Part",
    "Sample",
    "SampleSpec",
    "SourceImage",
    "Status",
    "Try",
]


ACCEPT, REJECT, CONFLICT = "accept", "reject", "conflict"  # what people say of a sample
BOOST_GUIDANCE, BOOST_STRENGTH = 1.5, 0.1  # a factor, and what is added, each time


class BoxXYWH(NamedTuple):
    """A box in pixels: left, top, width, height; right and bottom edges are exclusive."""

    x: int
    y: int
    width: int
    height: int


class Status(StrEnum):
    """What became of a planned sample."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    GOOD = "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSpec:
    """One planned sample, every choice drawn. ``defect_class`` is None for a good image."""

    sample_id: str
    index: int
    seed: int  # this sample's own seed; with an Attempt it fixes every later draw
    defect_class: str | None
    class_id: int  # 1.., stable across runs of one configuration; 0 = good
    source_id: str
    group: str  # the physical part behind the source
    split: str
    prompt: str
    negative_prompt: str
    instances: int  # defects to place, 0 for a good image
    severity: float  # 0 = barely visible .. 1 = strong; scales the sketch's contrast
    asked_area_px: float | None = None  # what a detector missed; None = any size
    asked_x: float | None = None  # where, as fractions of width and height; None = anywhere
    asked_y: float | None = None
    reference: str | None = None  # the real defect of the bank that lends its shape and look
    reference_group: str | None = None  # the physical part that it was on
    revision: int = 0  # how often people had it made again; each has a seed of its own

    @property
    def is_defect_free(self) -> bool:
        """Whether a good image is planned: no defect is painted."""
        return self.defect_class is None

    @property
    def asked_xy(self) -> tuple[float, float] | None:
        """Where the first defect is asked for, as fractions of width and height."""
        if self.asked_x is None or self.asked_y is None:
            return None
        return self.asked_x, self.asked_y


class Boost(NamedTuple):
    """By how much a try paints stronger than the first one."""

    guidance_factor: float
    strength_added: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a spec: all that a retry changes. The first one is ``Attempt()``."""

    number: int = 0  # every try has its own noise
    placement: int = 0  # how often shape and place were drawn again
    boost: int = 0  # how often it was boosted since then
    variant: int = 0  # which of several paintings of this try

    def boost_of(self, is_whole: bool) -> Boost:
        """Return what is boosted; a whole image (``is_whole``) stays closer to its source."""
        if is_whole:
            return Boost(1.0, -BOOST_STRENGTH * self.boost)
        return Boost(BOOST_GUIDANCE**self.boost, BOOST_STRENGTH * self.boost)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SourceImage:
    """A good image as read. ``pixels`` (H, W) or (H, W, 3) RGB, uint8 or uint16.

    ``window`` is the (low, high) grey level that 8-bit 0 and 255 stand for: (0, 255) for 8-bit
    images, the image's own range for 16-bit ones. ``path`` is that of the photo, None where it was
    generated. ``opaque`` (H, W): the pixels that it shows, None = all; no other is ever painted.
    """

    source_id: str
    group: str
    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    window: tuple[float, float]
    path: str | None
    surface: str  # what the prompt calls the material, e.g. "brushed metal"
    is_augmented: bool = False  # varied for one sample: no longer what lies at ``path``
    opaque: Mask | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.pixels.shape[:2]
        return height, width


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Part:
    """Where the part is on a photo, and how sure that is.

    ``mask`` (H, W) is None where all of the picture counts as part. ``finding``: as its user says;
    the part was found; the picture shows surface only; there is background, but the part was not
    found, or is a guess. ``illegal`` (H, W): where its user wants no defects. ``background``
    (H, W): what looks like background on the photo by itself, a second opinion; None = it does not
    tell.
    """

    finding: Literal["given", "part", "surface", "unsure"]
    mask: Mask | None = None
    illegal: Mask | None = None
    background: Mask | None = None

    @property
    def allowed(self) -> Mask | None:
        """Where defects may go, (H, W); None = everywhere."""
        if self.illegal is None:
            return self.mask
        return ~self.illegal if self.mask is None else self.mask & ~self.illegal


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Condition:
    """What the backend sees. Images (H, W, 3) uint8 RGB; masks (H, W) bool, True = affected."""

    spec: SampleSpec
    source: SourceImage
    image: Image  # the source as 8-bit RGB
    defect_mask: Mask  # the label we ask for
    repaint_mask: Mask  # what the model may change
    instance_map: IdMap  # 0 = good, 1.. = the defect this pixel belongs to
    sketch: Image  # a coarse painting of the defect on the source
    controls: Mapping[str, Image]  # by name, in order; what ControlNets read
    allowed: Mask | None = None  # where a defect may lie; None = everywhere
    label_close_px: int = 0  # gap in the changed pixels that still counts as one defect
    spread_px: int = 0  # how far beyond the repaint mask a finish may have carried the change
    classes: tuple[tuple[str, int], ...] = ()  # (name, id) of each defect; () = all as the spec's
    optics: Optics = field(default_factory=Optics)  # of the photo, on its part
    part: Part | None = None  # None = not asked for
    attempt: Attempt = Attempt()

    def __post_init__(self) -> None:
        height_width = self.image.shape[:2]
        for name in ("defect_mask", "repaint_mask", "instance_map", "sketch"):
            shape = getattr(self, name).shape
            if shape[:2] != height_width:
                raise ShapeError(
                    f"{name} of sample {self.spec.sample_id!r} is {shape} but its image is "
                    f"{height_width} (height, width); resize masks with nearest-neighbour only"
                )
        for name, control in self.controls.items():
            if control.shape != (*height_width, 3) or control.dtype != np.uint8:
                raise ShapeError(
                    f"control image {name!r} of sample {self.spec.sample_id!r} is {control.dtype} "
                    f"of {control.shape}; it must be uint8 of {(*height_width, 3)}"
                )

    def class_of(self, instance_id: int) -> tuple[str, int]:
        """Return the name and the id of the class of a defect, counted from 1."""
        if self.classes:
            return self.classes[instance_id - 1]
        return self.spec.defect_class or "", self.spec.class_id

    @property
    def is_whole(self) -> bool:
        """Whether the whole image is painted again, without a defect."""
        return self.spec.is_defect_free and bool(self.repaint_mask.any())

    @property
    def boost(self) -> Boost:
        """By how much this try paints stronger than the first."""
        return self.attempt.boost_of(self.is_whole)

    @property
    def control_image(self) -> Image:
        """The first control image, (H, W, 3) uint8."""
        return next(iter(self.controls.values()))


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A finished image before inspection.

    ``pixels`` has the source's shape and bit depth; ``image`` is its 8-bit RGB view.
    """

    condition: Condition
    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    image: Image
    realised_mask: Mask  # where it differs visibly from the source
    owners: IdMap | None = None  # the defect of each pixel; None = the nearest asked one


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number about a Candidate; NaN where it does not apply."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """One defect, from the pixels that really changed. ``mask`` is (H, W) bool."""

    instance_id: int
    defect_class: str
    class_id: int
    mask: Mask
    area_px: int
    box: BoxXYWH
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class Try:
    """One try at a sample: what was changed for it, what was measured, why it was rejected.

    ``boost`` None: nothing was painted.
    """

    attempt: Attempt
    step: str  # first | noise | stronger | place
    reasons: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    boost: Boost | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The end of the flow: an image, its labels, its numbers, and what was decided."""

    candidate: Candidate
    measurements: tuple[Measurement, ...]
    reasons: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    durations_s: dict[str, float] = field(default_factory=dict)  # by stage; no part of the data
    tries: tuple[Try, ...] = ()  # all of them, in order; the last is this one

    @property
    def spec(self) -> SampleSpec:
        """What the plan asked for."""
        return self.candidate.condition.spec

    @property
    def attempt(self) -> Attempt:
        """The try that this image is from, which need not be the first."""
        return self.candidate.condition.attempt

    @property
    def boost(self) -> Boost | None:
        """By how much its painting was boosted; None where nothing was painted."""
        condition = self.candidate.condition
        is_painted = condition.is_whole or not condition.spec.is_defect_free
        return condition.boost if is_painted else None

    def class_map(self) -> IdMap:
        """Return the class id of each pixel, (H, W) uint8; 0 = good, later defects on top."""
        classes = np.zeros(self.candidate.condition.defect_mask.shape, np.uint8)
        for annotation in self.annotations:
            classes[annotation.mask] = annotation.class_id
        return classes

    @property
    def status(self) -> Status:
        """Rejected where there is a reason; a good image is good, any other one accepted."""
        if self.reasons:
            return Status.REJECTED
        return Status.GOOD if self.spec.is_defect_free else Status.ACCEPTED


@dataclass(frozen=True, slots=True)
class Failure:
    """A spec that came to no image; ``reason`` is one sentence."""

    spec: SampleSpec
    reason: str
    tries: tuple[Try, ...] = ()
    attempt: Attempt = Attempt()

    @property
    def status(self) -> Status:
        """Always rejected."""
        return Status.REJECTED
