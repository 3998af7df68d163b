"""datasheet.md: how an exported dataset was made, what is in it and what it cannot do."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from synthgen.backends.checkpoints.find import find_checkpoint
from synthgen.errors import ModelError
from synthgen.exporting.labels import LabelledSet
from synthgen.exporting.losses import LabelLoss
from synthgen.imaging.silence import silent_warnings
from synthgen.quality.limits import read_limits
from synthgen.quality.measures import MEASURES
from synthgen.runs.manifest import photo_of
from synthgen.storage.files import write_text
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
    loader = PackageLoader("synthgen.exporting", ".")
    environment = Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda value: str(value).replace("|", "\\|")
    described = []
    for name in sorted(formats):
        loss = losses.get(name)
        rows = [] if loss is None else loss.table().to_dict("records")
        lost = [row for row in rows if row["worst_iou"] < 1]
        described.append({"name": name, "lost": lost, "notes": [] if loss is None else loss.notes})
    text = environment.get_template("datasheet.md.j2").render(
        not_stated=NOT_STATED,
        notes=notes,
        known_limits=KNOWN_LIMITS,
        formats=described,
        **_describe_images(labels),
        **_describe_sources(labels),
        **_describe_making(labels),
        **_describe_quality(labels),
    )
    write_text(folder / "datasheet.md", re.sub(r"\n{3,}", "\n\n", text))
    return folder / "datasheet.md"


def _describe_images(labels: LabelledSet) -> dict[str, Any]:
    """Return what is in the set: images, defects and parts by class and split, and their origins.

    ``shared_parts`` counts the parts that are in more than one split.
    """
    counts, by_split = labels.counts(), {name: labels.of_split(name) for name in labels.splits}
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
        "splits": list(by_split),
        "classes": [
            {
                "name": name,
                "id": labels.classes[name],
                "counts": list(counts.loc[name]),
                "defects": defects[labels.classes[name]],
            }
            for name in used
        ],
        "run_ids": labels.run_ids,
        "good": list(counts.iloc[-1]),
        "unused": [
            f"{name} ({labels.classes[name]})" for name in labels.classes if name not in used
        ],
        "split_rows": [
            {"name": split, "images": len(own), "parts": len({image.group for image in own})}
            for split, own in by_split.items()
        ],
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


def _describe_kinds(labels: LabelledSet) -> list[dict[str, Any]]:
    """Return rows of size, depth and colours, the most frequent first.

    Of a PNG only the header is read. Beyond ``MAX_KINDS`` rows the rest is one row, the last.
    """
    kinds: Counter[tuple[tuple[int, int], str]] = Counter()
    for image in labels:
        header = image.path.read_head(26)
        if header.startswith(SIGNATURE):  # Pillow would not tell 16 bit colour from 8
            depth, colours = header[24:]  # of the IHDR chunk, the first of every PNG
            pixels = f"PNG, {depth} bit {PNG_COLOURS[colours]}"
        else:
            data = io.BytesIO(image.path.read_bytes())
            # an image that is large, or has a bad tag, is no reason to stop
            with silent_warnings, Image.open(data) as opened:
                pixels = f"{opened.format}, {MODES.get(opened.mode, opened.mode)}"
        kinds[image.size_hw, pixels] += 1
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


def _describe_sources(labels: LabelledSet) -> dict[str, Any]:
    """Return what the images were made from; a folder is named without the way to it."""
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
    """Return the settings that the run recorded, those that say something."""
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
        **_find_licences(record),
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


def _find_licences(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the licence of each model: as the run recorded it, or else as its card states it.

    The card counts only where exactly that checkpoint, by its digest, is at hand.
    """
    checkpoint = str(record.get("checkpoint") or "")
    if not checkpoint:
        return {}
    name, _, digest = checkpoint.rpartition("@")
    models = record.get("models") or {}
    if not models:
        try:
            found = find_checkpoint(name)
            models = {"checkpoint": {"licence": found.licence if found.digest == digest else None}}
        except (ModelError, OSError):
            models = {"checkpoint": {}}
    return {
        f"licence of the {what}": model.get("licence") or NOT_STATED
        for what, model in models.items()
    }


def _name_transforms(config: Mapping[str, Any], part: str) -> str:
    """Return the transforms of an augmentation in order, '' where there is none."""
    node = (config.get("augment") or {}).get(part) or {}
    return ", ".join(str(each.get("name")) for each in node.get("transforms") or [])


def _describe_quality(labels: LabelledSet) -> dict[str, Any]:
    """Return the spread of each measure over the synthetic defect images, and the limits."""
    facts = [image.facts for image in labels if image.is_synthetic and image.defects]
    figures = []
    for name, meaning in MEANINGS.items():
        known = [math.nan if fact.get(name) is None else float(fact[name]) for fact in facts]
        values = np.array(known)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        low, median, high = (
            f"{value:.0f}" if value >= 100 else f"{value:.3g}"
            for value in np.percentile(values, (5, 50, 95))
        )
        shown = {"low": low, "median": median, "high": high}
        figures.append({"name": name, "meaning": meaning, "n": len(values), **shown})
    record = labels.record
    limits = read_limits(record.get("quality") or record.get("config", {}).get("quality"))
    bounds = [(name, "all", own) for name, own in limits.shared.items()]
    for kind, others in limits.per_class.items():
        bounds += [(name, kind, own) for name, own in others.items()]
    rows = []
    for name, kind, own in sorted(bounds, key=lambda row: row[:2]):
        least, most = ("" if value is None else f"{value:g}" for value in own)
        rows.append({"name": name, "class": kind, "least": least, "most": most})
    return {"figures": figures, "limits": rows}
