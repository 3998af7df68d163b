"""What a person must know of a run before its numbers: only what needs attention, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from synthgen.report.facts import ACCEPTED, REJECTED, ClassFacts, RunFacts
from synthgen.report.svg import format_number
from synthgen.runs.progress import describe_found_parts
from synthgen.runs.reader import RunTables
from synthgen.runs.reviews.decide import count_reasons
from synthgen.sources.findings import list_names

__all__ = ["list_leads"]

FEW = 0.5  # share of a class that was accepted, below which it is told
FEWEST_ASKED = 3
ON_BACKGROUND = 0.2  # share of a label, as far as the usual limit goes
USUAL_EDGE = (0.85, 1.25)  # of the median width of edges over what the photo's blur gives
USUAL_GRAIN = (0.8, 1.25)  # of the median grain inside over that around
FEWEST_MEASURED = 4


def list_leads(run: RunTables, facts: RunFacts) -> list[str]:
    """Return what a person must know, the most important first; [] where there is nothing."""
    manifest = run.manifest
    accepted = manifest[manifest["status"] == ACCEPTED]
    return [
        *describe_found_parts(manifest),
        *_tell_background(accepted),
        *_tell_few(facts.classes, manifest),
        *_tell_missing(manifest),
        *_tell_edges(accepted),
        *_tell_grain(accepted),
    ]


def _tell_background(accepted: pd.DataFrame) -> Iterator[str]:
    values = _numbers(accepted, "off_part_fraction")
    count = int((values > ON_BACKGROUND).sum())
    if count:
        yield (
            f"{count} of {len(values)} accepted labels lie on the background with more than "
            f"{100 * ON_BACKGROUND:.0f} % of their pixels, by the look of the photo."
        )


def _tell_few(classes: list[ClassFacts], manifest: pd.DataFrame) -> Iterator[str]:
    few = [one for one in classes if one.asked >= FEWEST_ASKED and one.accept_rate < FEW]
    if few:
        told = list_names([f"{one.name} {one.accepted} of {one.asked}" for one in few])
        rejected = manifest[manifest["defect_class"].isin([one.name for one in few])]
        cause = next(iter(count_reasons(rejected)))
        yield f"Few samples were accepted of {told}; what stopped most of them: {cause}."


def _tell_missing(manifest: pd.DataFrame) -> Iterator[str]:
    count = int(((manifest["status"] == REJECTED) & (manifest["image"] == "")).sum())
    if count:
        samples, their = ("1 sample", "its reason") if count == 1 else (f"{count} samples", "why")
        yield f"{samples} came to no image; {their} is told under Rejected."


def _tell_edges(accepted: pd.DataFrame) -> Iterator[str]:
    middle, side = _median_outside(accepted, "edge_width_ratio", USUAL_EDGE)
    if side:
        words = "sharper" if side < 0 else "softer"
        yield (
            f"The defects are {words} than their photos: their edges are {middle} times as wide as "
            "the photo's own blur would make them (median)."
        )


def _tell_grain(accepted: pd.DataFrame) -> Iterator[str]:
    middle, side = _median_outside(accepted, "grain_ratio", USUAL_GRAIN)
    if side:
        words = "smoother" if side < 0 else "grainier"
        yield (
            f"The defects are {words} than the surface around them: their grain is {middle} times "
            "that of the photo there (median)."
        )


def _median_outside(rows: pd.DataFrame, name: str, usual: tuple[float, float]) -> tuple[str, int]:
    """Return a median, and -1 or 1 where it lies below or above what is usual, else 0."""
    values = _numbers(rows, name)
    if len(values) < FEWEST_MEASURED:
        return "", 0
    middle = float(np.median(values))
    return format_number(middle, 2), int(middle > usual[1]) - int(middle < usual[0])


def _numbers(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return what is known of a measurement; older runs do not have each of them."""
    return rows[name].dropna() if name in rows else pd.Series(dtype=float)
