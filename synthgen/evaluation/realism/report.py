"""Realism for people: the table, a line per crop, and a sheet to look at with its key beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from synthgen.evaluation.realism.crops import PAINTED, REAL, DefectCrop
from synthgen.evaluation.realism.measure import Realism
from synthgen.evaluation.realism.settings import RealismSettings
from synthgen.evaluation.score import put_card_part, tabulate_scores, write_scores
from synthgen.imaging.images import encode_jpeg, tile
from synthgen.samples.arrays import Image
from synthgen.samples.seeds import stream
from synthgen.storage.files import defuse, write_bytes, write_text
from synthgen.training.features import FEATURES

__all__ = ["describe_realism", "draw_mixed_sheet", "tell_realism", "write_realism"]

COLUMNS = 10
SHEET, KEY = "sheet.jpg", "sheet-key.csv"
BAR_PX = 16  # above each cell, for its number


def describe_realism(settings: RealismSettings, crops: Sequence[DefectCrop]) -> dict[str, Any]:
    """Return what the scores depend on, in words."""
    counts = pd.Series([crop.kind for crop in crops]).value_counts()
    return {
        "run": settings.run,
        "real images": settings.real.path,
        "crops": ", ".join(f"{count} {kind}" for kind, count in counts.items()),
        "crop": f"{settings.crop_px} px at native size, larger defects shrunk",
        "folds": len({crop.fold for crop in crops}),
        "seed": settings.seed,
        "features": FEATURES,
    }


def write_realism(settings: RealismSettings, crops: Sequence[DefectCrop], realism: Realism) -> Path:
    """Write ``realism.md`` (which is returned), ``.json``, ``crops.csv``, the sheet and its key.

    With ``settings.card`` the table goes into that folder's README.md, too; raises ModelError
    where it has none.
    """
    folder, facts = Path(settings.folder), describe_realism(settings, crops)
    write_scores(folder / "realism.json", realism.scores, facts)
    write_text(folder / "crops.csv", realism.rows.map(defuse).to_csv(index=False))
    sheet, key = draw_mixed_sheet(crops, settings.sheet, settings.seed)
    write_bytes(folder / SHEET, encode_jpeg(sheet, 92))
    write_text(folder / KEY, key.map(defuse).to_csv(index=False))
    page = folder / "realism.md"
    lines = [
        "# Realism",
        "",
        *(f"{name}: {value}  " for name, value in facts.items()),
        "",
        *tabulate_scores(realism.scores),
        "",
        f"Which are real? The key is in [{KEY}]({KEY}).",
        "",
        f"![real and painted crops, mixed]({SHEET})",
    ]
    write_text(page, "\n".join(lines) + "\n")
    if settings.card is not None:
        put_card_part(Path(settings.card), "realism", _card_lines(realism, facts))
    return page


def _card_lines(realism: Realism, facts: Mapping[str, Any]) -> list[str]:
    said = ", ".join(f"{name} {value}" for name, value in facts.items())
    told = f"By `synthgen evaluate realism`: {said}."
    return ["## Realism", "", told, "", *tabulate_scores(realism.scores)]


def draw_mixed_sheet(
    crops: Sequence[DefectCrop], count: int, seed: int
) -> tuple[Image, pd.DataFrame]:
    """Return a sheet of real and painted crops, mixed and numbered from 1, and its key.

    As many of each as there are, up to half of ``count``. The key has ``number``, ``set``,
    ``defect_class`` and ``name``.
    """
    rng = stream(seed, "mixed sheet")
    chosen: list[DefectCrop] = []
    half = min(count // 2, *(sum(c.kind == kind for c in crops) for kind in (REAL, PAINTED)))
    for kind in (REAL, PAINTED):
        own = [crop for crop in crops if crop.kind == kind]
        chosen += [own[int(at)] for at in rng.permutation(len(own))[:half]]
    mixed = [chosen[int(at)] for at in rng.permutation(len(chosen))]
    cells = [_number(crop.pixels, number) for number, crop in enumerate(mixed, start=1)]
    key = pd.DataFrame(
        {
            "number": range(1, len(mixed) + 1),
            "set": [crop.kind for crop in mixed],
            "defect_class": [crop.defect_class for crop in mixed],
            "name": [crop.name for crop in mixed],
        }
    )
    return tile(cells, COLUMNS), key


def _number(pixels: Image, number: int) -> Image:
    """Return a crop with its number above it, 1 px of white around."""
    cell = np.pad(pixels, ((BAR_PX, 1), (1, 1), (0, 0)), constant_values=255)
    place = (3, BAR_PX - 4)
    cv2.putText(cell, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return cell


def tell_realism(realism: Realism) -> str:
    """Return the sentence that counts: how well painted is told, beside paste and real."""
    found = {score.name: score.value for score in realism.scores}
    parts = [
        f"{name} {found[key]:.2f}"
        for name, key in (
            ("painted", "painted told from real, AUC"),
            ("crop-paste", "crop-paste told from real, AUC"),
            ("real", "real told from real, AUC"),
        )
        if key in found
    ]
    return f"told from real on photos that were not learned from, AUC: {', '.join(parts)}"
