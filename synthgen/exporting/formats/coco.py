"""COCO instances: one JSON a split, masks as run lengths (or polygons), good images kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from synthgen.exporting.labels import LabelledImage, LabelledSet, label_images
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media
from synthgen.imaging.geometry import mask_to_outline
from synthgen.realdata.coco import draw_polygons, scan_coco

__all__ = ["Coco", "read_coco"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Coco:
    """``<split>/*.png`` and ``annotations/instances_<split>.json``.

    Ids start at 1 in the order of sample ids, over all splits; category ids are the class ids.
    ``segmentation="polygon"`` is for readers that know no run lengths: one polygon a defect, parts
    and holes joined by cuts of no width, which COCO's own rasteriser gives back exactly.
    """

    segmentation: Literal["rle", "polygon"] = "rle"
    supercategory: Annotated[str, Field(min_length=1)] = "defect"

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one; what polygons change is told to ``loss``.

        Raises ConfigError where media refers to images that are not files on this machine.
        """
        (folder / "annotations").mkdir()
        image_ids = {image.sample_id: number for number, image in enumerate(labels, start=1)}
        numbers = count(1)
        categories = [
            {"id": class_id, "name": name, "supercategory": self.supercategory}
            for name, class_id in labels.classes.items()
        ]
        for split in labels.splits:
            own, place = labels.of_split(split), folder / split
            if media.mode != "refer":
                place.mkdir()
            images, annotations = [], []
            for image in own:
                name, image_id = image.file_name, image_ids[image.sample_id]
                if media.mode == "refer":
                    name = media.refer(image, place)
                else:
                    media.place(image, place / name)
                height, width = image.size_hw
                entry = {"id": image_id, "file_name": name, "width": width, "height": height}
                entry["synthetic"] = image.is_synthetic
                if image.digital_source:
                    entry["digital_source"] = image.digital_source
                images.append(_dump(entry))
                found = self._annotate(labels, image, image_id, numbers, loss)
                annotations += [_dump(annotation) for annotation in found]
            is_synthetic = any(image.is_synthetic for image in own)
            about = "Synthetic defect images made by synthgen" if is_synthetic else "Images"
            parts = {
                "info": _dump({"description": about, "synthetic": is_synthetic}),
                "licenses": "[]",
                "images": _array(images),
                "annotations": _array(annotations),
                "categories": _array([_dump(category) for category in categories]),
            }
            text = ",\n".join(f'"{key}": {value}' for key, value in parts.items())
            target = folder / "annotations" / f"instances_{split}.json"
            target.write_text("{\n" + text + "\n}\n", encoding="utf-8")

    def _annotate(
        self,
        labels: LabelledSet,
        image: LabelledImage,
        image_id: int,
        numbers: Iterator[int],
        loss: LabelLoss,
    ) -> Iterator[dict[str, Any]]:
        """Yield the annotations of an image; boxes are x, y, width, height in pixels."""
        for defect in image.defects:
            segmentation: Any = {"size": list(image.size_hw), "counts": defect.rle}
            if self.segmentation == "polygon":
                mask = defect.mask(image.size_hw)
                polygon = mask_to_outline(mask, at_edges=True).ravel().tolist()
                segmentation = [polygon]
                name = labels.names[defect.class_id]
                loss.add(name, image.sample_id, mask, draw_polygons([polygon], image.size_hw))
            yield {
                "id": next(numbers),
                "image_id": image_id,
                "category_id": defect.class_id,
                "iscrowd": 0,
                "bbox": [float(value) for value in defect.box],
                "area": float(defect.area_px),  # the mask's, not the box's
                "segmentation": segmentation,
            }


def _dump(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True, ensure_ascii=False)


def _array(entries: Iterable[str]) -> str:
    """Return a JSON array with one entry a line."""
    return "[\n" + ",\n".join(entries) + "\n]"


def read_coco(annotations: Path, images: Path, split: str) -> LabelledSet:
    """Read COCO instances of one split as ``scan_coco``; each image is a group of its own.

    ``annotations`` is the JSON file, ``images`` the folder that its file names start from. Raises
    SourceError.
    """
    return label_images(scan_coco(annotations, [images], split))
