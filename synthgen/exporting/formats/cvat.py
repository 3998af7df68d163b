"""CVAT for images 1.1: masks as run lengths of their boxes, one XML a split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from synthgen.exporting.formats.run_lengths import run_lengths
from synthgen.exporting.formats.voc import hex_colour
from synthgen.exporting.labels import LabelledImage, LabelledSet
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media

__all__ = ["Cvat"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Cvat:
    """``<split>.xml``, ``images/<split>/*.png``, and ``labels.json`` for a task's raw labels.

    Make one task a split: paste ``labels.json`` as its labels, upload the folder of images, then
    the XML as "CVAT 1.1". Masks are held to the pixel, those that overlap too.
    """

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one; ``loss`` has nothing to be told."""
        entries = "".join(
            f"        <label>\n          <name>{escape(name)}</name>\n"
            f"          <color>{hex_colour(class_id)}</color>\n          <type>any</type>\n"
            "          <attributes></attributes>\n        </label>\n"
            for name, class_id in labels.classes.items()
        )
        for split in labels.splits:
            images = labels.of_split(split)
            (folder / "images" / split).mkdir(parents=True)
            with (folder / f"{split}.xml").open("w", encoding="utf-8", newline="\n") as file:
                file.write(
                    '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n'
                    "  <version>1.1</version>\n"
                    f"  <meta>\n    <task>\n      <name>synthgen {escape(split)}</name>\n"
                    f"      <size>{len(images)}</size>\n      <mode>annotation</mode>\n"
                    f"      <subset>{escape(split)}</subset>\n"
                    f"      <labels>\n{entries}      </labels>\n    </task>\n  </meta>\n"
                )
                for number, image in enumerate(images):
                    media.place(image, folder / "images" / split / image.file_name)
                    file.write(_image_entry(number, labels.names, image))
                file.write("</annotations>\n")
        raw_labels = [
            {"name": name, "color": hex_colour(class_id), "type": "any", "attributes": []}
            for name, class_id in labels.classes.items()
        ]
        text = json.dumps(raw_labels, indent=1, ensure_ascii=False)
        (folder / "labels.json").write_text(text + "\n", encoding="utf-8")


def _tag(name: str, values: Mapping[str, Any]) -> str:
    """Return the opening tag of an element, with its attributes."""
    return f"<{name} " + " ".join(f"{key}={quoteattr(str(v))}" for key, v in values.items()) + ">"


def _image_entry(number: int, names: Mapping[int, str], image: LabelledImage) -> str:
    """Return an image's element; each mask is the row-major run lengths of its box."""
    height, width = image.size_hw
    values = {"id": number, "name": image.file_name, "width": width, "height": height}
    masks = ""
    for z_order, defect in enumerate(image.defects):  # later defects on top, as everywhere
        x, y, box_width, box_height = defect.box
        crop = defect.mask(image.size_hw)[y : y + box_height, x : x + box_width]
        mask = {
            "label": names[defect.class_id],
            "source": "file",
            "occluded": 0,
            "rle": ", ".join(map(str, run_lengths(crop))),
            "left": x,
            "top": y,
            "width": box_width,
            "height": box_height,
            "z_order": z_order,
        }
        masks += f"    {_tag('mask', mask)}\n    </mask>\n"
    return f"  {_tag('image', values)}\n{masks}  </image>\n"
