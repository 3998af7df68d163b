"""Tables for pandas and others: one row an image, one row a defect."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from synthgen.exporting.facts import (
    DEFECT_MEASURES,
    defect_facts,
    fact_types,
    image_facts,
    write_parquet,
)
from synthgen.exporting.labels import LabelledImage, LabelledSet
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media
from synthgen.storage.files import defuse

__all__ = ["Table", "place_or_refer"]

BOX = ("box_x", "box_y", "box_w", "box_h")
DEFECT_TYPES = {
    "sample_id": "string",
    "split": "string",
    "instance_id": "int64",
    "defect_class": "string",
    "class_id": "int64",
    "area_px": "int64",
    **dict.fromkeys(BOX, "int64"),
    "height": "int64",
    "width": "int64",
    "rle": "string",
    **dict.fromkeys(DEFECT_MEASURES, "float64"),
}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Table:
    """``images.*``, ``defects.*`` and the images in ``images/``; with media=refer, where they are.

    ``file_name`` is relative to the tables; all else is as in the run's manifest, without its
    paths. A mask is its RLE with height and width, as in COCO. In CSV a text that a spreadsheet
    would take for a formula has a ' before it. CSV has no types: read sample_id and rle as text,
    e.g.
    ``pandas.read_csv("defects.csv", dtype={"sample_id": str, "rle": str}, keep_default_na=False)``.
    """

    kind: Literal["csv", "parquet", "both"] = "both"

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one; ``loss`` has nothing to be told.

        Raises ConfigError where media refers to images that are not files on this machine.
        """
        files = {i.sample_id: place_or_refer(i, folder, "images", media) for i in labels}
        types = {"sample_id": "string", "file_name": "string"} | fact_types(labels)
        for kind in ("csv", "parquet") if self.kind == "both" else (self.kind,):
            images = ({"file_name": files[i.sample_id], **image_facts(i)} for i in labels)
            _write(folder / f"images.{kind}", types, images)
            defects = (
                {
                    "sample_id": image.sample_id,
                    "split": image.split,
                    "instance_id": defect["id"],
                    "defect_class": defect["category"],
                    "class_id": defect["category_id"],
                    "area_px": defect["area"],
                    **dict(zip(BOX, defect["bbox"], strict=True)),
                    "height": image.size_hw[0],
                    "width": image.size_hw[1],
                    "rle": defect["rle"],
                    **{name: defect[name] for name in DEFECT_MEASURES},
                }
                for image in labels
                for defect in defect_facts(labels, image)
            )
            _write(folder / f"defects.{kind}", DEFECT_TYPES, defects)


def place_or_refer(image: LabelledImage, root: Path, folder: str, media: Media) -> str:
    """Put an image into a folder of ``root``, unless media refers; return its path from ``root``.

    Raises RunError where the image is gone, and ConfigError where media cannot refer to it.
    """
    if media.mode == "refer":
        return media.refer(image, root)
    (root / folder).mkdir(exist_ok=True)
    media.place(image, root / folder / image.file_name)
    return f"{folder}/{image.file_name}"


def _write(path: Path, types: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table as CSV or Parquet, as the path's suffix says; ``types`` are its columns."""
    if path.suffix == ".parquet":
        schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items()])
        write_parquet(path, schema, rows)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(types), lineterminator="\n")
        writer.writeheader()
        for row in rows:  # run lengths may begin with =, and cannot do anything
            safe = {name: cell if name == "rle" else defuse(cell) for name, cell in row.items()}
            writer.writerow(safe)
