"""Pascal VOC: boxes as XML, classes and defects as PNGs with a palette, lists of the splits."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from synthgen.exporting.labels import LabelledImage, LabelledSet
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media
from synthgen.imaging.images import IGNORED

__all__ = ["Voc", "hex_colour", "voc_colour"]

FOLDERS = (
    *("Annotations", "JPEGImages", "SegmentationClass", "SegmentationObject"),
    *("ImageSets/Main", "ImageSets/Segmentation"),
)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Voc:
    """The tree of the VOC devkit; ``JPEGImages`` holds the images as they are, PNG or not.

    Boxes count from 1, their right and bottom pixels inside. Pixels of ``SegmentationClass`` are
    the run's class ids, those of ``SegmentationObject`` number the defects of an image from 1;
    255 = void, where ``label.ignore_border=true`` made a border. ``labelmap.txt`` names the classes
    and their colours, for readers that know more than VOC's own twenty.
    """

    def write(self, labels: LabelledSet, folder: Path, media: Media, loss: LabelLoss) -> None:
        """Write the set into ``folder``, an empty one; ``loss`` is told what a void border hides.

        Object masks are 8 bit: defects of an image from the 255th on are void.
        """
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
        palette = [level for number in range(256) for level in voc_colour(number)]
        for image in labels:
            media.place(image, folder / "JPEGImages" / image.file_name)
            _write_xml(labels, image, folder)
            classes = image.label_map()
            numbers = image.instance_map().clip(max=IGNORED).astype(np.uint8)  # it counts to 254
            numbers[classes == IGNORED] = IGNORED
            for place, ids in (("SegmentationClass", classes), ("SegmentationObject", numbers)):
                picture = Image.fromarray(ids)
                picture.putpalette(palette)
                picture.save(folder / place / f"{image.sample_id}.png")
            for number, defect in enumerate(image.defects, start=1):
                master, held = defect.mask(image.size_hw), (numbers == number) & (number < IGNORED)
                loss.add(labels.names[defect.class_id], image.sample_id, master, held)
        for split in labels.splits:
            text = "".join(f"{image.sample_id}\n" for image in labels.of_split(split))
            for part in ("Main", "Segmentation"):
                path = folder / "ImageSets" / part / f"{split}.txt"
                path.write_text(text, encoding="utf-8")
        colours = {"background": 0, **labels.classes}
        rows = [f"{name}:{','.join(map(str, voc_colour(n)))}::\n" for name, n in colours.items()]
        text = "# label:color_rgb:parts:actions\n" + "".join(rows)
        (folder / "labelmap.txt").write_text(text, encoding="utf-8")


def voc_colour(number: int) -> tuple[int, int, int]:
    """Return VOC's colour of an id, 0..255: its bits go to red, green and blue in turn.

    The lowest three bits are the highest of the colours, the next three come below, and so on.

    >>> voc_colour(0), voc_colour(9), voc_colour(255)
    ((0, 0, 0), (192, 0, 0), (224, 224, 192))
    """
    red, green, blue = (
        sum((number >> 3 * place + channel & 1) << 7 - place for place in range(3))
        for channel in range(3)
    )
    return red, green, blue


def hex_colour(number: int) -> str:
    """Return VOC's colour of an id as annotation tools write it.

    >>> hex_colour(9)
    '#c00000'
    """
    return "#{:02x}{:02x}{:02x}".format(*voc_colour(number))


def _write_xml(labels: LabelledSet, image: LabelledImage, folder: Path) -> None:
    """Write the annotation of an image that is in ``JPEGImages`` already."""
    path = folder / "JPEGImages" / image.file_name
    with Image.open(path) as opened:  # reads the head of the file only
        depth = len(opened.getbands())
    height, width = image.size_hw
    root = ElementTree.Element("annotation")
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", image.file_name)
    source = _add(root, "source")
    _add(source, "database", "synthgen")
    _add(source, "image", image.digital_source or "photograph")
    size = _add(root, "size")
    for name, value in (("width", width), ("height", height), ("depth", depth)):
        _add(size, name, str(value))
    _add(root, "segmented", "1")
    for defect in image.defects:
        x, y, box_width, box_height = defect.box
        object_ = _add(root, "object")
        _add(object_, "name", labels.names[defect.class_id])
        _add(object_, "pose", "Unspecified")
        _add(object_, "truncated", "0")
        _add(object_, "difficult", "0")
        box = _add(object_, "bndbox")
        edges = {"xmin": x + 1, "ymin": y + 1, "xmax": x + box_width, "ymax": y + box_height}
        for edge, value in edges.items():
            _add(box, edge, str(value))
    ElementTree.indent(root, "\t")
    text = ElementTree.tostring(root, encoding="unicode")
    target = folder / "Annotations" / f"{image.sample_id}.xml"
    target.write_text(text + "\n", encoding="utf-8")


def _add(parent: ElementTree.Element, tag: str, text: str | None = None) -> ElementTree.Element:
    """Append an element to its parent and return it."""
    child = ElementTree.SubElement(parent, tag)
    child.text = text
    return child
