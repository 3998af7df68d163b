"""COCO instances: one JSON a split, masks as run lengths (or polygons), good images kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from synthgen.export.labels import DefectLabel, LabelledImage, LabelledSet, label_images
from synthgen.export.losses import LabelLoss
from synthgen.export.media import Media, refer_to
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
        """Write the set into ``folder``, an empty one."""
        (folder / "annotations").mkdir()
        image_ids = {image.sample_id: number for number, image in enumerate(labels, start=1)}
        first = 1
        for split in labels.splits:
            images = labels.of_split(split)
            names = {image.sample_id: image.file_name for image in images}
            place = folder / split
            if media.mode == "refer":
                names = {i.sample_id: refer_to(i, place) for i in images}
            else:
                place.mkdir()
                for image in images:
                    media.place(image, place / image.file_name)
            parts = {
                "info": _lines([_info(images)])[0],
                "licenses": "[]",
                "images": _array(
                    _image_entry(image_ids[i.sample_id], names[i.sample_id], i) for i in images
                ),
                "annotations": _array(self._annotations(labels, images, image_ids, first, loss)),
                "categories": _array(self._categories(labels)),
            }
            first += sum(len(image.defects) for image in images)
            text = ",\n".join(f'"{key}": {value}' for key, value in parts.items())
            target = folder / "annotations" / f"instances_{split}.json"
            target.write_text("{\n" + text + "\n}\n", encoding="utf-8")

    def _categories(self, labels: LabelledSet) -> list[dict[str, Any]]:
        return [
            {"id": class_id, "name": name, "supercategory": self.supercategory}
            for name, class_id in labels.classes.items()
        ]

    def _annotations(
        self,
        labels: LabelledSet,
        images: Iterable[LabelledImage],
        image_ids: Mapping[str, int],
        first: int,
        loss: LabelLoss,
    ) -> Iterable[dict[str, Any]]:
        for image in images:
            for defect in image.defects:
                entry = _annotation_entry(first, image_ids[image.sample_id], image, defect)
                if self.segmentation == "polygon":
                    mask = defect.mask(image.size_hw)
                    polygon = mask_to_outline(mask, at_edges=True).ravel().tolist()
                    entry["segmentation"] = [polygon]
                    name = labels.names[defect.class_id]
                    loss.add(name, image.sample_id, mask, draw_polygons([polygon], image.size_hw))
                yield entry
                first += 1


def _info(images: Iterable[LabelledImage]) -> dict[str, Any]:
    is_synthetic = any(image.is_synthetic for image in images)
    return {
        "description": "Synthetic defect images made by synthgen" if is_synthetic else "Images",
        "synthetic": is_synthetic,
    }


def _lines(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    return [json.dumps(entry, sort_keys=True, ensure_ascii=False) for entry in entries]


def _array(entries: Iterable[Mapping[str, Any]]) -> str:
    return "[\n" + ",\n".join(_lines(entries)) + "\n]"


def _image_entry(image_id: int, file_name: str, image: LabelledImage) -> dict[str, Any]:
    entry = {
        "id": image_id,
        "file_name": file_name,
        "width": image.size_hw[1],
        "height": image.size_hw[0],
        "synthetic": image.is_synthetic,
    }
    return entry | ({"digital_source": image.digital_source} if image.digital_source else {})


def _annotation_entry(
    number: int, image_id: int, image: LabelledImage, defect: DefectLabel
) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": defect.class_id,
        "iscrowd": 0,
        "bbox": [float(value) for value in defect.box],
        "area": float(defect.area_px),
        "segmentation": {"size": list(image.size_hw), "counts": defect.rle},
    }


def read_coco(annotations: Path, images: Path, split: str) -> LabelledSet:
    """Read COCO instances of one split as ``scan_coco``; each image is a group of its own."""
    return label_images(scan_coco(annotations, [images], split))
