"""Class ids of an export: those of the config, or 1, 2, 3, ... without gaps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from synthgen.errors import ConfigError
from synthgen.exporting.labels import LabelledImage, LabelledSet
from synthgen.realdata.settings import RealSettings
from synthgen.storage.files import write_text

__all__ = [
    "ClassIds",
    "check_same_ids",
    "number_contiguously",
    "read_class_ids",
    "write_class_ids",
]

ClassIds = Literal["config", "contiguous"]
CLASS_IDS = "class_ids.json"  # beside the formats of an export
MAX_UP = 4  # folders from the files of a format to that of its export
MAX_BYTES = 1 << 20


def number_contiguously(labels: LabelledSet, first: Mapping[str, int] | None = None) -> LabelledSet:
    """Return the set with class ids 1, 2, 3, ... in the order of its ids; 0 stays good.

    A network then needs one output a class, and one for good. Which ids there are depends on the
    classes alone, whether images show them or not. ``first``: ids that classes have already, as in
    a dataset that goes on; the others get the next free ones.

    >>> number_contiguously(LabelledSet({"pit": 9, "crack": 11}, [])).classes
    {'pit': 1, 'crack': 2}
    """
    known = {name: number for name, number in (first or {}).items() if name in labels.classes}
    free = (n for n in range(1, 255) if n not in (first or {}).values())
    classes = {name: known.get(name) or next(free) for name in labels.classes}
    new = {old: classes[name] for name, old in labels.classes.items()}
    images = [_renumber(image, new) for image in labels]
    run_ids = dict(labels.run_ids or labels.classes)
    return replace(labels, classes=classes, images=images, run_ids=run_ids)


def _renumber(image: LabelledImage, new: Mapping[int, int]) -> LabelledImage:
    defects = tuple(replace(defect, class_id=new[defect.class_id]) for defect in image.defects)
    facts = dict(image.facts)
    if facts.get("class_id"):
        facts["class_id"] = new[int(facts["class_id"])]
    before = image.stored_ids or {old: old for old in new}
    stored = {own: new[old] for own, old in before.items()} if image.label_path else {}
    return replace(image, defects=defects, facts=facts, stored_ids=stored)


def write_class_ids(labels: LabelledSet, folder: Path) -> None:
    """Write which ids the classes have, and whether they are the config's, into ``folder``."""
    mode: ClassIds = "contiguous" if labels.run_ids else "config"
    known = {"ids": mode, "classes": dict(labels.classes)}
    if labels.run_ids:
        known["run_ids"] = {name: labels.run_ids[name] for name in labels.classes}
    write_text(folder / CLASS_IDS, json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def read_class_ids(path: Path | str) -> tuple[ClassIds, dict[str, int]] | None:
    """Return how the classes of an earlier export are numbered; None where ``path`` is not in one.

    ``path``: its folder, or anything inside.
    """
    start = Path(path).expanduser().absolute()
    for folder in [start, *start.parents][:MAX_UP]:
        file = folder / CLASS_IDS
        try:
            known: Any = json.loads(file.read_bytes()[:MAX_BYTES]) if file.is_file() else None
        except (OSError, ValueError):
            continue
        if isinstance(known, dict) and known.get("ids") in ("config", "contiguous"):
            classes = known.get("classes")
            if isinstance(classes, dict) and all(_is_id(one) for one in classes.values()):
                return known["ids"], classes
    return None


def _is_id(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= 254


def check_same_ids(labels: LabelledSet, ids: ClassIds, real: RealSettings) -> None:
    """Raise ConfigError where real images come from an export whose classes have other ids.

    A model that learned from the one dataset would take its classes for others in the next.
    ``labels``: what is to be exported. Values of masks that ``real.classes`` names must be those of
    that export, too.
    """
    found = read_class_ids(real.path or "") if real.path else None
    if found is None:
        return
    mode, before = found
    for name, value in (real.classes or {}).items():
        if isinstance(value, int) and name in before and before[name] != value:
            raise ConfigError(
                f"real.classes={{{name}: {value}}}, but {real.path} is of an export in which "
                f"{name} has the id {before[name]}; give the ids of its {CLASS_IDS}"
            )
    other = [name for name, n in labels.classes.items() if before.get(name, n) != n]
    if mode != ids and other:
        name, number = other[0], labels.classes[other[0]]
        raise ConfigError(
            f"{real.path} is of an export with ids={mode}, in which {name} has the id "
            f"{before[name]}; here it would be {number}: give ids={mode}, as there, or export that "
            f"one again with ids={ids}"
        )
