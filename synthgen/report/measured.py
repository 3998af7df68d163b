"""What was measured in a run, against its limits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.quality.limits import MEASURED, Bounds, Limits, read_limits
from synthgen.runs.decide import count_reasons
from synthgen.runs.reader import RunTables

__all__ = ["Measure", "measure_quality"]

QUANTILES = (0.05, 0.5, 0.95)
MEASURES = {  # name: words for it, unit, what it is
    "area_px": ("area", "px", "pixels of the label"),
    "fill_fraction": ("fill", "0..1", "share of the asked mask that visibly changed"),
    "leak_fraction": ("leak", "0..1", "share of the change over 2 px outside the asked mask"),
    "mask_iou": ("overlap", "0..1", "label and asked mask, of their union"),
    "size_ratio": ("size ratio", "", "area of the label over the asked one"),
    "off_object_fraction": ("off the part", "0..1", "share of the label where none may lie"),
    "change_delta_e": ("change", "CIELAB", "mean change of the labelled pixels"),
    "contrast_delta_e": ("contrast", "CIELAB", "how far it stands out of the texture around"),
    "clipped_fraction": ("clipped", "0..1", "share that became pure black or white"),
    "black_fraction": ("black", "0..1", "share of the repaint mask that came out black"),
    "seam_delta_e": ("seam", "CIELAB", "step across the repaint border, over the source's"),
    "sharpness_ratio": ("sharpness", "", "beside the label, over the source's there"),
    "off_part_fraction": ("on the background", "0..1", "share of the label, by the photo's look"),
    "edge_width_ratio": ("edge width", "", "of the change, over what the photo's blur gives"),
    "grain_ratio": ("grain", "", "inside the label, over that around it"),
    "range_fraction": ("range", "", "change, over the room to the photo's black or white"),
    "changed_outside_px": ("changed outside", "px", "pixels outside the repaint mask"),
    "twin_bits": ("nearest twin", "bits of 64", "to the most alike earlier image"),
    "real_bits": ("nearest real", "bits of 64", "to the most alike real defect"),
    "donor_delta_e": ("off its donor", "CIELAB", "from the real defect that lent its look"),
    "own_px": ("own class", "px", "of the class asked for, where others came along"),
    "edge_f1": ("edges kept", "0..1", "edges of a varied image against its source's"),
    "varied_delta_e": ("varied", "CIELAB", "mean change of a varied image"),
}


@dataclass(frozen=True, eq=False)
class Measure:
    """One measurement of all images of a run, against its limits."""

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


def measure_quality(run: RunTables) -> list[Measure]:
    """Return what was measured, limited measures first; those without a number are left out."""
    limits = read_limits(run.quality)
    reasons = count_reasons(run.manifest)
    tries = _count_broken(run.tries["reasons"])
    made = run.manifest[run.manifest["image"] != ""]
    found = []
    for name in MEASURED:
        if name not in made:
            continue
        rows = made[made["defect_class"] != ""] if name == "area_px" else made
        values = rows[name].to_numpy(float)
        values = values[np.isfinite(values)]
        if len(values):
            bounds, own = _bounds(limits, name)
            count = (reasons.get(name, 0), tries[name])
            found.append(Measure(name, *MEASURES[name], bounds, own, values, *count))
    return sorted(found, key=lambda one: one.bounds == (None, None) and not one.per_class)


def _bounds(limits: Limits, name: str) -> tuple[Bounds, dict[str, Bounds]]:
    shared = limits.shared.get(name, (None, None))
    own = {kind: part[name] for kind, part in limits.per_class.items() if name in part}
    return shared, own


def _count_broken(reasons: pd.Series) -> Counter[str]:
    texts = reasons[reasons != ""].value_counts()
    counted: Counter[str] = Counter()
    for text, count in texts.items():
        for name in {part.split(" ")[0] for part in str(text).split("; ")}:
            counted[name] += int(count)
    return counted


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
