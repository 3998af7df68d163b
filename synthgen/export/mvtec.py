"""The tree of MVTec AD: train/good, test/<class>, ground_truth/<class>/<stem>_mask.png."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from synthgen.errors import SourceError
from synthgen.export.labels import GOOD, LabelledImage, LabelledSet, label_defect
from synthgen.export.losses import LabelLoss
from synthgen.export.media import Media
from synthgen.images import read_image, read_mask, write_png
from synthgen.sources import SUFFIXES
from synthgen.storage import StoredFile

__all__ = ["Mvtec", "read_mvtec"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Mvtec:
    """``<category>/train/good`` and ``<category>/test/<class>`` with masks of 0 and 255.

    Good images of the split ``train`` are for training, all others for testing. The tree has no
    place for defects to learn from: those of ``train`` are left out, since their parts may be among
    the good ones; ``train_defects="test"`` takes them all the same. An image of several classes
    goes to ``test/combined``, as in MVTec AD itself.
    """

    category: Annotated[str, Field(min_length=1, pattern=r"^[\w.-]+$")] = "part"
    train_defects: Literal["leave_out", "test"] = "leave_out"

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one."""
        root = folder / self.category
        for part in ("train/good", "test/good", "ground_truth"):
            (root / part).mkdir(parents=True)
        left_out = 0
        for image in labels:
            is_train = image.split == "train"
            if image.defects and is_train and self.train_defects == "leave_out":
                left_out += 1
                continue
            kind = _folder_of(labels, image)
            place = root / ("train" if is_train and not image.defects else "test") / kind
            place.mkdir(exist_ok=True)
            media.place(image, place / image.file_name)
            if image.defects:
                self._write_mask(labels, image, root / "ground_truth" / kind, loss)
        if left_out:
            loss.note(
                f"{left_out} defect images of the split train are left out: this tree has only good"
                " images to train on; format.mvtec.train_defects=test takes them, or another split="
            )

    def _write_mask(
        self, labels: LabelledSet, image: LabelledImage, place: Path, loss: LabelLoss
    ) -> None:
        held = image.class_map() > 0
        write_png(place / f"{image.sample_id}_mask.png", held.astype(np.uint8) * 255)
        for defect in image.defects:
            mask = defect.mask(image.size_hw)
            loss.add_merged(labels.names[defect.class_id], image.sample_id, mask, held)


def _folder_of(labels: LabelledSet, image: LabelledImage) -> str:
    kinds = labels.kinds(image)
    return kinds[0] if len(kinds) == 1 else "combined"


def read_mvtec(root: Path) -> LabelledSet:
    """Read one category of the tree: ``root`` holds train/, test/ and ground_truth/.

    Every piece of a mask (8 neighbours) is a defect of the folder's class. Each image is a group of
    its own. Raises SourceError where a mask is missing or broken.
    """
    files = sorted(p for p in root.glob("t*/*/*") if p.suffix.lower() in SUFFIXES)
    files = [path for path in files if path.parts[-3] in ("train", "test")]
    kinds = sorted({path.parts[-2] for path in files} - {GOOD})
    classes = {kind: number for number, kind in enumerate(kinds, start=1)}
    images = []
    for path in files:
        split, kind = path.parts[-3:-1]
        size_hw = read_image(path).shape[:2]
        name = f"{split}-{kind}-{path.stem}"
        defects = []
        if kind != GOOD:
            mask = read_mask(_mask_of(root, kind, path), (size_hw[0], size_hw[1]))
            _, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
            defects = [
                label_defect(classes[kind], pieces == number)
                for number in range(1, int(pieces.max()) + 1)
            ]
        images.append(
            LabelledImage(
                name, StoredFile.at(path), split, name, (size_hw[0], size_hw[1]), tuple(defects)
            )
        )
    return LabelledSet(classes, images)


def _mask_of(root: Path, kind: str, image: Path) -> Path:
    for name in (f"{image.stem}_mask.png", f"{image.stem}.png"):
        if (path := root / "ground_truth" / kind / name).is_file():
            return path
    wanted = root / "ground_truth" / kind / f"{image.stem}_mask.png"
    raise SourceError(f"{image} has no mask; {wanted} is missing")
