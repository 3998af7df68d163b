"""labels.csv: the images of an export as a table; croissant.json: what is in its folder."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from synthgen.exporting.datasheet import KNOWN_LIMITS
from synthgen.exporting.labels import LabelledSet
from synthgen.storage.files import defuse, write_text

__all__ = ["NO_CROISSANT", "write_croissant", "write_label_table"]

NO_CROISSANT = (
    "croissant.json is left out, it needs the package mlcroissant: "
    "pip install 'synthgen-inspection[formats]'"
)
TABLE, FILE = "labels.csv", "croissant.json"
SEPARATOR = ";"  # between the classes of an image
COLUMNS = {
    "sample_id": ("Text", "Name of the image, the same in all formats"),
    "file": ("Text", "Image file, seen from this folder; empty where it is in a file of many"),
    "split": ("Text", "train, val or test"),
    "group": ("Text", "Physical part or drawn surface behind the image; never in two splits"),
    "width": ("Integer", "Pixels"),
    "height": ("Integer", "Pixels"),
    "classes": ("Text", f"Classes of its defects, with {SEPARATOR} between; good = none"),
    "defects": ("Integer", "Labelled defects"),
    "area_px": ("Integer", "Pixels of all its labels together"),
    "synthetic": ("Boolean", "Whether any part of it is drawn or painted"),
    "digital_source": ("Text", "How it came to be, in the IPTC's word; empty for a photograph"),
}
CONTEXT_1_1 = {  # what Croissant 1.1 added to the words of 1.0, which the library starts from
    "arrayShape": "cr:arrayShape",
    "containedIn": "cr:containedIn",
    "description": {"@container": "@language"},
    "isArray": "cr:isArray",
    "name": {"@container": "@language"},
}
OF_LABELS = ("mask", "label", "annotation", "segmentation", "ground_truth", "instance")
MIME_TYPES = {
    ".bmp": "image/bmp",
    ".csv": "text/csv",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".md": "text/markdown",
    ".parquet": "application/x-parquet",
    ".png": "image/png",
    ".tar": "application/x-tar",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".txt": "text/plain",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".zip": "application/zip",
}
LABELLING = (
    "Masks are measured, not drawn: the pixels of the finished image that visibly differ from the "
    "surface before the defect. Boxes and areas are those of the masks."
)


def write_label_table(labels: LabelledSet, folder: Path) -> Path:
    """Write ``labels.csv`` into ``folder``, one row per image, and return its path.

    ``file`` is the image in the first of the formats that are written there and have it as a file
    of its own. Raises RunError where the disk refuses.
    """
    wanted = {image.file_name for image in labels}
    files: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        inside = PurePosixPath(path.relative_to(folder).as_posix())
        places = "/".join(inside.parts[1:-1]).lower()
        # masks may have the names of their images; they lie in folders that say so
        if path.name in wanted and not any(word in places for word in OF_LABELS):
            files.setdefault(path.name, str(inside))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    for image in labels:
        row = {
            "sample_id": image.sample_id,
            "file": files.get(image.file_name, ""),
            "split": image.split,
            "group": image.group,
            "width": image.size_hw[1],
            "height": image.size_hw[0],
            "classes": SEPARATOR.join(labels.kinds(image)),
            "defects": len(image.defects),
            "area_px": sum(defect.area_px for defect in image.defects),
            "synthetic": str(image.is_synthetic).lower(),
            "digital_source": image.digital_source,
        }
        writer.writerow({name: defuse(cell) for name, cell in row.items()})
    write_text(folder / TABLE, text.getvalue())
    return folder / TABLE


def write_croissant(labels: LabelledSet, folder: Path) -> Path | None:
    """Write ``labels.csv`` and ``croissant.json`` (Croissant 1.1) for all that is in ``folder``.

    To be called last. Formats are described by patterns of names; only the small files beside them
    are hashed. No date and no licence but that of ``labels.record["licence"]``, an address or an
    SPDX id. Returns None, with the table written, where mlcroissant is missing. Raises RunError
    where the disk refuses.
    """
    table = write_label_table(labels, folder)
    try:
        import mlcroissant
    except ImportError:
        return None
    rdf = mlcroissant.Rdf()
    rdf.context |= CONTEXT_1_1
    context = mlcroissant.Context(conforms_to="http://mlcommons.org/croissant/1.1", rdf=rdf)
    metadata = mlcroissant.Metadata(
        ctx=context,
        name=f"synthgen-{labels.record.get('digest', 'dataset')}",
        version="1.0.0",
        license=labels.record.get("licence"),
        distribution=_list_files(mlcroissant, context, folder),
        record_sets=[_records(mlcroissant, context, table)],
        **_describe(labels),
    )
    data = metadata.to_json()
    data["rai:hasSyntheticData"] = any(image.is_synthetic for image in labels)  # not in the library
    write_text(folder / FILE, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    return folder / FILE


def _describe(labels: LabelledSet) -> Mapping[str, Any]:
    """Return the description and those fields of Croissant's RAI vocabulary that are known."""
    counts = labels.counts()
    names = [name for name in labels.classes if counts.loc[name].sum()]
    versions = labels.record.get("versions") or {}
    maker = f"synthgen {versions.get('synthgen-inspection', '')}".strip()
    synthetic = sum(image.is_synthetic for image in labels)
    others = len(labels) - synthetic
    return {
        "description": (
            f"{len(labels)} images of surfaces for defect detection, {synthetic} of them synthetic,"
            f" with a mask for every defect. Classes: {', '.join(names) or 'none'}. Splits: "
            f"{', '.join(labels.splits)}. More in datasheet.md."
        ),
        "data_collection": (
            f"{synthetic} images were made by {maker} on photographs of good parts or on drawn "
            f"surfaces, {others} are photographs as they were taken. How: datasheet.md."
        ),
        "data_collection_type": ["Synthetic"] if synthetic else None,
        "data_annotation_protocol": [LABELLING] if synthetic else None,
        "machine_annotation_tools": [maker] if synthetic else None,
        "data_limitations": list(KNOWN_LIMITS),
    }


def _list_files(mlcroissant: Any, context: Any, folder: Path) -> list[Any]:
    """Describe the files beside the formats, with hashes, then each format's, a set for a kind."""
    inside = sorted(folder.iterdir())
    described = [
        mlcroissant.FileObject(
            ctx=context,
            id=path.name,
            name=path.name,
            content_url=path.name,
            encoding_formats=[_mime_type(path)],
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in inside
        if path.is_file() and path.name != FILE
    ]
    for place in (path for path in inside if path.is_dir()):
        for suffix in sorted({path.suffix for path in place.rglob("*") if path.is_file()}):
            name = f"{place.name}-{suffix[1:] or 'other'}"
            described.append(
                mlcroissant.FileSet(
                    ctx=context,
                    id=name,
                    name=name,
                    encoding_formats=[_mime_type(Path(f"x{suffix}"))],
                    includes=[f"{place.name}/*{suffix}", f"{place.name}/**/*{suffix}"],
                )
            )
    return described


def _mime_type(path: Path) -> str:
    return MIME_TYPES.get(path.suffix.lower(), "application/octet-stream")


def _records(mlcroissant: Any, context: Any, table: Path) -> Any:
    """Describe the rows of the table, column by column."""
    fields = []
    for name, (kind, description) in COLUMNS.items():
        is_list = name == "classes"
        transforms = [mlcroissant.Transform(ctx=context, separator=SEPARATOR)] if is_list else []
        fields.append(
            mlcroissant.Field(
                ctx=context,
                id=f"images/{name}",
                name=name,
                description=description,
                data_types=[f"https://schema.org/{kind}"],
                is_array=True if is_list else None,
                source=mlcroissant.Source(
                    ctx=context,
                    file_object=table.name,
                    extract=mlcroissant.Extract(ctx=context, column=name),
                    transforms=transforms,
                ),
            )
        )
    return mlcroissant.RecordSet(ctx=context, id="images", name="images", fields=fields)
