"""Types that check a defect's ranges when its configuration is read."""

from __future__ import annotations

from collections.abc import Callable
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


def _require(fits: Callable[[Range], bool], sentence: str) -> AfterValidator:
    """Return a validator that raises the sentence for a range that does not fit.

    The two {} of the sentence stand for the bounds.
    """

    def check(bounds: Range) -> Range:
        if not fits(bounds):
            raise ValueError(sentence.format(*(f"{bound:g}" for bound in bounds)))
        return bounds

    return AfterValidator(check)


Span = Annotated[tuple[float, float], AfterValidator(_ordered)]  # any low .. high
Positive = Annotated[  # pixels
    Span, _require(lambda bounds: bounds[0] > 0, "the range [{}, {}] must lie above 0")
]
Fraction = Annotated[  # of the part's short side
    Positive, _require(lambda bounds: bounds[1] <= 1, "the range [{}, {}] must not exceed 1")
]
Contrast = Annotated[  # of the photo's range
    Positive,
    _require(
        lambda bounds: bounds[1] <= 1,
        "the contrast [{}, {}] is a share of the photo's own range, 0..1, and no longer grey "
        "levels: give e.g. [0.15, 0.7]",
    ),
]
Count = Annotated[tuple[Annotated[int, Field(ge=1, le=200)], int], AfterValidator(_ordered)]
Ratio = Annotated[float, Field(ge=0, le=1)]  # a probability or a share
