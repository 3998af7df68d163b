"""How a preview, a run and a sample show themselves in a notebook: HTML that stands alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from synthgen.errors import SynthgenError
from synthgen.quality.measures import MEASURES
from synthgen.report.facts import ACCEPTED, collect_run_facts
from synthgen.report.first.leads import list_leads
from synthgen.report.page import render
from synthgen.report.pictures import Tile, how_many, show_samples, spread
from synthgen.report.preview import Preview
from synthgen.report.svg import format_number
from synthgen.runs.reader import RunTables
from synthgen.storage.places import hide_passwords

__all__ = ["show_preview", "show_run", "show_sample"]

MOST_SHOWN = 12


def show_preview(preview: Preview) -> str:
    """Return HTML with what must be known, sizes by class, and up to 12 of the photos."""
    places = np.linspace(0, len(preview.tiles) - 1, min(MOST_SHOWN, len(preview.tiles)))
    tiles = [preview.tiles[int(place)] for place in places.round()]
    return render("notebook_preview.html.j2", preview=preview, tiles=tiles)


def show_run(run: RunTables) -> str:
    """Return HTML with the counts of a run, what needs attention, and a contact sheet of accepted
    samples, evenly over the run; of any with an image where none was accepted."""
    facts, manifest = collect_run_facts(run), run.manifest
    made = manifest[manifest["image"] != ""]
    accepted = made[made["status"] == ACCEPTED]
    chosen = spread(made if accepted.empty else accepted, how_many(run, MOST_SHOWN))
    tiles, failure = _draw(run, chosen)
    return render(
        "notebook.html.j2",
        name=hide_passwords(facts.folder),
        facts=facts,
        advice=list_leads(run, facts),
        tiles=tiles,
        views=("label",),
        measures=[],
        failure=failure,
    )


def show_sample(run: RunTables, row: pd.Series) -> str:
    """Return HTML with the image of a sample, its label's outline, its class and its measures.

    ``row``: its row of the manifest.
    """
    tiles, failure = _draw(run, row.to_frame().T)
    return render(
        "notebook.html.j2",
        name=str(row["sample_id"]),
        facts=None,
        advice=[],
        tiles=tiles,
        views=("whole", "result", "label"),
        measures=list(_list_measures(row)),
        failure=failure,
    )


def _draw(run: RunTables, rows: pd.DataFrame) -> tuple[list[Tile], str]:
    """Return the tiles of some samples, or none and why they cannot be drawn."""
    try:
        return show_samples(run, rows), ""
    except SynthgenError as error:
        return [], hide_passwords(str(error))


def _list_measures(row: pd.Series) -> Iterator[tuple[str, str, str]]:
    """Yield name, number and meaning of what was measured of a sample."""
    for measure in MEASURES:
        value = row.get(measure.name)
        if value is not None and np.isfinite(float(value)) and row["defect_class"]:
            yield measure.name, format_number(float(value)), measure.in_words
