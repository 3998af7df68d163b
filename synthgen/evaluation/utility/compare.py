"""Seeds to numbers: mean and spread of each arm, and paired differences with their interval."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

__all__ = ["Difference", "average_models", "compare_arms", "pair_scores", "summarise_arms"]

CONFIDENCE = 0.9


@dataclass(frozen=True)
class Difference:
    """By how much one arm scores more than another, over the seeds that both have.

    ``low``, ``high``: the 90 % interval of the mean, Student's t over seeds; NaN for one seed.
    ``inspector`` and ``against_inspector``: the inspection models that learned from them, "" in
    scores of before there were several.
    """

    arm: str
    against: str
    budget: str
    score: str
    seeds: int
    mean: float
    low: float
    high: float
    inspector: str = ""
    against_inspector: str = ""

    @property
    def is_clear(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return bool(self.low > 0 or self.high < 0)

    @property
    def turned(self) -> Difference:
        """The same pair, seen from the other arm."""
        return replace(
            self,
            arm=self.against,
            against=self.arm,
            mean=-self.mean,
            low=-self.high,
            high=-self.low,
            inspector=self.against_inspector,
            against_inspector=self.inspector,
        )


def pair_scores(
    one: Sequence[float], other: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Return the mean difference and its interval; the i-th values are of one seed.

    >>> [round(value, 3) for value in pair_scores([3, 4, 8], [1, 3, 5])]
    [2.0, 0.314, 3.686]
    """
    from scipy.stats import t as student  # half a second: loaded where it is used

    gaps = np.asarray(one, float) - np.asarray(other, float)
    mean = float(gaps.mean())
    if len(gaps) < 2:
        return mean, math.nan, math.nan
    reach = student.ppf((1 + confidence) / 2, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
    return mean, float(mean - reach), float(mean + reach)


def average_models(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per inspection model, arm, budget and seed: each score the mean of its models'.

    The score that one model can be expected to reach, not that of all together.
    """
    own = rows.drop(columns="model", errors="ignore")
    keys = [key for key in ("inspector", "arm", "budget", "seed") if key in own]
    return own.groupby(keys, sort=False, as_index=False).mean()


def compare_arms(
    rows: pd.DataFrame, score: str = "pixel_ap", good_only: Collection[str] = ()
) -> list[Difference]:
    """Return every pair of arms of an inspection model at every budget, in the order of the rows.

    ``rows`` have one line per inspection model, arm, budget and seed; a pair without a common seed
    is left out. ``good_only``: inspection models that learn from good photos alone; at budget 0
    every arm is compared with each of them, too.
    """
    if "inspector" not in rows:
        rows = rows.assign(inspector="")
    found: list[Difference] = []
    for budget, own in rows.groupby("budget", sort=False):
        table = own.pivot(index="seed", columns=["inspector", "arm"], values=score)
        arms = list(dict.fromkeys(zip(own["inspector"], own["arm"], strict=True)))
        arms.sort(key=lambda one: one[0] not in good_only)  # what is compared with comes first
        for number, against in enumerate(arms):
            for arm in arms[number + 1 :]:
                both = table[[arm, against]].dropna()
                if len(both) and (arm[0] == against[0] or against[0] in good_only):
                    numbers = pair_scores(list(both[arm]), list(both[against]))
                    pair = (arm[1], against[1], str(budget), score, len(both), *numbers)
                    found.append(Difference(*pair, arm[0], against[0]))
    return found


def summarise_arms(rows: pd.DataFrame, scores: Sequence[str]) -> pd.DataFrame:
    """Return mean, deviation (over seeds, n - 1) and number of seeds of each arm and budget.

    Columns: ``inspector`` where the rows have it, ``budget``, ``arm``, ``seeds``, and ``<score>``
    and ``<score>_sd`` for each score.
    """
    table: list[dict[str, object]] = []
    keys = [key for key in ("inspector", "budget", "arm") if key in rows]
    for values, own in rows.groupby(keys, sort=False):
        line: dict[str, object] = dict(zip(keys, values, strict=True)) | {"seeds": len(own)}
        for score in scores:
            line[score] = own[score].mean()
            line[f"{score}_sd"] = own[score].std(ddof=1)
        table.append(line)
    return pd.DataFrame(table)
