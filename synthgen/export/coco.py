"""COCO instances: masks as RLE, areas of masks, good images kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from synthgen.errors import ConfigError, RunError
from synthgen.runs.reader import RunTables, read_run

__all__ = ["CocoSummary", "write_coco"]


@dataclass(frozen=True, slots=True)
class CocoSummary:
    """What was written: counts over all splits."""

    path: Path
    images: int
    annotations: int
    by_class: Mapping[str, int]


def write_coco(
    run_folder: Path, out: Path, include: Literal["accepted", "all"] = "accepted"
) -> CocoSummary:
    """Write ``out/<split>/*.png`` and ``out/annotations/instances_<split>.json``.

    ``include="all"`` takes rejected samples, too; a defect that left no label is never exported,
    since it would pass for a good image. Ids start at 1 in the order of sample ids; the
    same run gives the same bytes. Raises RunError where ``out`` exists: it is never touched.
    """
    if include not in ("accepted", "all"):
        raise ConfigError(f"export.include={include!r} must be accepted or all")
    run = read_run(run_folder)
    if out.exists():
        raise RunError(f"{out} exists already; give a new export.folder, or delete that one")
    chosen = _choose(run.manifest, include)
    if chosen.empty:
        raise RunError(f"{run_folder} holds no sample to export; see {run_folder / 'report.html'}")
    beside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        annotations = _write_splits(run, chosen, beside)
        os.replace(beside, out)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    names = {class_id: name for name, class_id in run.classes.items()}
    found = pd.Series([names[a["category_id"]] for a in annotations], dtype=str)
    by_class = {str(name): int(count) for name, count in found.value_counts().items()}
    return CocoSummary(out, len(chosen), len(annotations), by_class)


def _choose(manifest: pd.DataFrame, include: str) -> pd.DataFrame:
    wanted = ["accepted", "good"] + (["rejected"] if include == "all" else [])
    is_labelled = (manifest["defect_class"] == "") | (manifest["instances"] > 0)
    rows = manifest[manifest["status"].isin(wanted) & (manifest["image"] != "") & is_labelled]
    return rows.sort_values("sample_id", ignore_index=True)


def _write_splits(run: RunTables, chosen: pd.DataFrame, out: Path) -> list[dict[str, Any]]:
    categories = [
        {"id": class_id, "name": name, "supercategory": "defect"}
        for name, class_id in sorted(run.classes.items(), key=lambda item: item[1])
    ]
    defects = {str(key): rows for key, rows in run.instances.groupby("sample_id")}
    annotations: list[dict[str, Any]] = []
    (out / "annotations").mkdir(parents=True)
    for split, rows in chosen.groupby("split"):
        images: list[dict[str, Any]] = []
        own: list[dict[str, Any]] = []
        (out / str(split)).mkdir()
        for index, row in rows.iterrows():
            image = _image_entry(int(str(index)) + 1, row)
            shutil.copyfile(run.file(row["image"]), out / str(split) / image["file_name"])
            images.append(image)
            for _, defect in defects.get(row["sample_id"], run.instances[:0]).iterrows():
                own.append(_annotation_entry(len(annotations) + len(own) + 1, image, defect))
        annotations += own
        dataset = {
            "info": {"description": "Synthetic defect images made by synthgen", "synthetic": True},
            "licenses": [],
            "images": images,
            "annotations": own,
            "categories": categories,
        }
        target = out / "annotations" / f"instances_{split}.json"
        target.write_text(json.dumps(dataset, indent=1, sort_keys=True), encoding="utf-8")
    return annotations


def _image_entry(image_id: int, row: pd.Series) -> dict[str, Any]:
    return {
        "id": image_id,
        "file_name": f"{row['sample_id']}.png",
        "width": int(row["width"]),
        "height": int(row["height"]),
        "synthetic": True,
    }


def _annotation_entry(number: int, image: Mapping[str, Any], defect: pd.Series) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image["id"],
        "category_id": int(defect["class_id"]),
        "iscrowd": 0,
        "bbox": [float(defect[key]) for key in ("box_x", "box_y", "box_w", "box_h")],
        "area": float(defect["area_px"]),
        "segmentation": {"size": [image["height"], image["width"]], "counts": defect["rle"]},
    }
