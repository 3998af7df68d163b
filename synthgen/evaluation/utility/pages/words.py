"""Scores and differences as text, and sentences on what did not help."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from synthgen.evaluation.inspectors.models import MODELS
from synthgen.evaluation.utility.compare import Difference, compare_arms

__all__ = [
    "GOOD_ONLY_MODELS",
    "Key",
    "compare_classes",
    "key_of",
    "read_gains",
    "tell_failures",
    "write_cell",
    "write_interval",
]

NO_PERCENT = ("nearest_bits",)
GOOD_ONLY_MODELS = frozenset(name for name, row in MODELS.items() if row.is_good_only)
LOST_F1 = 0.05  # from this on a threshold is worth a word
Key = tuple[str, str, str]  # inspection model, budget, arm


def key_of(line: dict[Any, Any]) -> Key:
    """Return what names a line of the table of arms."""
    return str(line["inspector"]), str(line["budget"]), str(line["arm"])


def write_cell(line: dict[Any, Any], name: str) -> str:
    """Return mean ± deviation in per cent; "" where there is no such score."""
    scale, digits = (1, 0) if name in NO_PERCENT else (100, 1)
    mean, spread = float(line[name]) * scale, float(line[f"{name}_sd"]) * scale
    if math.isnan(mean):
        return ""
    return f"{mean:.{digits}f}" + ("" if math.isnan(spread) else f" ± {spread:.{digits}f}")


def write_interval(mean: float, low: float, high: float) -> str:
    """Return a difference and its interval in points.

    >>> write_interval(0.021, -0.01, 0.052)
    '+2.1 (-1.0 to +5.2)'
    """
    if math.isnan(low):
        return f"{mean * 100:+.1f}"
    return f"{mean * 100:+.1f} ({low * 100:+.1f} to {high * 100:+.1f})"


def read_gains(differences: Sequence[Difference], baseline: str) -> dict[Key, Difference]:
    """Return each arm's gain on the baseline of its own inspection model and budget."""
    gains: dict[Key, Difference] = {}
    for one in differences:
        if one.inspector == one.against_inspector and baseline in (one.arm, one.against):
            own = one if one.against == baseline else one.turned
            gains[own.inspector, own.budget, own.arm] = own
    return gains


def compare_classes(rows: pd.DataFrame, baseline: str) -> dict[str, dict[Key, Difference]]:
    """Return the gains on the baseline in the pixel AP of each class, by the score's name."""
    names = [str(name) for name in rows.columns if str(name).startswith("ap_")]
    return {name: read_gains(compare_arms(rows, name), baseline) for name in names}


def tell_failures(
    rows: pd.DataFrame,
    differences: Sequence[Difference],
    baseline: str,
    simple: Collection[str] = (),
) -> list[str]:
    """Return sentences on what did not help: arms, classes and thresholds; [] where all did.

    ``simple``: the arms that need no run (crop-paste, Perlin, ...); another arm should be better.
    """
    told = []
    for one in read_gains(differences, baseline).values():
        if said := _tell_difference(one, "real defects alone" if one.budget != "0" else ""):
            told.append(said)
    for one in differences:
        against_good_only = one.against_inspector in GOOD_ONLY_MODELS
        is_same = one.inspector == one.against_inspector
        pair = one if one.against in simple else one.turned
        if against_good_only and not is_same:
            said = _tell_difference(one, f"{one.against_inspector}, which needs good photos alone")
        elif is_same and pair.against in simple and pair.arm not in (*simple, baseline):
            said = _tell_difference(pair, f"{pair.against}, a simpler way")
        else:
            continue
        if said:
            told.append(said)
    for name, gains in compare_classes(rows, baseline).items():
        for one in gains.values():
            if one.high < 0:
                text = write_interval(one.mean, one.low, one.high)
                told.append(f"{_name(one)} finds {name.removeprefix('ap_')} worse: {text}.")
    return told + _tell_thresholds(rows)


def _name(one: Difference) -> str:
    return f"{one.arm} ({one.inspector}, {one.budget} real a class)"


def _tell_difference(one: Difference, against: str) -> str:
    """Return a sentence where a difference is not clearly above 0, else ""."""
    text, against = write_interval(one.mean, one.low, one.high), against or one.against
    if math.isnan(one.low):
        return f"{_name(one)} against {against}: {text} on one draw, which shows nothing yet."
    if one.high < 0:
        return f"{_name(one)} is worse than {against}: {text}."
    if one.low > 0:
        return ""
    return f"{_name(one)} is not told from {against} by these draws: {text}."


def _tell_thresholds(rows: pd.DataFrame) -> list[str]:
    """Return a sentence for each inspection model whose thresholds cost much F1."""
    told = []
    for inspector, own in rows.groupby("inspector", sort=False):
        best, held = float(own["best_f1"].mean()), float(own["f1"].mean())
        if best - held >= LOST_F1:
            told.append(
                f"The threshold of the validation part costs {inspector} "
                f"{(best - held) * 100:.1f} points of F1 on the held-out images: {held * 100:.1f} "
                f"in place of {best * 100:.1f}, mean of all its models. Set it on more real images."
            )
    return told
