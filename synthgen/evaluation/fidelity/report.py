"""Fidelity for people: the table with its bars, the sheets to look at, the model card's part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from synthgen.backends.diffusion.backend import DiffusionBackend
from synthgen.evaluation.fidelity.distance import EXTRACTOR, MIN_CROPS, RealCropSet
from synthgen.evaluation.fidelity.settings import DRAWN, Fidelity, FidelitySettings
from synthgen.evaluation.score import Score, put_card_part, tabulate_scores, write_scores
from synthgen.imaging.images import encode_jpeg, tile
from synthgen.progress import stage
from synthgen.storage.files import write_bytes, write_text, write_whole
from synthgen.training.card import processor_name

__all__ = [
    "GROUPS",
    "collect_fidelity_facts",
    "draw_scene_sheet",
    "score_fidelity",
    "write_card_part",
    "write_fidelity",
    "write_rows",
]

GROUPS = {
    "lines": ("crack", "fibre", "scratch"),
    "areas": ("abrasion", "burn", "corrosion", "inclusion", "stain"),
    "hollows": ("chip", "dent", "pit", "spatter"),
}
EDGES = ("box", "box_free", "noise", "free", "painted", "sketch")


@stage("scoring")
def score_fidelity(fidelity: Fidelity, settings: FidelitySettings) -> list[Score]:
    """Return every score, in the order of the table.

    Scores are fractions 0..1 but for those whose note or name says otherwise. KID is left out where
    a set has under 20 crops.
    """
    probes = fidelity.rows[fidelity.rows["answer_noise"].notna()]
    references = {
        name: RealCropSet(kinds["reference"])
        for name, kinds in fidelity.crops.items()
        if len(kinds.get("reference", [])) >= MIN_CROPS
    }
    other, same = float(probes["other_seed"].mean()), float(probes["same_seed"].mean())
    distances = []
    for name, reference in references.items():
        kinds = fidelity.crops[name]
        if len(kinds["painted"]) < MIN_CROPS:
            continue
        what = "renders" if name == DRAWN else f"real defects of {name}"
        for kind in ("painted", "sketch"):
            value, spread = reference.distance(kinds[kind])
            note = f"n = {len(kinds[kind])} against {len(kinds['reference'])}, ± {spread:.3f}"
            distances.append(Score(f"KID to {what}, {kind}", value, note=note))
    return [
        *_presence(fidelity.rows, probes),
        *_edge_control(probes),
        *_class_control(fidelity, probes),
        Score("diversity, other seed", other, note="grey levels"),
        Score("diversity, same seed", same, note="another batch"),
        # 0.01: the same seed may paint the very same pixels in another batch
        Score("diversity, ratio", other / max(same, 0.01), minimum=3),
        _severity(fidelity.severities),
        *distances,
        *_few_steps(fidelity, probes, settings, references.get(DRAWN)),
    ]


def _presence(rows: pd.DataFrame, probes: pd.DataFrame) -> list[Score]:
    """Score whether the defect is there, and nothing but it: the surface beside it is kept."""
    drawn, photos = rows[rows["set"] == DRAWN], rows[rows["set"] != DRAWN]
    ratios = rows["border_painted"] / rows["border_source"]
    scores = [
        Score("visible", _visible(rows["fill"]), minimum=0.9, note=f"first try, n = {len(rows)}"),
        Score("leak", float(rows["leak"].mean()), note="share of the change over 2 px outside"),
        Score("visible, drawn sources", _visible(drawn["fill"])),
    ]
    if len(photos):
        scores.append(Score("visible, photographs", _visible(photos["fill"])))
    scores += [
        Score("visible, from noise", _visible(probes["fill_noise"]), note=f"n = {len(probes)}"),
        Score(
            "clean edge",
            float(rows["border_painted"].mean() / rows["border_source"].mean()),
            maximum=1.15,
            note="step across the repaint border over the source's",
        ),
        Score("clean edge, median of the images", float(ratios.median())),
        Score("clean edge, 95th percentile of the images", float(ratios.quantile(0.95))),
        Score("pixels changed outside", float(rows["changed_outside_px"].sum()), maximum=0),
    ]
    for key in ("mean", "std", "gradient"):
        off = rows[f"texture_{key}"].dropna()
        within = (off <= 0.1).mean()
        scores.append(
            Score(
                f"texture kept, {key}",
                float(off.mean()),
                maximum=0.1,
                note=f"mean deviation, n = {len(off)}; {within:.0%} of the images within 10 %",
            )
        )
    for key in ("std", "gradient"):
        deviation = float(rows[f"sketch_texture_{key}"].mean())
        scores.append(
            Score(
                f"texture kept, {key}, of the sketches", deviation, note="laid in without feather"
            )
        )
    return scores


def _edge_control(probes: pd.DataFrame) -> list[Score]:
    edges = {name: float(probes[f"edges_{name}"].mean()) for name in EDGES}
    return [
        Score(
            "edge control, F1",
            edges["box"],
            minimum=0.55,
            note="from noise in the defect's box, scale 1",
        ),
        Score("edge control, F1 at scale 0", edges["box_free"]),
        Score("edge control, ratio", edges["box"] / max(edges["box_free"], 1e-9), minimum=1.8),
        Score("edge control in the usual mask, F1", edges["noise"], note="from noise, scale 1"),
        Score(
            "edge control in the usual mask, F1 at scale 0",
            edges["free"],
            note="the mask itself says the shape",
        ),
        Score("edge control as configured, F1", edges["painted"]),
        Score(
            "edge control, F1 of the sketches",
            edges["sketch"],
            note="Canny of the sketch itself: what the measure can reach",
        ),
    ]


def _class_control(fidelity: Fidelity, probes: pd.DataFrame) -> list[Score]:
    return [
        Score(
            "class control",
            _accuracy(fidelity.rows, "answer"),
            minimum=0.8,
            note="as configured; a classifier that saw sketches only",
        ),
        Score("class control, from noise", _accuracy(probes, "answer_noise")),
        Score(
            "class control, sketches of the same images",
            _accuracy(fidelity.rows, "answer_sketch"),
            note="what the classifier can reach",
        ),
        Score("class control, sketches held out", fidelity.accuracy_on_sketches),
        Score(
            "other prompt, same mask: answer changes",
            _changed(probes, "answer_free", "answer_swapped_free"),
            minimum=0.5,
            note="from noise, without control image",
        ),
        Score(
            "other prompt, same mask and edges: answer changes",
            _changed(probes, "answer_noise", "answer_swapped"),
        ),
        Score(
            "other noise, same prompt: answer changes",
            _changed(probes, "answer_free", "answer_reseeded_free"),
            note="from noise, without control image: how often it changes by itself",
        ),
        Score(
            "other prompt, same mask: answer is that class",
            _hit(probes, "answer_swapped_free"),
        ),
        Score(
            "other prompt, same mask and edges: answer is that class",
            _hit(probes, "answer_swapped"),
        ),
    ]


def _severity(swept: pd.DataFrame) -> Score:
    """Score how monotonously the painted change follows the asked severity, class by class."""
    from scipy.stats import spearmanr  # half a second: loaded where it is used

    curves = swept.groupby(["defect_class", "severity"])["change_delta_e"].mean().reset_index()
    found = {}
    for name, part in curves.groupby("defect_class"):
        severity, change = part["severity"], part["change_delta_e"]
        changes = change.nunique() > 1  # a class that never changes has no rank correlation
        found[str(name)] = float(spearmanr(severity, change).statistic) if changes else 0.0
    worst = min(found, key=lambda name: found[name])
    note = f"the worst class, {worst}; mean {np.mean(list(found.values())):.2f}"
    return Score("severity, Spearman with the change", found[worst], minimum=0.9, note=note)


def _visible(fill: pd.Series) -> float:
    return float((fill >= 0.5).mean())


def _accuracy(rows: pd.DataFrame, column: str) -> float:
    return float((rows[column] == rows["defect_class"]).mean())


def _hit(probes: pd.DataFrame, column: str) -> float:
    return float((probes[column] == probes["other_class"]).mean())


def _changed(probes: pd.DataFrame, before: str, after: str) -> float:
    return float((probes[before] != probes[after]).mean())


def _few_steps(
    fidelity: Fidelity,
    probes: pd.DataFrame,
    settings: FidelitySettings,
    reference: RealCropSet | None,
) -> list[Score]:
    scores = []
    crops = fidelity.crops[DRAWN]
    for steps in settings.steps:
        key = f"steps_{steps}"
        scores += [
            Score(f"{steps} steps from noise: visible", _visible(probes[f"fill_{key}"])),
            Score(f"{steps} steps from noise: class", _accuracy(probes, f"answer_{key}")),
            Score(f"{steps} steps from noise: edges F1", float(probes[f"edges_{key}"].mean())),
        ]
        if reference is not None and len(crops.get(key, [])) >= MIN_CROPS:
            value, spread = reference.distance(crops[key])
            note = f"n = {len(crops[key])}, ± {spread:.3f}"
            scores.append(Score(f"{steps} steps from noise: KID to renders", value, note=note))
    for name, speed in fidelity.images_per_s.items():
        scores.append(Score(f"images/s, {name} steps", speed))
    return scores


def write_rows(folder: Path, fidelity: Fidelity) -> None:
    """Write what was measured, before it is scored: ``rows.parquet``, ``severities.parquet``."""
    for name, table in (("rows", fidelity.rows), ("severities", fidelity.severities)):
        write_whole(folder / f"{name}.parquet", table.to_parquet)


@stage("writing fidelity.md")
def write_fidelity(
    folder: Path, fidelity: Fidelity, scores: Sequence[Score], facts: Mapping[str, Any]
) -> Path:
    """Write the page ``fidelity.md`` (which is returned), ``fidelity.json`` and the sheets.

    A sheet ``samples-<group>.jpg`` shows the painted crops of each of ``GROUPS`` on drawn sources.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_scores(folder / "fidelity.json", scores, {**facts, "extractor": EXTRACTOR})
    drawn = fidelity.rows[fidelity.rows["set"] == DRAWN]
    crops = fidelity.crops[DRAWN]["painted"]
    sheets = []
    for group, names in GROUPS.items():
        # the first of these classes on drawn sources, none left out
        cells = [crops[n] for n, name in enumerate(drawn["defect_class"]) if name in names]
        if cells:
            write_bytes(folder / f"samples-{group}.jpg", encode_jpeg(draw_scene_sheet(cells), 92))
            sheets.append(f"![{group}](samples-{group}.jpg)")
    page = folder / "fidelity.md"
    lines = [
        "# Fidelity",
        "",
        *(f"{key}: {value}  " for key, value in facts.items()),
        "",
        *tabulate_scores(scores),
        "",
        "By class, as configured:",
        "",
        *_tabulate_classes(fidelity.rows),
        "",
        *sheets,
    ]
    write_text(page, "\n".join(lines) + "\n")
    return page


def draw_scene_sheet(
    cells: Sequence[NDArray[np.uint8]], rows: int = 8, columns: int = 12
) -> NDArray[np.uint8]:
    """Return one picture of the first ``rows * columns`` cells, 2 px apart, row after row.

    Cells are (S, S, 3) uint8, all of one size; fewer make a lower picture.
    """
    framed = [np.pad(c, ((1, 1), (1, 1), (0, 0)), constant_values=255) for c in cells]
    return tile(framed[: rows * columns], columns)


def _tabulate_classes(rows: pd.DataFrame) -> list[str]:
    lines = [
        "| class | n | visible | class control | from noise | edges F1 from noise |",
        "|---|---|---|---|---|---|",
    ]
    for name, part in rows.groupby("defect_class"):
        probes = part[part["answer_noise"].notna()]
        cells = [
            f"{_visible(part['fill']):.2f}",
            f"{_accuracy(part, 'answer'):.2f}",
            f"{_accuracy(probes, 'answer_noise'):.2f}" if len(probes) else "",
            f"{probes['edges_noise'].mean():.2f}" if len(probes) else "",
        ]
        lines.append(f"| {name} | {len(part)} | {' | '.join(cells)} |")
    return lines


def write_card_part(model: Path, scores: Sequence[Score], facts: Mapping[str, Any]) -> None:
    """Put the table into the model's card, in place of the one that is there.

    ``model`` is a folder with a README.md; ModelError is raised where it has none.
    """
    said = ", ".join(f"{key} {value}" for key, value in facts.items())
    told = f"By `synthgen evaluate fidelity`: {said}. KID: {EXTRACTOR}."
    put_card_part(model, "fidelity", ["## Measured", "", told, "", *tabulate_scores(scores)])


def collect_fidelity_facts(
    backend: DiffusionBackend, settings: FidelitySettings, fidelity: Fidelity
) -> dict[str, Any]:
    """Return what the scores depend on, in words: checkpoint, seed, counts, painting, machine."""
    device, painting = backend.device_name(), backend.painting
    return {
        "checkpoint": backend.checkpoint.replace(str(backend.folder), backend.folder.name),
        "seed": settings.seed,
        "drawn sources": settings.count,
        "photographs": settings.photo_count if settings.photos else 0,
        "probes": int(fidelity.rows["answer_noise"].notna().sum()),
        "sets": ", ".join([DRAWN, *sorted(settings.photos)]),
        "configured": f"init {painting.init}, strength {painting.strength:g}, "
        f"{painting.steps} steps, guidance {painting.guidance:g}, {backend.dtype}",
        "machine": device
        if device != "cpu"
        else f"{processor_name()}, {torch.get_num_threads()} threads",
    }
