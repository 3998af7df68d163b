"""The rows of a run as documents of FiftyOne's database."""

from __future__ import annotations

import hashlib
import json
import math
import mimetypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.exporting.formats.fiftyone_dataset import pack_mask
from synthgen.imaging.geometry import mask_to_box, rle_to_mask
from synthgen.references.items import BankItem
from synthgen.review.fields import CONTROL, DEFECTS, IMAGE, REAL, SOURCE
from synthgen.review.media import ShownFiles
from synthgen.review.service.database import new_id
from synthgen.runs.reader import RunTables
from synthgen.runs.reviews.verdicts import Judgement
from synthgen.runs.schema import Kind, columns_of
from synthgen.storage.places import StoredFile, open_storage

__all__ = [
    "FIELDS",
    "LABEL_FIELDS",
    "digest_labels",
    "document_real",
    "document_rows",
    "has_edits",
    "labels_of",
]

AS_LIST = "reasons"  # one text in the manifest, a list here
FIELDS: dict[str, Kind] = {  # of the image slice
    "synthgen_id": "str",  # FiftyOne has ids of its own
    **{one.name: one.kind for one in columns_of("manifest") if one.group and one.name != AS_LIST},
    "verdict": "str",
    "reason": "str",
    "reviewer": "str",
    "row_digest": "str",
    "label_digest": "str",
}
LABEL_FIELDS: dict[str, Kind] = {  # of a detection
    "defect_number": "int64",  # instance_id is a word of FiftyOne's own
    **{one.name: one.kind for one in columns_of("instances") if one.group and one.kind != "str"},
}
Document = dict[str, Any]


def document_rows(
    run: RunTables,
    judged: Mapping[str, Judgement],
    files: ShownFiles,
    known: Mapping[str, str],
) -> Iterator[dict[str, Document]]:
    """Yield for each sample the documents of its slices, by slice, in the order of the manifest.

    ``judged``: what people say of samples, by id. ``known``: digests of the rows that are shown
    already, by id; a sample whose row, defects and judgement did not change is left out, as is one
    that came to no image. Raises RunError where a file of a sample is gone.
    """
    manifest = run.manifest
    defects: dict[str, list[dict[Any, Any]]] = {}
    for row in run.instances.to_dict("records"):
        defects.setdefault(str(row["sample_id"]), []).append(row)
    for row in manifest[manifest["image"] != ""].to_dict("records"):
        sample_id = str(row["sample_id"])
        own = defects.get(sample_id, [])
        judgement = judged.get(sample_id)
        shown = [_plain(row), [_plain(one) for one in own], repr(judgement)]
        text = json.dumps(shown, sort_keys=True).encode("utf-8")
        digest = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        if known.get(sample_id) != digest:
            facts = _facts(row, judgement) | {"row_digest": digest}
            yield _document_sample(run, row, own, facts, files)


def _facts(row: Mapping[Any, Any], judgement: Judgement | None) -> Document:
    """Return what is known of a sample as fields of its image slice; none is left out."""
    plain = _plain(row)
    reasons = [reason for reason in str(plain.get("reasons") or "").split("; ") if reason]
    return {
        **{name: plain.get(name) for name in FIELDS},
        "synthgen_id": plain["sample_id"],
        "reasons": reasons,
        "broken": [reason.split()[0] for reason in reasons],  # the measures
        "verdict": judgement.verdict if judgement else None,
        "reason": judgement.reason if judgement else None,
        "reviewer": ", ".join(judgement.reviewers) if judgement else None,
        "decisions": [],
    }


def _document_sample(
    run: RunTables,
    row: Mapping[Any, Any],
    defects: Sequence[Mapping[Any, Any]],
    facts: Document,
    files: ShownFiles,
) -> dict[str, Document]:
    """Return the documents of a sample's slices; the labels are on the image slice alone."""
    size_hw = int(row["height"]), int(row["width"])
    labels = [
        _label(defect, rle_to_mask({"size": list(size_hw), "counts": defect["rle"]}))
        for defect in defects
    ]
    tags = [str(row["split"]), "synthetic" if row["defect_class"] else "good"]
    shared = {"synthgen_id": facts["synthgen_id"], "defect_class": facts["defect_class"]}
    paths = {
        name: files.path_of(run.stored(str(row[column])))
        for name, column in ((IMAGE, "image"), (SOURCE, "source_path"), (CONTROL, "control"))
    }
    documents = {
        name: {**_document_file(path, size_hw), "tags": tags, **shared}
        for name, path in paths.items()
    }
    documents[IMAGE] |= {
        **facts,
        DEFECTS: {"_cls": "Detections", "detections": labels},
        "realised": _document_map(files.path_of(run.stored(str(row["mask"])))),
        "asked": _document_map(files.path_of(run.stored(str(row["requested"])))),
        "label_digest": digest_labels(labels),
    }
    return documents


def document_real(item: BankItem, folder: str, files: ShownFiles) -> dict[str, Document]:
    """Return the documents of a real defect of the bank in ``folder``: its crop, and that clean.

    Its ``synthgen_id`` is ``real:<item>``, its tags are ``REAL`` and the split.
    """
    size_hw = item.mask.shape[0], item.mask.shape[1]
    row = {"defect_class": item.defect_class, "area_px": item.area_px, "instance_id": 1}
    facts = {"synthgen_id": f"{REAL}:{item.item_id}", "defect_class": item.defect_class}
    bank = open_storage(folder)
    documents = {
        name: {
            **_document_file(
                files.path_of(StoredFile(bank, f"{place}/{item.item_id}.png")), size_hw
            ),
            "tags": [REAL, item.split],
            **facts,
        }
        for name, place in ((IMAGE, "crops"), (SOURCE, "clean"))
    }
    contrast = item.contrast_delta_e
    documents[IMAGE] |= {
        "group": item.group,
        "split": item.split,
        "area_px": item.area_px,
        "contrast_delta_e": None if math.isnan(contrast) else contrast,
        "decisions": [],
        DEFECTS: {"_cls": "Detections", "detections": [_label(row, item.mask)]},
    }
    return documents


def digest_labels(labels: Iterable[Mapping[str, Any]]) -> str:
    """Return a digest of detections' classes, boxes and masks; it changes when people edit them.

    Boxes count to nine decimals. A change of anything else, as of a tag, does not count.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    for label in labels:
        box = [round(float(number), 9) for number in label["bounding_box"]]
        digest.update(repr((label.get("label"), box)).encode("utf-8"))
        digest.update(bytes(label.get("mask") or b""))
        digest.update(str(label.get("mask_path") or "").encode("utf-8"))
    return digest.hexdigest()


def labels_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the detections of an image's document; [] where it has no labels."""
    return list((document.get(DEFECTS) or {}).get("detections") or [])


def has_edits(document: Mapping[str, Any]) -> bool:
    """Say whether people changed its detections since they were shown or taken home."""
    return digest_labels(labels_of(document)) != document.get("label_digest")


def _label(row: Mapping[Any, Any], mask: NDArray[np.bool_]) -> Document:
    """Return a detection from a row of the instances and its mask (H, W), which is cropped."""
    height, width = mask.shape
    x, y, box_width, box_height = mask_to_box(mask)
    plain = _plain(row)
    return {
        "_id": new_id(),
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": plain["defect_class"],
        "bounding_box": [x / width, y / height, box_width / width, box_height / height],
        "mask": pack_mask(mask[y : y + box_height, x : x + box_width]),
        **{name: plain.get(name) for name in LABEL_FIELDS},
        "defect_number": plain["instance_id"],
    }


def _document_file(path: str, size_hw: tuple[int, int]) -> Document:
    return {
        "filepath": path,
        "metadata": {
            "_cls": "ImageMetadata",
            "mime_type": mimetypes.guess_type(path)[0],
            "width": size_hw[1],
            "height": size_hw[0],
        },
    }


def _document_map(path: str) -> Document:
    """Return a map of the whole image, whose pixels stay in the file at ``path``."""
    return {"_id": new_id(), "_cls": "Segmentation", "tags": [], "mask_path": path}


def _plain(row: Mapping[Any, Any]) -> Document:
    """Return a row with values of Python alone, None for a number that does not apply."""
    values = {
        str(name): getattr(value, "item", lambda value=value: value)()
        for name, value in row.items()
    }
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }
