"""The hard set, and what a run has not: a split of good images only, a photo, odd names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from synthgen.exporting.labels import LabelledImage, LabelledSet, label_defect, read_labels
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media, MediaMode
from synthgen.exporting.write import Format
from synthgen.storage.places import StoredFile
from tests.hard_set import make_hard_run

PHOTO = "real-Teil 7.2%ä"
MEASURES = {"fill_fraction": 0.75, "leak_fraction": 0.0, "contrast_delta_e": 1 / 3}


def make_loader_set(root: Path) -> LabelledSet:
    """Return the set: ``defect_free`` alone in val, and a JPEG of which little is known."""
    labels = read_labels(make_hard_run(root / "run"))
    images = [_change(image) for image in labels]
    mask = np.zeros((40, 50), bool)
    mask[3:9, 30:50] = True
    path = root / f"{PHOTO}.JPG"
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    photo = LabelledImage(
        sample_id=PHOTO,
        path=StoredFile.at(path),
        split="train",
        group=PHOTO,
        size_hw=(40, 50),
        defects=(label_defect(12, mask),),
    )
    return replace(labels, images=[*images, photo])


def _change(image: LabelledImage) -> LabelledImage:
    if image.sample_id == "defect_free":
        return replace(image, split="val")
    return replace(image, facts={**image.facts, **MEASURES}) if image.defects else image


def write_twice(
    layout: Format, labels: LabelledSet, root: Path, mode: MediaMode = "copy"
) -> tuple[Path, LabelLoss]:
    """Write a format, and once more, which must give the same bytes; return the folder."""
    folders, loss = [], LabelLoss()
    for name in ("one", "other"):
        folder = root / name
        folder.mkdir(parents=True)
        layout.write(labels, folder, Media(mode), loss)
        folders.append(folder)
    one, other = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders
    )
    assert one == other
    assert not loss.by_class
    return folders[0], loss
