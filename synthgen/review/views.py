"""Saved views of a run: what deserves a look, one view each."""

from __future__ import annotations

from typing import Any

import pandas as pd

from synthgen.review.fields import REAL
from synthgen.runs.reader import RunTables
from synthgen.runs.reviews.verdicts import ACCEPT, CONFLICT, REJECT

__all__ = ["save_views"]

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
    """Save the views of a run's dataset; those of an earlier push are replaced."""
    made = dataset.match_tags(REAL, bool=False)
    found = {
        **_by_verdict(fiftyone, made),
        **_weak(fiftyone, made, run.manifest),
        **_by_reason(fiftyone, made, run.manifest),
        **{
            f"class: {name}": (dataset.match(fiftyone.ViewField("defect_class") == name), "", GREY)
            for name in run.classes
        },
        "real defects": (dataset.match_tags(REAL), "photographed, of the bank", GREY),
    }
    for name in dataset.list_saved_views():
        dataset.delete_saved_view(name)
    for name, (view, shows, colour) in found.items():
        if len(view):
            dataset.save_view(name, view, description=shows, color=colour)


Views = dict[str, tuple[Any, str, str]]


def _by_verdict(fiftyone: Any, made: Any) -> Views:
    verdict = fiftyone.ViewField("verdict")
    return {
        "unreviewed": (made.match(~verdict.is_in([ACCEPT, REJECT, CONFLICT])), "", BLUE),
        "conflicts": (made.match(verdict == CONFLICT), "reviewers disagree", YELLOW),
        "accepted by people": (made.match(verdict == ACCEPT), "", GREEN),
        "rejected by people": (made.match(verdict == REJECT), "", RED),
    }


def _weak(fiftyone: Any, made: Any, manifest: pd.DataFrame) -> Views:
    """The weakest tenth of what met the limits, weakest first."""
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


def _by_reason(fiftyone: Any, made: Any, manifest: pd.DataFrame) -> Views:
    """What broke a limit, by its measure."""
    reasons = manifest.loc[(manifest["reasons"] != "") & (manifest["image"] != ""), "reasons"]
    measures = {one.split()[0] for reason in reasons for one in reason.split("; ")}
    broken = fiftyone.ViewField("broken")
    return {
        f"rejected: {name}": (made.match(broken.contains(name)), "broke this limit", RED)
        for name in sorted(measures)
    }
