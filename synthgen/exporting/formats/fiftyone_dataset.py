"""A FiftyOneDataset folder, written without FiftyOne and without its database.

The layout is what ``fiftyone.Dataset.from_dir`` reads: metadata.json declares the fields,
samples.json holds a document a sample (https://docs.voxel51.com/user_guide/import_datasets.html).
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import mimetypes
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from synthgen.exporting.facts import DEFECT_MEASURES, defect_facts, image_facts
from synthgen.exporting.formats.table import place_or_refer
from synthgen.exporting.labels import LabelledImage, LabelledSet
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media

__all__ = ["FiftyOne", "pack_mask"]

LAYOUT = "1.0.0"  # of FiftyOne, since when samples have created_at; newer ones migrate from it
TYPES = {
    "string": "StringField",
    "bool": "BooleanField",
    "int64": "IntField",
    "float64": "FloatField",
}
# names of fields of FiftyOne's own, and of its documents
BUILT_IN = {
    "id": ("ObjectIdField", "_id"),
    "filepath": ("StringField", "filepath"),
    "_media_type": ("StringField", "_media_type"),
    "_rand": ("FloatField", "_rand"),
    "_dataset_id": ("ObjectIdField", "_dataset_id"),
    "created_at": ("DateTimeField", "created_at"),
    "last_modified_at": ("DateTimeField", "last_modified_at"),
}
FIELDS = {
    "synthgen_id": "string",
    "group": "string",
    "synthetic": "bool",
    "digital_source": "string",
    "status": "string",
    "defect_class": "string",
    "prompt": "string",
    "seed": "int64",
    "severity": "float64",
    "fill_fraction": "float64",
    "leak_fraction": "float64",
    "contrast_delta_e": "float64",
}
METADATA = {"mime_type": "string", "width": "int64", "height": "int64"}
DETECTION = {
    "class_id": "int64",
    "area_px": "int64",
    "defect_number": "int64",
    **dict.fromkeys(DEFECT_MEASURES, "float64"),
}


def _field(name: str, kind: str, **more: Any) -> dict[str, Any]:
    """Return the declaration of a field; ``kind`` is the name of FiftyOne's class for it."""
    return {
        "name": name,
        "ftype": f"fiftyone.core.fields.{kind}",
        "embedded_doc_type": None,
        "subfield": None,
        "fields": [],
        "db_field": name,
        "read_only": name in ("created_at", "last_modified_at"),
        **more,
    }


def _strings(name: str) -> dict[str, Any]:
    """Return the declaration of a list of texts."""
    return _field(name, "ListField", subfield="fiftyone.core.fields.StringField")


def _embedded(name: str, kind: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the declaration of a document within a sample; ``kind`` is FiftyOne's class."""
    own = f"fiftyone.core.{kind}"
    return _field(name, "EmbeddedDocumentField", embedded_doc_type=own, fields=fields)


DETECTIONS = _field(
    "detections",
    "ListField",
    subfield="fiftyone.core.fields.EmbeddedDocumentField",
    embedded_doc_type="fiftyone.core.labels.Detection",
    fields=[
        _field("id", "ObjectIdField", db_field="_id"),
        _strings("tags"),
        _field("label", "StringField"),
        _field("bounding_box", "ListField", subfield="fiftyone.core.fields.FloatField"),
        _field("mask", "ArrayField"),
        *(_field(name, TYPES[kind]) for name, kind in DETECTION.items()),
    ],
)
SAMPLE_FIELDS = [
    *(_field(name, kind, db_field=own) for name, (kind, own) in BUILT_IN.items()),
    _strings("tags"),
    _embedded(
        "metadata",
        "metadata.ImageMetadata",
        [_field(name, TYPES[kind]) for name, kind in METADATA.items()],
    ),
    *(_field(name, TYPES[kind]) for name, kind in FIELDS.items()),
    _embedded("ground_truth", "labels.Detections", [DETECTIONS]),
]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FiftyOne:
    """``metadata.json``, ``samples.json`` and the images in ``data/``; media=refer: where they are.

    Defects are detections with masks in the field ``ground_truth``, the split is a tag, and
    ``synthgen_id`` is the sample id, since FiftyOne has ids of its own.
    """

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one; ``loss`` has nothing to be told.

        Raises ConfigError where media refers to images that are not files on this machine.
        """
        dataset = {
            "name": "synthgen",
            "version": LAYOUT,
            "media_type": "image",
            "tags": [],
            "info": {"synthetic": any(image.is_synthetic for image in labels)},
            "default_classes": list(labels.classes),
            "sample_fields": SAMPLE_FIELDS,
            "frame_fields": [],
        }
        # ASCII, since FiftyOne reads metadata.json in the encoding of the machine
        text = json.dumps(dataset, indent=1)
        (folder / "metadata.json").write_text(text + "\n", encoding="ascii")
        with (folder / "samples.json").open("w", encoding="ascii") as file:
            file.write('{"samples": [')
            for number, image in enumerate(labels):
                path = place_or_refer(image, folder, "data", media)
                file.write(",\n" if number else "\n")
                file.write(json.dumps(_sample(labels, image, path)))
            file.write("\n]}\n")


def _sample(labels: LabelledSet, image: LabelledImage, path: str) -> dict[str, Any]:
    """Return the document of an image; ``path`` is seen from the folder of the dataset."""
    facts = image_facts(image) | {"synthgen_id": image.sample_id}
    known = {name: facts.get(name) for name in FIELDS}
    detections = [
        _detection(image, facts, defect.mask(image.size_hw))
        for facts, defect in zip(defect_facts(labels, image), image.defects, strict=True)
    ]
    # from all that is known, as sample ids come again in every run
    digest = _digest([known, detections])
    for number, detection in enumerate(detections):
        detection["_id"] = {"$oid": _digest([digest, number])[:24]}
    return {
        "_id": {"$oid": digest[:24]},
        "_media_type": "image",
        "_rand": int(digest[24:32], 16) / 2**32,  # what FiftyOne shuffles by
        "filepath": path,
        "tags": [image.split],
        "metadata": {
            "_cls": "ImageMetadata",
            "mime_type": mimetypes.guess_type(path)[0],
            "width": image.size_hw[1],
            "height": image.size_hw[0],
        },
        **known,
        "ground_truth": {"_cls": "Detections", "detections": detections},
    }


def _detection(
    image: LabelledImage, facts: Mapping[str, Any], mask: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return the document of a defect; its box is x, y, width, height in shares of the image."""
    height, width = image.size_hw
    x, y, box_width, box_height = facts["bbox"]
    packed = pack_mask(mask[y : y + box_height, x : x + box_width])
    return {
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": facts["category"],
        "bounding_box": [x / width, y / height, box_width / width, box_height / height],
        "mask": {"$binary": {"base64": base64.b64encode(packed).decode("ascii"), "subType": "00"}},
        "class_id": facts["category_id"],
        "area_px": facts["area"],
        "defect_number": facts["id"],
        **{name: facts[name] for name in DEFECT_MEASURES},
    }


def pack_mask(mask: NDArray[np.bool_]) -> bytes:
    """Return a mask (h, w), cut out at its box, as FiftyOne keeps it: NumPy's file, compressed."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(mask), allow_pickle=False)
    return zlib.compress(file.getvalue())


def _digest(value: Any) -> str:
    """Return 40 hexadecimal digits that depend on a plain value alone."""
    return hashlib.sha1(json.dumps(value).encode("ascii"), usedforsecurity=False).hexdigest()
