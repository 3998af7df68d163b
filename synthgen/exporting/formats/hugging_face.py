"""Folders that Hugging Face's ``datasets`` opens: images with a table, or Parquet with both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import yaml
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from synthgen.exporting.facts import class_png, defect_facts, image_facts, write_parquet
from synthgen.exporting.labels import LabelledImage, LabelledSet
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media

__all__ = ["ImageFolder", "Parquet", "loaded_split", "write_dataset_card"]

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
OBJECTS = pa.struct(
    [
        ("id", pa.list_(pa.int64())),
        ("bbox", pa.list_(pa.list_(pa.float64()))),
        ("categories", pa.list_(pa.int64())),
        ("names", pa.list_(pa.string())),
        ("area", pa.list_(pa.int64())),
        ("rle", pa.list_(pa.string())),
    ]
)
COLUMNS = {
    "sample_id": pa.string(),
    "width": pa.int64(),
    "height": pa.int64(),
    "objects": OBJECTS,
    "split": pa.string(),
    "group": pa.string(),
    "synthetic": pa.bool_(),
    "digital_source": pa.string(),
    "prompt": pa.string(),
    "seed": pa.int64(),
    "severity": pa.float64(),
    "fill_fraction": pa.float64(),
    "leak_fraction": pa.float64(),
    "contrast_delta_e": pa.float64(),
}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ImageFolder:
    """``<split>/*.png``, ``<split>/masks/*.png`` (class ids, 0 = good) and ``metadata.parquet``.

    ``datasets`` gives the columns ``image`` and ``mask`` and reads the split ``val`` as
    ``validation``. ``metadata="jsonl"`` is a text, whose types have to be guessed: it cannot be
    opened where the images of one split have no defect at all, or no measure.
    """

    metadata: Literal["parquet", "jsonl"] = "parquet"

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one; ``loss`` has nothing to be told."""
        for split in labels.splits:
            images, place = labels.of_split(split), folder / split
            (place / "masks").mkdir(parents=True)
            for image in images:
                media.place(image, place / image.file_name)
                (place / "masks" / f"{image.sample_id}.png").write_bytes(class_png(image))
            rows = (
                {
                    "file_name": image.file_name,
                    "mask_file_name": f"masks/{image.sample_id}.png",
                    **_row(labels, image),
                }
                for image in images
            )
            if self.metadata == "parquet":
                names = {"file_name": pa.string(), "mask_file_name": pa.string()}
                write_parquet(place / "metadata.parquet", pa.schema(names | COLUMNS), rows)
            else:
                with (place / "metadata.jsonl").open("w", encoding="utf-8") as file:
                    file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_dataset_card(folder, {split: f"{split}/**" for split in labels.splits})


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Parquet:
    """``data/<split>-00000-of-00001.parquet``: the files of images and masks inside the table.

    The split ``val`` is named ``validation``, as ``datasets`` wants it here.
    """

    rows_per_shard: Annotated[int, Field(ge=1)] = 1000

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one; ``loss`` has nothing to be told."""
        (folder / "data").mkdir()
        images = {name: {"_type": "Image"} for name in ("image", "mask")}
        told = json.dumps({"info": {"features": images}})
        schema = pa.schema(dict.fromkeys(images, IMAGE) | COLUMNS, {"huggingface": told})
        for split in labels.splits:
            own = labels.of_split(split)
            shards = [
                own[start : start + self.rows_per_shard]
                for start in range(0, len(own), self.rows_per_shard)
            ]
            for number, shard in enumerate(shards):
                name = f"{loaded_split(split)}-{number:05}-of-{len(shards):05}.parquet"
                rows = (
                    {
                        "image": {"bytes": media.read(image), "path": image.file_name},
                        "mask": {"bytes": class_png(image), "path": f"{image.sample_id}.mask.png"},
                        **_row(labels, image),
                    }
                    for image in shard
                )
                write_parquet(folder / "data" / name, schema, rows)
        write_dataset_card(
            folder, {split: f"data/{loaded_split(split)}-*" for split in labels.splits}
        )


def _row(labels: LabelledSet, image: LabelledImage) -> dict[str, Any]:
    """Return the columns of both layouts but for the files; None where something is not known."""
    defects = defect_facts(labels, image)
    objects = {
        "id": [defect["id"] for defect in defects],
        "bbox": [[float(value) for value in defect["bbox"]] for defect in defects],
        "categories": [defect["category_id"] for defect in defects],
        "names": [defect["category"] for defect in defects],
        "area": [defect["area"] for defect in defects],
        "rle": [defect["rle"] for defect in defects],
    }
    known = image_facts(image) | {"objects": objects}
    return {name: known.get(name) for name in COLUMNS}


def loaded_split(split: str) -> str:
    """Return what ``datasets`` calls a split.

    >>> loaded_split("val"), loaded_split("train")
    ('validation', 'train')
    """
    return "validation" if split == "val" else split


def write_dataset_card(
    folder: Path, files: Mapping[str, str], features: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write the README.md that ``datasets`` reads: files by split, and types if given.

    ``files``: the pattern of each split's files, seen from ``folder``, by the run's own name of
    the split. ``features``: the types of the columns, in the words of ``datasets``.
    """
    found = [{"split": loaded_split(split), "path": path} for split, path in files.items()]
    card: dict[str, Any] = {"configs": [{"config_name": "default", "data_files": found}]}
    if features:
        card["dataset_info"] = {"features": list(features)}
    text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True)
    (folder / "README.md").write_text(f"---\n{text}---\n", encoding="utf-8")
