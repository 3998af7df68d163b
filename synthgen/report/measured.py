"""What was measured in a run, against its limits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthgen.quality.limits import Bounds, read_limits
from synthgen.quality.measures import MEASURES
from synthgen.runs.reader import RunTables
from synthgen.runs.reviews.decide import count_reasons

__all__ = ["MeasuredValues", "measure_quality"]

QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredValues:
    """One measurement of all images of a run, against its limits.

    ``bounds`` are (least, most), None where there is no limit. ``values`` are finite.
    """

    name: str
    title: str
    unit: str
    meaning: str
    bounds: Bounds
    per_class: dict[str, Bounds]  # where they differ
    values: NDArray[np.float64]
    rejected: int  # samples that broke it
    tries: int  # that broke it

    @property
    def quantiles(self) -> tuple[float, float, float]:
        """5 %, median, 95 %."""
        low, middle, high = np.quantile(self.values, QUANTILES)
        return float(low), float(middle), float(high)

    @property
    def limits(self) -> list[str]:
        """The limits in words, the shared one first."""
        own = [f"{name}: {_range(bounds)}" for name, bounds in self.per_class.items()]
        return [_range(self.bounds), *own]


def measure_quality(run: RunTables) -> list[MeasuredValues]:
    """Return what was measured, limited measures first; those without a number are left out.

    Values are those of all images, rejected ones too; the label's area only those with a defect.
    ``rejected`` counts samples and ``tries`` counts tries, also those of samples that a later try
    saved.
    """
    limits = read_limits(run.quality)
    reasons = count_reasons(run.manifest)
    tries: Counter[str] = Counter()
    texts = run.tries["reasons"]
    for text, count in texts[texts != ""].value_counts().items():
        for broken in {reason.split(" ")[0] for reason in str(text).split("; ")}:
            tries[broken] += int(count)  # a limit counts once a try
    made = run.manifest[run.manifest["image"] != ""]
    found = []
    for measure in MEASURES:
        name = measure.name
        if name not in made:
            continue
        rows = made[made["defect_class"] != ""] if name == "area_px" else made
        values = rows[name].to_numpy(float)
        values = values[np.isfinite(values)]
        if len(values):
            per_class = limits.per_class.items()
            found.append(
                MeasuredValues(
                    name=name,
                    title=measure.title,
                    unit=measure.unit,
                    meaning=measure.meaning,
                    bounds=limits.shared.get(name, (None, None)),
                    per_class={kind: own[name] for kind, own in per_class if name in own},
                    values=values,
                    rejected=reasons.get(name, 0),
                    tries=tries[name],
                )
            )
    return sorted(found, key=lambda one: one.bounds == (None, None) and not one.per_class)


def _range(bounds: Bounds) -> str:
    """Return limits in words.

    >>> _range((0.5, None)), _range((None, 0)), _range((None, None))
    ('at least 0.5', 'at most 0', 'none')
    """
    least, most = bounds
    if least is not None and most is not None:
        return f"{least:g} to {most:g}"
    if least is not None:
        return f"at least {least:g}"
    return "none" if most is None else f"at most {most:g}"
