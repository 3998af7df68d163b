"""Labels against the truth: how well the realised mask, and other rules, find what was painted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from synthgen.evaluation.known_truth import draw_case
from synthgen.evaluation.score import Score, tabulate_scores, write_scores
from synthgen.imaging.geometry import overlap
from synthgen.imaging.images import tile, write_png
from synthgen.planning.plan import DefectClass
from synthgen.progress import stage, track
from synthgen.quality.limits import Limits, reasons_to_reject
from synthgen.quality.measures import measure, view_change
from synthgen.samples.arrays import Mask
from synthgen.samples.sample import Candidate
from synthgen.storage.files import write_text, write_whole

__all__ = [
    "RULES",
    "LabelTestSettings",
    "label_by_otsu",
    "measure_labels",
    "score_labels",
    "tabulate_agreement",
    "write_labels",
]

VISIBLE_DELTA_E = 5.0  # the least change that a sample is accepted with, as in conf/quality
SHOWN, COLUMNS = 16, 2  # cases on the sheet, and beside each other


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class LabelTestSettings:
    """How many cases are drawn, by which seed; the report goes to ``folder``."""

    folder: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)] = 0
    count: Annotated[int, Field(ge=4)] = 1000


def label_by_otsu(candidate: Candidate) -> Mask:
    """Return the grey difference over Otsu's threshold, inside the repaint mask; (H, W) bool."""
    now, before = (
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.int16)
        for image in (candidate.image, candidate.condition.image)
    )
    change = np.abs(now - before).astype(np.uint8)
    _, binary = cv2.threshold(change, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return np.asarray((binary > 0) & candidate.condition.repaint_mask)


RULES: dict[str, Callable[[Candidate], Mask]] = {
    "realised": lambda candidate: candidate.realised_mask,
    "asked": lambda candidate: candidate.condition.defect_mask,  # for perlin: anomalib's label
    "otsu": label_by_otsu,
}


def measure_labels(
    settings: LabelTestSettings,
    classes: Mapping[str, DefectClass],
    limits: Limits,
) -> pd.DataFrame:
    """Return a row per case: what it is, each rule's IoU, and whether ``limits`` reject it.

    Columns: ``kind``, ``defect_class``, ``contrast`` (Delta E), ``grain`` (grey levels),
    ``jpeg_quality`` (100 = none), ``is_obeyed``, ``is_rejected``, one for each of ``RULES`` (IoU,
    0..1), and every measure as ``measured_<name>``.
    """
    rows: list[dict[str, object]] = []
    for number in track(range(settings.count), "measuring the labels", unit="cases"):
        case = draw_case(settings.seed, number, classes)
        candidate, spec = case.candidate, case.candidate.condition.spec
        measured = measure(candidate, view_change(candidate))
        rows.append(
            {
                "kind": case.kind,
                "defect_class": spec.defect_class,
                "contrast": case.contrast,
                "grain": case.grain,
                "jpeg_quality": case.jpeg_quality or 100,
                "is_obeyed": case.is_obeyed,
                "is_rejected": bool(reasons_to_reject(measured, limits.of(spec.defect_class))),
                **{name: overlap(rule(candidate), case.truth) for name, rule in RULES.items()},
                **{f"measured_{m.name}": m.value for m in measured},
            }
        )
    return pd.DataFrame(rows)


@stage("writing labels.md")
def write_labels(
    folder: Path,
    rows: pd.DataFrame,
    scores: Sequence[Score],
    settings: LabelTestSettings,
    classes: Mapping[str, DefectClass],
) -> Path:
    """Write ``labels.md`` (which is returned), ``labels.json``, ``rows.parquet``, ``cases.png``.

    ``rows`` and ``scores`` are those of ``measure_labels`` and ``score_labels``. The picture shows
    the first 16 cases, drawn again: source, finished image, truth, and what each rule labels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "rows.parquet", rows.to_parquet)
    strips = []
    for number in range(SHOWN):
        case = draw_case(settings.seed, number, classes)
        masks = [case.truth, *(rule(case.candidate) for rule in RULES.values())]
        grey = [np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255 for mask in masks]
        strip = np.hstack([case.candidate.condition.image, case.candidate.image, *grey])
        strips.append(np.pad(strip, ((1, 1), (2, 2), (0, 0)), constant_values=128))
    write_png(folder / "cases.png", tile(strips, COLUMNS))
    write_scores(folder / "labels.json", scores, {"seed": settings.seed})
    page = folder / "labels.md"
    text = "\n".join(
        [
            "# Labels against the truth",
            "",
            *tabulate_scores(scores),
            "",
            *tabulate_agreement(rows),
            "",
            "Source | finished | truth | realised | asked | Otsu:",
            "",
            "![cases](cases.png)",
            "",
        ]
    )
    write_text(page, text)
    return page


def score_labels(rows: pd.DataFrame) -> list[Score]:
    """Return the scores with their bars, from the rows of ``measure_labels``.

    Labels are scored where the true change is visible (Delta E 5 or more); below that a sample
    should be rejected.
    """
    seen = rows[rows["contrast"] >= VISIBLE_DELTA_E]
    lost = rows[rows["contrast"] < VISIBLE_DELTA_E]
    blends = seen.loc[seen["kind"] == "blend", "realised"]
    geometry = f"n = {len(blends)}: those whose truth is geometry alone"
    note = f"n = {len(seen)}, contrast {VISIBLE_DELTA_E:g} Delta E or more"
    return [
        Score("label IoU, median", float(seen["realised"].median()), minimum=0.9, note=note),
        Score("label IoU, 5th percentile", float(seen["realised"].quantile(0.05)), minimum=0.7),
        Score("label IoU of blends, median", float(blends.median()), minimum=0.9, note=geometry),
        Score("label IoU of blends, 5th percentile", float(blends.quantile(0.05)), minimum=0.7),
        Score(
            "rejected below that contrast",
            float(lost["is_rejected"].mean()),
            minimum=0.95,
            note=f"n = {len(lost)}",
        ),
        Score(
            "rejected above it, painted as asked",
            float(seen.loc[seen["is_obeyed"], "is_rejected"].mean()),
        ),
    ]


def tabulate_agreement(rows: pd.DataFrame) -> list[str]:
    """Return a Markdown table: median and 5th percentile of IoU, by what was painted.

    One line for all visible cases and for each part of them, such as a kind or a range of contrast.
    """
    seen = rows[rows["contrast"] >= VISIBLE_DELTA_E]
    parts: Sequence[tuple[str, pd.DataFrame]] = [
        ("all", seen),
        *((f"{kind}", part) for kind, part in seen.groupby("kind")),
        ("painted as asked", seen[seen["is_obeyed"]]),
        ("painted otherwise", seen[~seen["is_obeyed"]]),
        ("source's own grain kept", seen[seen["grain"] == 0]),
        ("grain painted again, under 2.5", seen[(seen["grain"] > 0) & (seen["grain"] < 2.5)]),
        ("grain painted again, 2.5 to 5", seen[seen["grain"] >= 2.5]),
        ("source was JPEG", seen[seen["jpeg_quality"] < 100]),
        ("contrast 5 to 8", seen[seen["contrast"] < 8]),
        ("contrast 8 to 15", seen[(seen["contrast"] >= 8) & (seen["contrast"] < 15)]),
        ("contrast 15 or more", seen[seen["contrast"] >= 15]),
    ]
    heads = " | ".join(f"{name}: median | 5 %" for name in RULES)
    lines = [f"| IoU with the truth | n | {heads} |", "|---" * (2 + 2 * len(RULES)) + "|"]
    for name, part in parts:
        cells = [
            f"{part[rule].quantile(fraction):.2f}" for rule in RULES for fraction in (0.5, 0.05)
        ]
        lines.append(f"| {name} | {len(part)} | {' | '.join(cells)} |")
    return lines
