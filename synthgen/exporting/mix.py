"""Mix a run with real images: real validation and test images stay as they are, and unseen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synthgen.errors import SourceError
from synthgen.exporting.labels import DefectLabel, LabelledImage, LabelledSet, label_defect
from synthgen.imaging.headers import read_orientation
from synthgen.imaging.images import read_image
from synthgen.progress import track
from synthgen.realdata.names import class_key
from synthgen.realdata.read import load_entries
from synthgen.realdata.settings import RealSettings
from synthgen.runs.manifest import photo_of
from synthgen.samples.seeds import stream
from synthgen.storage.places import StoredFile

__all__ = ["MixResult", "mix", "read_real_images"]

TRAIN = "train"
PREFIX = "real-"


def read_real_images(asked: Path | RealSettings, notes: list[str] | None = None) -> LabelledSet:
    """Read real images in any format of docs/reference/real-images.md; ids of classes are by name.

    ``notes`` gets sentences on what was guessed or left out. Of each image its run lengths are
    kept, not its masks. Raises SourceError, ShapeError or ConfigError where there are none, or
    some are broken.
    """
    settings = asked if isinstance(asked, RealSettings) else RealSettings(path=str(asked))
    found = load_entries(
        settings,
        lambda one: _KeptImage(
            defects=[(d.defect_class, label_defect(0, d.mask)) for d in one.defects],
            size_hw=one.size_hw,
            digital_source=one.digital_source,
            is_turned=read_orientation(one.path) != 1,
        ),
    )
    classes = {name: number for number, name in enumerate(found.classes, start=1)}
    images = [
        LabelledImage(
            sample_id=one.image_id,
            path=StoredFile.at(one.path),
            split=one.split,
            group=one.group,
            size_hw=one.taken.size_hw,
            defects=tuple(replace(d, class_id=classes[name]) for name, d in one.taken.defects),
            digital_source=one.taken.digital_source,
            is_turned=one.taken.is_turned,
        )
        for one in found.images
    ]
    if notes is not None:
        notes += found.notes
    return LabelledSet(classes, images)


@dataclass(frozen=True, slots=True)
class _KeptImage:
    """What is kept of a real image: run lengths by class, size, origin, whether EXIF turns it."""

    defects: Sequence[tuple[str, DefectLabel]]
    size_hw: tuple[int, int]
    digital_source: str
    is_turned: bool


@dataclass(frozen=True, slots=True)
class MixResult:
    """Real and synthetic images, and sentences on what was left out."""

    labels: LabelledSet
    notes: Sequence[str]


def mix(synthetic: LabelledSet, real: LabelledSet, per_real: float | None, seed: int) -> MixResult:
    """Return the real images in their own splits, with synthetic ones in ``train``.

    ``per_real``: synthetic images per real one in train, every class alike; None = all. A synthetic
    image whose photo is a real image outside of train is left out, by the pixels of that photo,
    whatever was made of it since.
    Class ids are the run's; further real classes get the next ones, by name. Raises SourceError
    where a class is written in two ways, where a photo is gone, and where ``per_real`` counts from
    a train split without real images.
    """
    notes = []
    joined = _join_classes(real, synthetic.classes)
    own = [
        replace(image, sample_id=PREFIX + image.sample_id, group=PREFIX + image.group)
        for image in joined
    ]
    unseen = [image for image in own if image.split != TRAIN]
    held_out = {
        _digest(image.path, image.sample_id)
        for image in track(unseen, "reading the images that are held out", unit="images")
    }
    known: dict[str, str] = {}
    free = []
    for image in track(synthetic, "looking for their photos among the sources", unit="images"):
        photo = photo_of(image.facts)
        if photo and photo not in known:  # many images have one source
            known[photo] = _digest(StoredFile.at(Path(photo)), image.sample_id)
        if known.get(photo) not in held_out:
            free.append(replace(image, split=TRAIN))
    if leaked := len(synthetic) - len(free):
        notes.append(
            f"{leaked} synthetic images are left out: their sources are real images that are not "
            "in train"
        )
    splits = ", ".join(joined.splits)
    to_learn = sum(image.split == TRAIN for image in own)
    if own and not to_learn:
        notes.append(f"no real image is in train: the real splits are {splits}")
    if per_real is not None:
        if own and not to_learn and per_real > 0:
            raise SourceError(
                f"real.synthetic_per_real={per_real:g} counts from the real images in train, and "
                f"there are none: their splits are {splits}; leave it out to take all, or give "
                "real.split=train where the files name no split"
            )
        wanted = round(per_real * to_learn)
        if wanted > len(free):
            notes.append(f"{wanted} synthetic images were asked for, {len(free)} are there")
        free = _pick(synthetic, free, wanted, seed)
    return MixResult(replace(synthetic, classes=joined.classes, images=[*own, *free]), notes)


def _pick(
    labels: LabelledSet, images: Sequence[LabelledImage], count: int, seed: int
) -> list[LabelledImage]:
    """Return ``count`` of the images, every class alike, drawn by the seed; fewer if there are.

    An image of several classes counts for the first of them by name.
    """
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


def _join_classes(real: LabelledSet, ours: Mapping[str, int]) -> LabelledSet:
    """Return the real set with the run's class ids; further classes get the next ones, by name.

    Raises SourceError where a class of the real data is one of the run's, but for its writing.
    """
    known = {class_key(name): name for name in ours}
    for name in real.classes:
        own = known.get(class_key(name), name)
        if own != name:
            raise SourceError(
                f"the real data has a class {name!r}, which the run calls {own!r}: they would be "
                "two classes; rename one of them"
            )
    classes = dict(ours)
    for name in sorted(set(real.classes) - set(ours)):
        classes[name] = max(classes.values(), default=0) + 1
    new = {old: classes[name] for old, name in real.names.items()}
    images = [
        replace(i, defects=tuple(replace(d, class_id=new[d.class_id]) for d in i.defects))
        for i in real
    ]
    return replace(real, classes=classes, images=images)


def _digest(file: StoredFile, sample_id: str) -> str:
    """Return a digest of the pixels, which a copy in another format shares; raises SourceError."""
    if not file.is_file():
        raise SourceError(
            f"{file} is missing: it is the photo of {sample_id}, needed to tell whether it is a "
            "real image outside of train; put it back there"
        )
    pixels = read_image(file)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
