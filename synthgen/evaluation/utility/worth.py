"""Worth: as many real images as synthetic ones stand in for, read off the learning curve.

The curve is the baseline's, from real images alone, by budget. An arm is worth as many real images
as the baseline needs to score the same; the interval holds every number of images at which the
paired difference of arm and baseline is not told from 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.evaluation.utility.compare import pair_scores

__all__ = ["CurvePoint", "Worth", "find_crossing", "measure_worth", "read_curve"]

SCORE = "pixel_ap"


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """What the baseline scores (0..1, mean and deviation over seeds) from ``images`` real ones.

    ``images``: real defect images of all classes together, mean over seeds.
    """

    inspector: str
    budget: str
    images: float
    score: float
    score_sd: float
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Worth:
    """As many real defect images as an arm is worth, all classes together.

    ``worth``, ``low`` and ``high``: -inf = fewer than the curve's ``first``, inf = more than its
    ``last``. The interval is of 90 %, NaN for one seed. ``images``: the real ones that the arm
    itself learned from. ``is_rising``: whether the curve's last point is clearly above its first;
    where it is not, more real images do not help either, and the number says little.
    """

    inspector: str
    arm: str
    budget: str
    images: float
    seeds: int
    worth: float
    low: float
    high: float
    first: float
    last: float
    is_rising: bool

    @property
    def told(self) -> str:
        """In words: the worth with its interval, and what it does not say."""
        if self.worth == math.inf:
            text = f"more than {self.last:.0f} real images, where the curve ends"
        elif self.worth == -math.inf:
            text = f"fewer than {self.first:.0f} real images, where the curve starts"
        else:
            text = f"about {self.worth:.0f} real images"
            if self.images:
                text += f", {self.worth / self.images:.1f} times the {self.images:.0f} that it had"
        if math.isnan(self.low):
            text += "; one draw, so without an interval"
        elif self.low == self.high:  # both beyond one end
            text += "; so is its whole 90 % interval"
        else:
            text += f"; 90 % interval: {self._told_end(self.low)} to {self._told_end(self.high)}"
        if not self.is_rising:
            text += "; the curve itself does not clearly rise, so this says little"
        return text

    def _told_end(self, value: float) -> str:
        if value == math.inf:
            return f"more than {self.last:.0f}"
        return f"fewer than {self.first:.0f}" if value == -math.inf else f"{value:.0f}"

    def to_record(self) -> dict[str, Any]:
        """Return it for JSON: numbers outside of the curve are null, ``told`` says which."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        } | {"told": self.told}


def find_crossing(images: Sequence[float], gaps: Sequence[float]) -> float:
    """Return at how many images a gap is 0, straight over their logarithm between the points.

    ``images`` ascending, ``gaps`` arm less baseline at each; noise is smoothed so that they never
    rise. -inf where the first is below 0, inf where the last is above.

    >>> round(find_crossing([10, 20, 40], [0.1, 0.0, -0.1]), 1)
    20.0
    >>> find_crossing([10, 20], [0.3, 0.1]), find_crossing([10, 20], [-0.1, -0.3])
    (inf, -inf)
    """
    falling = _make_falling(gaps)
    if falling[0] < 0:
        return -math.inf
    if falling[-1] > 0:
        return math.inf
    places = np.log2(np.asarray(images, float))
    return float(2 ** np.interp(0.0, falling[::-1], places[::-1]))


def _make_falling(values: Sequence[float]) -> NDArray[np.float64]:
    """Return the nearest values that never rise (least squares)."""
    from scipy.optimize import isotonic_regression  # loaded where it is used

    return np.asarray(isotonic_regression(np.asarray(values, float), increasing=False).x)


def read_curve(rows: pd.DataFrame, baseline: str) -> list[CurvePoint]:
    """Return the learning curve of each inspection model from real images alone, by images.

    ``rows`` have one line per inspection model, arm, budget and seed, as of ``average_models``.
    """
    own = rows[(rows["arm"] == baseline) & (_images(rows) > 0)]
    points = []
    for (inspector, budget), group in own.groupby(["inspector", "budget"], sort=False):
        points.append(
            CurvePoint(
                inspector=str(inspector),
                budget=str(budget),
                images=float(group["real_defect_images"].mean()),
                score=float(group[SCORE].mean()),
                score_sd=float(group[SCORE].std(ddof=1)),
                seeds=len(group),
            )
        )
    return sorted(points, key=lambda one: (one.inspector, one.images, one.budget == "all"))


def _images(rows: pd.DataFrame) -> pd.Series[float]:
    if "real_defect_images" not in rows:
        return pd.Series(0.0, index=rows.index)
    return rows["real_defect_images"]


def measure_worth(rows: pd.DataFrame, baseline: str) -> list[Worth]:
    """Return what every other arm of each inspection model is worth, in the order of the rows.

    Nothing where the baseline has fewer than two budgets of different size, or where an arm and
    the baseline share no seed at all of its budgets.
    """
    curve, found = read_curve(rows, baseline), []
    for (inspector, budget, arm), own in rows.groupby(["inspector", "budget", "arm"], sort=False):
        points = [one for one in curve if one.inspector == inspector]
        if arm == baseline or len({one.images for one in points}) < 2:
            continue
        base = rows[(rows["inspector"] == inspector) & (rows["arm"] == baseline)]
        by_budget = {
            one.budget: base[base["budget"] == one.budget].set_index("seed")[SCORE]
            for one in points
        }
        scores = own.set_index("seed")[SCORE]
        gaps = [_pair(scores, by_budget[one.budget]) for one in points]
        if any(gap is None for gap in gaps):
            continue
        known = np.array([gap for gap in gaps if gap is not None])
        images = [one.images for one in points]
        rise = _pair(by_budget[points[-1].budget], by_budget[points[0].budget])
        worth, low, high = (
            math.nan if np.isnan(side).any() else find_crossing(images, side) for side in known.T
        )
        found.append(
            Worth(
                inspector=str(inspector),
                arm=str(arm),
                budget=str(budget),
                images=float(_images(own).mean()),
                seeds=len(own),
                worth=worth,
                low=low,
                high=high,
                first=images[0],
                last=images[-1],
                is_rising=_is_rising(rise),
            )
        )
    return found


def _is_rising(rise: tuple[float, float, float] | None) -> bool:
    """Whether the curve's end is clearly above its start; for one seed, above it."""
    if rise is None:
        return False
    mean, low, _ = rise
    return mean > 0 if math.isnan(low) else low > 0


def _pair(one: pd.Series[float], other: pd.Series[float]) -> tuple[float, float, float] | None:
    """Return the mean difference of two arms and its interval over the seeds of both."""
    both = pd.concat([one, other], axis=1, join="inner").dropna()
    if not len(both):
        return None
    return pair_scores(list(both.iloc[:, 0]), list(both.iloc[:, 1]))
