"""Saved views of a run: what deserves a look, one view each."""

from __future__ import annotations

from typing import Any

import pandas as pd

from synthgen.review.fields import REAL
from synthgen.runs.reader import RunTables
from synthgen.runs.reviews.verdicts import ACCEPT, CONFLICT, REJECT

__all__ = ["save_views"]

Views = dict[str, tuple[Any, str, str]]  # by name: the view, what it shows, its colour
WEAKEST_FRACTION = 0.1  # of the accepted samples
WEAK = {  # view: measure, whether high values are weak, what it shows
    "low fill": ("fill_fraction", False, "least of what was asked for is there"),
    "leak": ("leak_fraction", True, "most of the label lies outside what was asked for"),
    "weak contrast": ("contrast_delta_e", False, "least different from the surface around"),
    "near duplicates": ("near_duplicate_bits", False, "most alike to an earlier sample"),
    "close to a real defect": ("real_bits", False, "most alike to a real defect of the bank"),
}
BLUE, GREEN, RED, YELLOW, GREY = "#1f78ff", "#2f9e73", "#d1603d", "#b58900", "#9e9e9e"


def save_views(fiftyone: Any, dataset: Any, run: RunTables) -> None:
    """Save the views of a run's dataset; those of an earlier push are replaced.

    They are, in order: by verdict, the weakest by each measure of ``WEAK``, by broken limit, by
    class, and the real defects. A view that would be empty is left out.
    """
    made = dataset.match_tags(REAL, bool=False)
    verdict, broken = fiftyone.ViewField("verdict"), fiftyone.ViewField("broken")
    found: Views = {
        "unreviewed": (made.match(~verdict.is_in([ACCEPT, REJECT, CONFLICT])), "", BLUE),
        "conflicts": (made.match(verdict == CONFLICT), "reviewers disagree", YELLOW),
        "accepted by people": (made.match(verdict == ACCEPT), "", GREEN),
        "rejected by people": (made.match(verdict == REJECT), "", RED),
        **_weak(fiftyone, made, run.manifest),
    }
    rows = run.manifest[(run.manifest["reasons"] != "") & (run.manifest["image"] != "")]
    measures = {one.split()[0] for reasons in rows["reasons"] for one in reasons.split("; ")}
    for name in sorted(measures):
        found[f"rejected: {name}"] = made.match(broken.contains(name)), "broke this limit", RED
    for name in run.classes:
        of_class = dataset.match(fiftyone.ViewField("defect_class") == name)
        found[f"class: {name}"] = of_class, "", GREY
    found["real defects"] = dataset.match_tags(REAL), "photographed, of the bank", GREY
    for name in dataset.list_saved_views():
        dataset.delete_saved_view(name)
    for name, (view, shows, colour) in found.items():
        if len(view):
            dataset.save_view(name, view, description=shows, color=colour)


def _weak(fiftyone: Any, made: Any, manifest: pd.DataFrame) -> Views:
    """Return views of the weakest tenth of what met the limits, weakest first."""
    accepted = manifest[manifest["status"] == "accepted"]
    found = {}
    for name, (measure, is_high_weak, shows) in WEAK.items():
        values = accepted[measure].dropna()
        if values.empty:
            continue
        fraction = 1 - WEAKEST_FRACTION if is_high_weak else WEAKEST_FRACTION
        bound = float(values.quantile(fraction, interpolation="nearest"))
        value = fiftyone.ViewField(measure)
        is_weak = value >= bound if is_high_weak else value <= bound
        is_accepted = fiftyone.ViewField("status") == "accepted"
        view = made.exists(measure).match(is_accepted & is_weak)
        found[name] = (view.sort_by(measure, reverse=is_high_weak), shows, YELLOW)
    return found
