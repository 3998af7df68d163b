"""What a person must know of a run before its numbers: only what needs attention, in sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from synthgen.report.facts import ACCEPTED, REJECTED, RunFacts
from synthgen.report.svg import format_number
from synthgen.runs.progress import describe_found_parts
from synthgen.runs.reader import RunTables
from synthgen.runs.reviews.decide import count_reasons
from synthgen.sources.findings import list_names

__all__ = ["list_leads"]

FEW = 0.5  # fraction of a class that was accepted, below which it is told
FEWEST_ASKED = 3
ON_BACKGROUND = 0.2  # fraction of a label, as far as the usual limit goes
USUAL_EDGE = (0.85, 1.25)  # of the median width of edges over what the photo's blur gives
USUAL_GRAIN = (0.8, 1.25)  # of the median grain inside over that around
FEWEST_MEASURED = 4
OPTICS = (  # column, what is usual, the words below and above it, and how it is told
    (
        "edge_width_ratio",
        USUAL_EDGE,
        ("sharper", "softer"),
        "The defects are {} than their photos: their edges are {} times as wide as "
        "the photo's own blur would make them (median).",
    ),
    (
        "grain_ratio",
        USUAL_GRAIN,
        ("smoother", "grainier"),
        "The defects are {} than the surface around them: their grain is {} times "
        "that of the photo there (median).",
    ),
)


def list_leads(run: RunTables, facts: RunFacts) -> list[str]:
    """Return what a person must know, the most important first; [] where there is nothing.

    Photos whose part was not found, labels on the background, classes of which few were accepted,
    samples without an image, and defects that do not have the blur or the grain of their photo.
    """
    manifest = run.manifest
    accepted = manifest[manifest["status"] == ACCEPTED]
    leads = list(describe_found_parts(manifest))
    off_part = _numbers(accepted, "off_part_fraction")
    if count := int((off_part > ON_BACKGROUND).sum()):
        leads.append(
            f"{count} of {len(off_part)} accepted labels lie on the background with more than "
            f"{100 * ON_BACKGROUND:.0f} % of their pixels, by the look of the photo."
        )
    few = [one for one in facts.classes if one.asked >= FEWEST_ASKED and one.accept_rate < FEW]
    if few:
        told = list_names([f"{one.name} {one.accepted} of {one.asked}" for one in few])
        rejected = manifest[manifest["defect_class"].isin([one.name for one in few])]
        cause = next(iter(count_reasons(rejected)))
        leads.append(f"Few samples were accepted of {told}; what stopped most of them: {cause}.")
    is_lost = (manifest["status"] == REJECTED) & (manifest["image"] == "")
    if count := int(is_lost.sum()):
        samples, their = ("1 sample", "its reason") if count == 1 else (f"{count} samples", "why")
        leads.append(f"{samples} came to no image; {their} is told under Rejected.")
    for column, (least, most), (below, above), sentence in OPTICS:
        values = _numbers(accepted, column)
        middle = float(np.median(values)) if len(values) >= FEWEST_MEASURED else float("nan")
        if middle < least or middle > most:
            words = below if middle < least else above
            leads.append(sentence.format(words, format_number(middle, 2)))
    return leads


def _numbers(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return what is known of a measurement; older runs do not have each of them."""
    return rows[name].dropna() if name in rows else pd.Series(dtype=float)
