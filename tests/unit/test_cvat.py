"""CVAT's XML read back by datumaro, and decoded by hand as CVAT describes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from synthgen.exporting.formats.cvat import Cvat
from synthgen.exporting.labels import LabelledSet, label_defect, read_labels
from synthgen.exporting.media import Media
from synthgen.exporting.write import export
from synthgen.imaging.images import read_image
from tests.datumaro_reader import needs_datumaro, read_with_datumaro
from tests.hard_set import CASES, CLASSES, SIZE_HW, TEST, make_hard_run, size_of


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> LabelledSet:
    return read_labels(make_hard_run(tmp_path_factory.mktemp("hard") / "run"))


@pytest.fixture(scope="module")
def root(labels, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("cvat") / "out"
    done = export(labels, {"cvat": Cvat()}, out, Media())
    assert done.losses["cvat"].table().empty
    assert done.losses["cvat"].notes == []
    return done.path / "cvat"


def decode(mask: ElementTree.Element, size_hw: tuple[int, int]) -> np.ndarray:
    """Draw the runs pixel by pixel: zeros first, along the rows of the box."""
    left, top, width, height = (int(mask.attrib[k]) for k in ("left", "top", "width", "height"))
    row = "".join(
        str(number % 2) * int(length) for number, length in enumerate(mask.attrib["rle"].split(","))
    )
    assert len(row) == width * height
    drawn = np.zeros(size_hw, bool)
    for at in np.flatnonzero([digit == "1" for digit in row]):
        drawn[top + at // width, left + at % width] = True
    return drawn


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_xml_holds_every_pixel(root, split) -> None:
    tree = ElementTree.parse(root / f"{split}.xml").getroot()
    assert tree.findtext("version") == "1.1"
    assert [name.text for name in tree.iterfind("meta/task/labels/label/name")] == list(CLASSES)
    asked = sorted(case for case in CASES if (case in TEST) == (split == "test"))
    images = tree.findall("image")
    assert int(tree.findtext("meta/task/size", "")) == len(images)
    assert [Path(image.attrib["name"]).stem for image in images] == asked
    assert [int(image.attrib["id"]) for image in images] == list(range(len(images)))
    for image, case in zip(images, asked, strict=True):
        size_hw = (int(image.attrib["height"]), int(image.attrib["width"]))
        assert size_hw == size_of(case)
        assert read_image(root / "images" / split / image.attrib["name"]).shape[:2] == size_hw
        masks = image.findall("mask")
        assert [mask.attrib["label"] for mask in masks] == [name for name, _ in CASES[case]]
        for mask, (_, own) in zip(masks, CASES[case], strict=True):
            assert np.array_equal(decode(mask, size_hw), own), case


@needs_datumaro
def test_datumaro_reads_every_pixel(root, tmp_path) -> None:
    names, found = read_with_datumaro("cvat", root, tmp_path)
    assert names == list(CLASSES)
    assert found.keys() == CASES.keys()
    for case, image in found.items():
        assert image.split == ("test" if case in TEST else "train")
        assert image.size_hw == size_of(case)
        assert [name for _, name, _, _ in image.shapes] == [name for name, _ in CASES[case]]
        for (kind, _, _, mask), (_, own) in zip(image.shapes, CASES[case], strict=True):
            assert kind == "mask"
            assert np.array_equal(mask, own), case


def test_overlapping_masks_stay_whole_and_odd_names_are_escaped(labels, tmp_path) -> None:
    below, above = (np.zeros(SIZE_HW, bool) for _ in range(2))
    below[2:9, 2:9] = True
    above[5:12, 5:12] = True
    defects = (label_defect(9, below), label_defect(10, above))
    images = [replace(i, defects=defects) for i in labels if i.sample_id == "hole"]
    odd = {'<a> & "b"': 9, "Kratzer, süß": 10}
    done = export(LabelledSet(odd, images), {"cvat": Cvat()}, tmp_path / "out", Media())
    tree = ElementTree.parse(done.path / "cvat" / "test.xml").getroot()
    masks = tree.findall("image/mask")
    assert [mask.attrib["z_order"] for mask in masks] == ["0", "1"]
    assert [mask.attrib["label"] for mask in masks] == list(odd)
    assert [name.text for name in tree.iterfind("meta/task/labels/label/name")] == list(odd)
    for mask, own in zip(masks, (below, above), strict=True):
        assert np.array_equal(decode(mask, SIZE_HW), own)


def test_the_raw_labels_are_those_of_the_task(root) -> None:
    tree = ElementTree.parse(root / "train.xml").getroot()
    raw = json.loads((root / "labels.json").read_text(encoding="utf-8"))
    assert [label["name"] for label in raw] == list(CLASSES)
    assert len({label["color"] for label in raw}) == len(CLASSES)
    in_task = [element.text for element in tree.iterfind("meta/task/labels/label/color")]
    assert [label["color"] for label in raw] == in_task
