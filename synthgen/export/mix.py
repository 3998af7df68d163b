"""Mix a run with real images: real validation and test images stay as they are, and unseen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synthgen.bank.formats import find_coco
from synthgen.errors import SourceError
from synthgen.export.coco import read_coco
from synthgen.export.labels import LabelledImage, LabelledSet
from synthgen.export.mvtec import read_mvtec
from synthgen.images import read_image
from synthgen.runs.manifest import photo_of
from synthgen.seeds import stream
from synthgen.storage import StoredFile

__all__ = ["Mixed", "mix", "read_real"]

TRAIN = "train"
PREFIX = "real-"


def read_real(root: Path) -> LabelledSet:
    """Read real images: COCO (``annotations/*_<split>.json``) or one category of MVTec AD's tree.

    Raises SourceError where the folder is neither, or is broken.
    """
    if not root.is_dir():
        raise SourceError(f"real.path={str(root)!r} is no folder; give a COCO or MVTec AD folder")
    if (root / "annotations").is_dir():
        return _read_coco_splits(root)
    if (root / "train").is_dir() or (root / "test").is_dir():
        found = read_mvtec(root)
        if found.images:
            return found
    raise SourceError(
        f"real.path={str(root)!r} is neither COCO (annotations/instances_<split>.json and "
        "<split>/*.png) nor one category of MVTec AD (train/good, test/<class>, ground_truth)"
    )


def _read_coco_splits(root: Path) -> LabelledSet:
    sets = [read_coco(*place) for place in find_coco(root)]
    names = sorted({name for one in sets for name in one.classes})
    classes = dict(sets[0].classes)
    for name in names:
        classes.setdefault(name, max(classes.values(), default=0) + 1)
    return LabelledSet(classes, [image for one in sets for image in renumber(one, classes).images])


def renumber(labels: LabelledSet, classes: dict[str, int]) -> LabelledSet:
    """Return the set with the class ids of ``classes``, by name; it has all names of the set."""
    new = {old: classes[name] for old, name in labels.names.items()}
    images = [
        replace(i, defects=tuple(replace(d, class_id=new[d.class_id]) for d in i.defects))
        for i in labels
    ]
    return replace(labels, classes=classes, images=images)


@dataclass(frozen=True, slots=True)
class Mixed:
    """Real and synthetic images, and sentences on what was left out."""

    labels: LabelledSet
    notes: Sequence[str]


def mix(synthetic: LabelledSet, real: LabelledSet, per_real: float | None, seed: int) -> Mixed:
    """Return the real images in their own splits, with synthetic ones in ``train``.

    ``per_real``: synthetic images per real one in train, every class alike; None = all. A synthetic
    image whose photo is a real image outside of train is left out, by the pixels of that photo,
    whatever was made of it since.
    Class ids are the run's; further real classes get the next ones, by name.
    """
    notes = []
    classes = dict(synthetic.classes)
    for name in sorted(set(real.classes) - set(classes)):
        classes[name] = max(classes.values(), default=0) + 1
    own = [
        replace(image, sample_id=PREFIX + image.sample_id, group=PREFIX + image.group)
        for image in renumber(real, classes)
    ]
    held_out = {_digest(image.path) for image in own if image.split != TRAIN}
    known: dict[str, str] = {}
    free = []
    for image in synthetic:
        photo = photo_of(image.facts)
        if photo and photo not in known:  # many images have one source
            known[photo] = _digest(StoredFile.at(Path(photo)))
        if known.get(photo) not in held_out:
            free.append(replace(image, split=TRAIN))
    if leaked := len(synthetic) - len(free):
        notes.append(
            f"{leaked} synthetic images are left out: their sources are real images that are not "
            "in train"
        )
    if per_real is not None:
        wanted = round(per_real * sum(image.split == TRAIN for image in own))
        if wanted > len(free):
            notes.append(f"{wanted} synthetic images were asked for, {len(free)} are there")
        free = _pick(synthetic, free, wanted, seed)
    return Mixed(replace(synthetic, classes=classes, images=[*own, *free]), notes)


def _pick(
    labels: LabelledSet, images: Sequence[LabelledImage], count: int, seed: int
) -> list[LabelledImage]:
    """Return ``count`` of the images, every class alike, drawn by the seed."""
    queues: dict[str, list[LabelledImage]] = {}
    for place in stream(seed, "mix").permutation(len(images)):
        image = images[int(place)]
        queues.setdefault(labels.kinds(image)[0], []).append(image)
    picked: list[LabelledImage] = []
    while len(picked) < count and any(queues.values()):
        for kind in sorted(queues):
            if queues[kind] and len(picked) < count:
                picked.append(queues[kind].pop())
    return picked


def _digest(file: StoredFile) -> str:
    """Return a digest of the pixels, which a copy in another format shares."""
    if not file.is_file():
        raise SourceError(f"{file} is named by the data but missing")
    pixels = read_image(file)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
