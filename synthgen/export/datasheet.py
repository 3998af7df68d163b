"""datasheet.md: how an exported dataset was made, what is in it and what it cannot do."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from synthgen.backends.checkpoints.find import find_checkpoint
from synthgen.errors import ModelError
from synthgen.export.labels import LabelledImage, LabelledSet
from synthgen.export.losses import LabelLoss
from synthgen.imaging.silence import silent_warnings
from synthgen.quality.limits import Bounds, read_limits
from synthgen.quality.measures import MEASURES
from synthgen.runs.manifest import photo_of
from synthgen.storage.files import write_text
from synthgen.storage.places import StoredFile
from synthgen.storage.provenance import DRAWN, ENHANCED, PAINTED, PASTED, SIGNATURE

__all__ = ["KNOWN_LIMITS", "write_datasheet"]

NOT_STATED = "not stated"
MAX_KINDS = 10  # rows of image sizes
KNOWN_LIMITS = (
    "Synthetic defects look like what their generator draws and paints. Scores on them say little "
    "about real defects: keep real images that no training has seen for the test.",
    "Classes and their counts are as planned, not as they occur in production.",
    "Only the listed classes are labelled. What else is on a photograph, dirt or an old scratch, "
    "is taken for good.",
    "Masks end where a change becomes visible. At soft borders another reader would draw the line "
    "a few pixels off.",
)
ORIGINS = {
    DRAWN: "drawn by a procedure, without a trained model",
    PASTED: "a photograph with a drawn defect",
    PAINTED: "a surface with a defect painted by a trained model",
    ENHANCED: "a photograph, varied as a whole",
    "": "a photograph, as it was taken",
}
MEANINGS = {one.name: one.in_words for one in MEASURES}
SETTINGS = {
    "init": "denoising starts from",
    "strength": "strength",
    "steps": "steps",
    "guidance": "guidance scale",
    "control_scale": "control scale",
    "scheduler": "scheduler",
    "dtype": "precision",
}
SAFETY = {
    "True": "on: it may have blacked out pictures, which black_fraction rejects",
    "False": "off, as it blacks out pictures of harmless surfaces",
}
PNG_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
MODES = {"L": "8 bit grey", "RGB": "8 bit RGB", "I;16": "16 bit grey", "I;16B": "16 bit grey"}


def write_datasheet(
    labels: LabelledSet,
    folder: Path,
    formats: Sequence[str],
    losses: Mapping[str, LabelLoss],
    notes: Sequence[str],
) -> Path:
    """Write ``datasheet.md`` into ``folder`` and return its path; the same set, the same file.

    Questions of Gebru et al. 2021 (https://arxiv.org/abs/1803.09010). Only what the set and the
    record of its run say is stated; folders are named without the way to them. Raises RunError.
    """
    loader = PackageLoader("synthgen.export", ".")
    environment = Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda value: str(value).replace("|", "\\|")
    text = environment.get_template("datasheet.md.j2").render(
        not_stated=NOT_STATED,
        notes=notes,
        known_limits=KNOWN_LIMITS,
        formats=[_describe_format(name, losses.get(name)) for name in sorted(formats)],
        **_describe_images(labels),
        **_describe_sources(labels),
        **_describe_making(labels),
        **_describe_quality(labels),
    )
    write_text(folder / "datasheet.md", re.sub(r"\n{3,}", "\n\n", text))
    return folder / "datasheet.md"


def _describe_images(labels: LabelledSet) -> dict[str, Any]:
    counts, splits = labels.counts(), labels.splits
    defects = Counter(defect.class_id for image in labels for defect in image.defects)
    synthetic = sum(image.is_synthetic for image in labels)
    origins = Counter(image.digital_source for image in labels)
    parts = Counter(group for _, group in {(i.split, i.group) for i in labels})
    used = [name for name in labels.classes if defects[labels.classes[name]]]
    return {
        "images": len(labels),
        "with_defects": sum(bool(image.defects) for image in labels),
        "defects": defects.total(),
        "synthetic": synthetic,
        "share": f"{synthetic / len(labels):.0%}" if len(labels) else "none",
        "splits": splits,
        "classes": [
            {
                "name": name,
                "id": labels.classes[name],
                "counts": list(counts.loc[name]),
                "defects": defects[labels.classes[name]],
            }
            for name in used
        ],
        "good": list(counts.iloc[-1]),
        "unused": [
            f"{name} ({labels.classes[name]})" for name in labels.classes if name not in used
        ],
        "split_rows": [_describe_split(split, labels.of_split(split)) for split in splits],
        "shared_parts": sum(count > 1 for count in parts.values()),
        "kinds": _describe_kinds(labels),
        "origins": [
            {"what": what, "term": term or "none", "images": origins[term]}
            for term, what in ORIGINS.items()
            if origins[term]
        ],
        "edited": Counter(str(i.facts["edited_by"]) for i in labels if i.facts.get("edited_by")),
        "reviewers": labels.record.get("review", {}).get("reviewers", {}),
        "rejected": sum(image.facts.get("status") == "rejected" for image in labels),
    }


def _describe_split(name: str, images: Sequence[LabelledImage]) -> dict[str, Any]:
    return {"name": name, "images": len(images), "parts": len({image.group for image in images})}


def _describe_kinds(labels: LabelledSet) -> list[dict[str, Any]]:
    """Return rows of size, depth and colours, the most frequent first."""
    kinds = Counter((image.size_hw, _pixels_of(image.path)) for image in labels)
    order = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    rows = [
        {"size": f"{width} x {height}", "pixels": pixels, "images": count}
        for ((height, width), pixels), count in order
    ]
    if len(rows) <= MAX_KINDS:
        return rows
    rest = sum(count for _, count in order[MAX_KINDS:])
    pixels = ", ".join(sorted({pixels for (_, pixels), _ in order[MAX_KINDS:]}))
    return [*rows[:MAX_KINDS], {"size": "others", "pixels": pixels, "images": rest}]


def _pixels_of(file: StoredFile) -> str:
    """Return the format, depth and colours of an image file; of a PNG only the header is read."""
    header = file.read_head(26)
    if header.startswith(SIGNATURE):  # Pillow would not tell 16 bit colour from 8
        depth, colours = header[24:]  # of the IHDR chunk, the first of every PNG
        return f"PNG, {depth} bit {PNG_COLOURS[colours]}"
    data = io.BytesIO(file.read_bytes())
    with silent_warnings, Image.open(data) as opened:  # large, or with a bad tag: no reason to stop
        return f"{opened.format}, {MODES.get(opened.mode, opened.mode)}"


def _describe_sources(labels: LabelledSet) -> dict[str, Any]:
    record = labels.record.get("config", {})
    source, bank = record.get("source") or {}, record.get("bank") or {}
    made = [image.facts for image in labels if image.facts.get("source_path")]
    return {
        "drawn": len({str(fact["source_id"]) for fact in made if not photo_of(fact)}),
        "photographs": len({photo_of(fact) for fact in made} - {""}),
        "folder": _name_of(source.get("path")),
        "source_licence": source.get("licence") or f"{NOT_STATED} by the run",
        "real": sum(not image.facts for image in labels),
        "bank": _name_of(bank["path"]) if bank.get("path") else "",
    }


def _name_of(path: str | None) -> str:
    """Return the last part of a path; the way to it is of the machine, not of the dataset."""
    return Path(path or "").name or NOT_STATED


def _describe_making(labels: LabelledSet) -> dict[str, Any]:
    record = labels.record
    config, checkpoint = record.get("config", {}), str(record.get("checkpoint") or "")
    backend = config.get("backend") or {}
    asked = {**(backend.get("painting") or {}), **(backend.get("hardware") or {})}
    name, _, digest = checkpoint.rpartition("@")
    prompts = sorted({str(i.facts.get("prompt") or "") for i in labels if i.defects} - {""})
    versions = record.get("versions") or {}
    settings = {
        "backend": record.get("backend") or NOT_STATED,
        "checkpoint": f"{_name_of(name)}, digest {digest}" if checkpoint else "none",
        **(_licences(record, name, digest) if checkpoint else {}),
        "safety checker": SAFETY.get(str(record.get("safety_checker")), ""),
        **{SETTINGS[key]: asked[key] for key in SETTINGS if asked.get(key) is not None},
        "repainted beyond the mask": f"{config['mask']['margin_px']} px"
        if "mask" in config
        else "",
        "sources varied by": _name_transforms(config, "source"),
        "images finished by": _name_transforms(config, "finish"),
        "paintings a try": (config.get("run") or {}).get("candidates", ""),
        "prompts": f'{len(prompts)}, e.g. "{prompts[0]}"' if prompts else "",
        "seed": config.get("seed", NOT_STATED),
        "versions": ", ".join(f"{k} {v}" for k, v in sorted(versions.items())) or NOT_STATED,
    }
    return {
        "checkpoint": checkpoint,
        "settings": {key: value for key, value in settings.items() if value != ""},
        "digest": record.get("digest", ""),
        "licence": record.get("licence") or NOT_STATED,
    }


def _licences(record: Mapping[str, Any], name: str, digest: str) -> dict[str, str]:
    """Return the licence of each model: as the run recorded it, or else as its card states it."""
    models = record.get("models") or {"checkpoint": {"licence": _find_licence(name, digest)}}
    return {
        f"licence of the {what}": model.get("licence") or NOT_STATED
        for what, model in models.items()
    }


def _name_transforms(config: Mapping[str, Any], part: str) -> str:
    """Return the transforms of an augmentation in order, '' where there is none."""
    node = (config.get("augment") or {}).get(part) or {}
    return ", ".join(str(each.get("name")) for each in node.get("transforms") or [])


def _find_licence(name: str, digest: str) -> str:
    """Return the licence in a checkpoint's own card, where exactly that one is at hand."""
    try:
        found = find_checkpoint(name)
    except (ModelError, OSError):
        return NOT_STATED
    return (found.licence if found.digest == digest else None) or NOT_STATED


def _describe_quality(labels: LabelledSet) -> dict[str, Any]:
    facts = [image.facts for image in labels if image.is_synthetic and image.defects]
    rows = [(name, _numbers(fact.get(name) for fact in facts)) for name in MEANINGS]
    record = labels.record
    plain = record.get("quality") or record.get("config", {}).get("quality")
    limits = read_limits(plain)
    bounds = [(name, "all", own) for name, own in limits.shared.items()]
    for kind, others in sorted(limits.per_class.items()):
        bounds += [(name, kind, own) for name, own in others.items()]
    return {
        "figures": [_describe_figure(name, values) for name, values in rows if len(values)],
        "limits": [_describe_bounds(*row) for row in sorted(bounds, key=lambda r: r[:2])],
    }


def _numbers(values: Iterable[Any]) -> Any:
    known = np.array([np.nan if value is None else float(value) for value in values])
    return known[np.isfinite(known)]


def _describe_figure(name: str, values: Any) -> dict[str, Any]:
    low, median, high = (
        f"{value:.0f}" if value >= 100 else f"{value:.3g}"
        for value in np.percentile(values, (5, 50, 95))
    )
    shown = {"low": low, "median": median, "high": high}
    return {"name": name, "meaning": MEANINGS[name], "n": len(values), **shown}


def _describe_bounds(name: str, kind: str, bounds: Bounds) -> dict[str, Any]:
    least, most = ("" if value is None else f"{value:g}" for value in bounds)
    return {"name": name, "class": kind, "least": least, "most": most}


def _describe_format(name: str, loss: LabelLoss | None) -> dict[str, Any]:
    rows = [] if loss is None else loss.table().to_dict("records")
    lost = [row for row in rows if row["worst_iou"] < 1]
    return {"name": name, "lost": lost, "notes": [] if loss is None else loss.notes}
