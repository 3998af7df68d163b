"""Types that check a defect's ranges when its configuration is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from synthgen.defects.drawing.drawing import Range

__all__ = ["STRICT", "Contrast", "Fraction", "Positive", "Ratio", "Span"]

LARGEST = 10_000
STRICT = ConfigDict(extra="forbid")


def _ordered(bounds: Range) -> Range:
    if max(map(abs, bounds)) > LARGEST:
        raise ValueError(f"no bound of a range may exceed {LARGEST}")
    if bounds[0] > bounds[1]:
        raise ValueError(
            f"the range [{bounds[0]:g}, {bounds[1]:g}] runs backwards: low comes first"
        )
    return bounds


def _above_zero(bounds: Range) -> Range:
    if bounds[0] <= 0:
        raise ValueError(f"the range [{bounds[0]:g}, {bounds[1]:g}] must lie above 0")
    return bounds


def _at_most_one(bounds: Range) -> Range:
    if bounds[1] > 1:
        raise ValueError(f"the range [{bounds[0]:g}, {bounds[1]:g}] must not exceed 1")
    return bounds


def _is_fraction(bounds: Range) -> Range:
    if bounds[1] > 1:
        raise ValueError(
            f"the contrast [{bounds[0]:g}, {bounds[1]:g}] is a share of the photo's own range, "
            "0..1, and no longer grey levels: give e.g. [0.15, 0.7]"
        )
    return bounds


Span = Annotated[tuple[float, float], AfterValidator(_ordered)]  # any low .. high
Positive = Annotated[Span, AfterValidator(_above_zero)]  # pixels
Fraction = Annotated[Positive, AfterValidator(_at_most_one)]  # of the part's short side
Contrast = Annotated[Positive, AfterValidator(_is_fraction)]  # of the photo's range
Count = Annotated[tuple[Annotated[int, Field(ge=1, le=200)], int], AfterValidator(_ordered)]
Ratio = Annotated[float, Field(ge=0, le=1)]  # a probability or a share
