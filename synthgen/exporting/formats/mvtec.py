"""The tree of MVTec AD: train/good, test/<class>, ground_truth/<class>/<stem>_mask.png."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from synthgen.exporting.labels import LabelledSet, label_images
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media
from synthgen.imaging.images import write_png
from synthgen.realdata.mvtec import scan_mvtec
from synthgen.storage.files import check_name

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
        """Write the set into ``folder``, an empty one.

        Defects that touch become one in a mask, which ``loss`` is told, as is what is left out.
        """
        root = folder / self.category
        for part in ("train/good", "test/good", "ground_truth"):
            (root / part).mkdir(parents=True)
        left_out = 0
        for image in labels:
            is_train = image.split == "train"
            if image.defects and is_train and self.train_defects == "leave_out":
                left_out += 1
                continue
            kinds = labels.kinds(image)
            kind = check_name(kinds[0], "a defect class") if len(kinds) == 1 else "combined"
            place = root / ("train" if is_train and not image.defects else "test") / kind
            place.mkdir(exist_ok=True)
            media.place(image, place / image.file_name)
            if not image.defects:
                continue
            held = image.class_map() > 0
            target = root / "ground_truth" / kind / f"{image.sample_id}_mask.png"
            write_png(target, held.astype(np.uint8) * 255)
            for defect in image.defects:
                mask = defect.mask(image.size_hw)
                loss.add_merged(labels.names[defect.class_id], image.sample_id, mask, held)
        if left_out:
            loss.note(
                f"{left_out} defect images of the split train are left out: this tree has only good"
                " images to train on; format.mvtec.train_defects=test takes them, or another split="
            )


def read_mvtec(root: Path) -> LabelledSet:
    """Read one category of the tree as ``scan_mvtec``; each image is a group of its own.

    ``root`` is the folder of the category. Raises SourceError.
    """
    return label_images(scan_mvtec(root))
