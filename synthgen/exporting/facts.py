"""What is known of an image and of its defects as plain values, and tables of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
from pyarrow import parquet

from synthgen.exporting.labels import LabelledImage, LabelledSet
from synthgen.runs.reader import read_present
from synthgen.runs.schema import columns_of, names_of

__all__ = [
    "DEFECT_MEASURES",
    "class_png",
    "defect_facts",
    "fact_types",
    "image_facts",
    "write_parquet",
]

DEFECT_MEASURES = ("fill_fraction", "leak_fraction", "contrast_delta_e", "severity")
PATHS = names_of(column for column in columns_of("manifest") if column.is_path)  # of the run
OWN = {
    "sample_id": "string",
    "split": "string",
    "group": "string",
    "width": "int64",
    "height": "int64",
    "synthetic": "bool",
    "digital_source": "string",
    "instances": "int64",
    "area_px": "int64",
}
ALIASES = {bool: "bool", int: "int64", float: "float64", str: "string"}
GROUP_ROWS, GROUP_BYTES = 1000, 16 << 20  # of Parquet held in memory at once


def fact_types(labels: LabelledSet) -> dict[str, str]:
    """Return Arrow's type (string, int64, float64, bool) of everything known of any image.

    A fact has the type of its first value in the set. Paths of the run are left out.
    """
    types = dict(OWN)
    for image in labels:
        for name, value in image.facts.items():
            if value is not None and name not in PATHS:
                types.setdefault(name, ALIASES[type(_plain(value))])
    return types


def image_facts(image: LabelledImage) -> dict[str, Any]:
    """Return what is known of an image as plain values; None for a number that does not apply.

    What the label model says comes before a fact of the same name.
    """
    facts = {name: _plain(value) for name, value in image.facts.items()}
    own = {
        "sample_id": image.sample_id,
        "split": image.split,
        "group": image.group,
        "width": image.size_hw[1],
        "height": image.size_hw[0],
        "synthetic": image.is_synthetic,
        "digital_source": image.digital_source,
        "instances": len(image.defects),
        "area_px": sum(defect.area_px for defect in image.defects),
    }
    return own | {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in facts.items()
        if name not in own and name not in PATHS
    }


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value  # NumPy's numbers


def defect_facts(labels: LabelledSet, image: LabelledImage) -> list[dict[str, Any]]:
    """Return the defects of an image; ``id`` counts from 1, ``rle`` is COCO's compressed counts.

    ``bbox`` is x, y, width, height in pixels, ``area`` the pixels of the mask; a measure that is
    not known is None.
    """
    names = labels.names
    return [
        {
            "id": number,
            "category_id": defect.class_id,
            "category": names[defect.class_id],
            "bbox": list(defect.box),
            "area": defect.area_px,
            "rle": defect.rle,
            **{name: defect.facts.get(name) for name in DEFECT_MEASURES},
        }
        for number, defect in enumerate(image.defects, start=1)
    ]


def class_png(image: LabelledImage) -> bytes:
    """Return a PNG file of the class id of each pixel: the run's own, or one of the defects.

    Raises RunError where the run's own file is gone, or is renumbered and not the one it wrote.
    """
    if image.label_path is not None and not image.stored_ids:
        return read_present(image.label_path)
    return bytes(cv2.imencode(".png", image.label_map())[1])


def write_parquet(path: Path, schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows group by group, so that few of them are in memory; a missing value is null.

    A group ends after 1,000 rows, or where the files in it have 16 MiB together. A file in a row is
    a mapping with the key ``bytes``.
    """
    with parquet.ParquetWriter(path, schema) as writer:
        group: list[Mapping[str, Any]] = []
        size = 0
        for row in rows:
            group.append(row)
            files = [v for v in row.values() if isinstance(v, dict) and "bytes" in v]
            size += sum(len(file["bytes"]) for file in files)
            if len(group) >= GROUP_ROWS or size >= GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                group, size = [], 0
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
