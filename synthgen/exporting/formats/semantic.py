"""Class ids per pixel: images, indexed PNGs beside them, and a file that names the classes."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from synthgen.exporting.labels import LabelledSet
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media
from synthgen.imaging.images import write_png

__all__ = ["Semantic"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Semantic:
    """``images/<split>/*.png``, ``masks/<split>/*.png`` (8 bit, 0 = good), ``classes.json``.

    255 in a mask is ignored in training, as usual; it is there in runs of
    ``label.ignore_border=true``.
    """

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one.

        Defects of one class that touch become one, which ``loss`` is told.
        """
        names = {0: "good", **labels.names}
        for split in labels.splits:
            (folder / "images" / split).mkdir(parents=True)
            for image in labels.of_split(split):
                media.place(image, folder / "images" / split / image.file_name)
                mask = folder / "masks" / split / f"{image.sample_id}.png"
                classes = image.label_map()
                write_png(mask, classes)
                for defect in image.defects:
                    master = defect.mask(image.size_hw)
                    held = classes == defect.class_id
                    loss.add_merged(names[defect.class_id], image.sample_id, master, held)
        text = json.dumps({str(key): name for key, name in names.items()}, indent=1)
        (folder / "classes.json").write_text(text + "\n", encoding="utf-8")
        rows = "".join(f"{key} {name}\n" for key, name in names.items())
        (folder / "classes.txt").write_text(rows, encoding="utf-8")
