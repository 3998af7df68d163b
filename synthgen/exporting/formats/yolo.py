"""YOLO: images, a text file of boxes or outlines for each, and data.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from synthgen.errors import SourceError
from synthgen.exporting.labels import DefectLabel, LabelledImage, LabelledSet, label_images
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media
from synthgen.imaging.geometry import mask_to_outline, outline_to_mask
from synthgen.realdata.yolo import scan_yolo

__all__ = ["Yolo", "read_yolo"]

# Some readers round the products of share and width, others cut them: a quarter of a pixel beside
# its centre leads both to the same pixel.
ASIDE_PX = 0.25


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Yolo:
    """``images/<split>/*.png``, ``labels/<split>/*.txt``, ``data.yaml``; works where it is moved.

    Class ids count from 0, in the order of the run's. A good image has an empty text file.
    ``task="segment"``: an outline a defect. The format knows no holes and one part only:
    ``parts="join"`` joins them by cuts, one pixel wide where they lead over good surface;
    ``parts="split"`` writes every part as a defect of its own. ``task="detect"``: boxes.
    """

    task: Literal["segment", "detect"] = "segment"
    parts: Literal["join", "split"] = "join"

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one.

        ``loss`` is told what outlines or boxes hold of the masks, and how class ids are counted.
        """
        numbers = {class_id: number for number, class_id in enumerate(labels.names)}
        for split in labels.splits:
            (folder / "images" / split).mkdir(parents=True)
            (folder / "labels" / split).mkdir(parents=True)
            for image in labels.of_split(split):
                media.place(image, folder / "images" / split / image.file_name)
                lines = [
                    f"{numbers[defect.class_id]} {values}\n"
                    for defect in image.defects
                    for values in self._describe(labels, image, defect, loss)
                ]
                target = folder / "labels" / split / f"{image.sample_id}.txt"
                target.write_text("".join(lines), encoding="utf-8")
        _write_data_yaml(labels, folder / "data.yaml", loss)

    def _describe(
        self, labels: LabelledSet, image: LabelledImage, defect: DefectLabel, loss: LabelLoss
    ) -> Iterator[str]:
        """Yield the values of each line of a defect; tell ``loss`` what they hold."""
        master = defect.mask(image.size_hw)
        held = np.zeros(image.size_hw, bool)
        outlines: list[NDArray[np.float64]] = []
        if self.task == "detect":
            x, y, width, height = defect.box
            held[y : y + height, x : x + width] = True
            centre, size = [x + width / 2, y + height / 2], [width, height]
            yield _fractions(np.array([centre, size]), image.size_hw)
        elif self.parts == "join":
            outlines = [mask_to_outline(master)]
        else:
            count, pieces, boxes, _ = cv2.connectedComponentsWithStats(master.astype(np.uint8))
            for number in range(1, count):
                x, y, width, height, _ = boxes[number]
                part = pieces[y : y + height, x : x + width] == number
                outlines.append(mask_to_outline(part) + np.array([x, y]))
        if len(outlines) > 1:
            loss.note("YOLO: each part of a defect of several parts counts as a defect")
        for outline in outlines:
            held |= outline_to_mask(outline, image.size_hw)
            # readers take two points for no outline, so the last one comes again
            points = np.pad(outline, ((0, max(0, 3 - len(outline))), (0, 0)), mode="edge")
            yield _fractions(points + ASIDE_PX, image.size_hw)
        loss.add(labels.names[defect.class_id], image.sample_id, master, held)


def _fractions(points: NDArray[np.float64], size_hw: tuple[int, ...]) -> str:
    """Return x, y in shares of width and height; six digits are a hundredth of 10 000 pixels."""
    return " ".join(f"{fraction:.6f}" for fraction in (points / size_hw[1::-1]).ravel())


def _write_data_yaml(labels: LabelledSet, path: Path, loss: LabelLoss) -> None:
    """Write where the splits are and what the classes are called.

    No ``path``: readers then start from the folder of the file, wherever that is. They refuse a
    file without ``train`` and ``val``, so a missing one is pointed at another split.
    """
    splits = {split: split for split in labels.splits}
    for name, others in (("train", ()), ("val", ("test", "train"))):
        if name not in splits:
            splits[name] = next((s for s in others if s in splits), labels.splits[0])
            loss.note(
                f"YOLO: there is no split {name}, which readers ask for: data.yaml points it at "
                f"images/{splits[name]}"
            )
    usual = [*(s for s in ("train", "val", "test") if s in splits)]
    order = [*usual, *(s for s in splits if s not in usual)]
    names = dict(enumerate(labels.classes))
    data = {split: f"images/{splits[split]}" for split in order} | {"names": names}
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    ids = labels.run_ids or labels.classes
    pairs = ", ".join(f"{n} = {name} ({ids[name]})" for n, name in names.items())
    loss.note(f"YOLO: class ids count from 0 (the run's in brackets): {pairs}")


def read_yolo(root: Path) -> LabelledSet:
    """Read outlines as ``scan_yolo``; each image is a group of its own.

    Class ids are one higher than in the files, as 0 is good. Raises SourceError.
    """
    labels = label_images(scan_yolo(root))
    if not labels.images:
        raise SourceError(f"{root} holds no images; YOLO's lie in images/<split>")
    return labels
