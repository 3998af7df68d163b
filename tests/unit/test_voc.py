"""Pascal VOC read back by supervision (boxes), Pillow and datumaro (masks)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from synthgen.exporting.formats.voc import Voc, voc_colour
from synthgen.exporting.labels import LabelledSet, label_defect, read_labels
from synthgen.exporting.media import Media
from synthgen.exporting.write import ExportResult, export
from synthgen.imaging.geometry import grow_mask, mask_to_box
from synthgen.imaging.images import read_image, write_png
from synthgen.storage.places import StoredFile
from tests.datumaro_reader import needs_datumaro, read_with_datumaro
from tests.hard_set import CASES, CLASSES, SIZE_HW, TEST, make_hard_run, size_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from supervision import DetectionDataset

# As the devkit prints it: background, aeroplane, bicycle, bird, boat, ..., tvmonitor, void.
DEVKIT = {
    **{0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128)},
    **{7: (128, 128, 128), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)},
    255: (224, 224, 192),
}


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> LabelledSet:
    return read_labels(make_hard_run(tmp_path_factory.mktemp("hard") / "run"))


@pytest.fixture(scope="module")
def done(labels, tmp_path_factory) -> ExportResult:
    return export(labels, {"voc": Voc()}, tmp_path_factory.mktemp("voc") / "out", Media())


@pytest.fixture(scope="module")
def root(done) -> Path:
    return done.path / "voc"


def corners(mask: np.ndarray) -> list[int]:
    x, y, width, height = mask_to_box(mask)
    return [x, y, x + width, y + height]


def test_the_palette_is_the_devkits() -> None:
    assert {number: voc_colour(number) for number in DEVKIT} == DEVKIT
    assert len({voc_colour(number) for number in range(256)}) == 256


def test_supervision_reads_the_boxes(root) -> None:
    data = DetectionDataset.from_pascal_voc(
        images_directory_path=str(root / "JPEGImages"),
        annotations_directory_path=str(root / "Annotations"),
    )
    found = {}
    for path, _, objects in data:
        names = [data.classes[number] for number in objects.class_id]
        found[Path(path).stem] = list(zip(names, objects.xyxy.tolist(), strict=True))
    asked = {
        case: [(name, corners(mask)) for name, mask in defects] for case, defects in CASES.items()
    }
    assert found == asked


def test_boxes_count_from_one_and_sizes_are_those_of_the_files(labels, root) -> None:
    sources = {image.sample_id: image.digital_source for image in labels}
    for case, defects in CASES.items():
        tree = ElementTree.parse(root / "Annotations" / f"{case}.xml").getroot()
        pixels = read_image(root / "JPEGImages" / tree.findtext("filename", ""))
        size = [int(tree.findtext(f"size/{key}", "")) for key in ("height", "width", "depth")]
        assert size == [*size_of(case), 1 if case == "grey_16_bit" else 3]
        assert list(np.atleast_3d(pixels).shape) == size
        boxes = [[int(edge.text or "") for edge in box] for box in tree.iter("bndbox")]
        assert boxes == [
            [left + 1, top + 1, right, bottom]
            for left, top, right, bottom in (corners(mask) for _, mask in defects)
        ]
        assert tree.findtext("source/image") == sources[case] != ""


def test_pillow_reads_ids_of_classes_and_defects(root, done) -> None:
    for case, defects in CASES.items():
        classes, numbers = (np.zeros(size_of(case), np.uint8) for _ in range(2))
        for number, (name, mask) in enumerate(defects, start=1):
            classes[mask], numbers[mask] = CLASSES[name], number
        for place, asked in (("SegmentationClass", classes), ("SegmentationObject", numbers)):
            with Image.open(root / place / f"{case}.png") as opened:
                assert opened.mode == "P"
                assert np.array_equal(np.asarray(opened), asked)
                colours = np.asarray(opened.convert("RGB"))
            for number in np.unique(asked):
                assert (colours[asked == number] == voc_colour(int(number))).all()
    table = done.losses["voc"].table()
    assert table["defects"].sum() == sum(len(defects) for defects in CASES.values())
    assert table["worst_iou"].tolist() == [1.0, 1.0, 1.0]


def test_the_lists_name_every_image_once(root) -> None:
    for part in ("Main", "Segmentation"):
        lists = {p.stem: p.read_text().split() for p in (root / "ImageSets" / part).iterdir()}
        assert lists == {
            "train": sorted(set(CASES) - set(TEST)),
            "test": sorted(TEST),
        }
    assert sorted(path.stem for path in (root / "JPEGImages").iterdir()) == sorted(CASES)


@needs_datumaro
def test_datumaro_reads_masks_and_boxes_with_the_label_map(root, tmp_path) -> None:
    options = '{"coordinate_mode": "voc-one-based"}'
    names, found = read_with_datumaro("voc", root, tmp_path, options)
    assert names == ["background", *CLASSES]
    assert found.keys() == CASES.keys()
    for case, image in found.items():
        assert image.split == ("test" if case in TEST else "train")
        assert image.size_hw == size_of(case)
        by_kind: dict[str, list[tuple[str, list[int]]]] = {"mask": [], "bbox": []}
        for kind, name, _, shape in image.shapes:
            by_kind[kind].append((name, (corners(shape) if kind == "mask" else shape.tolist())))
        asked = sorted((name, corners(mask)) for name, mask in CASES[case])
        assert sorted(by_kind["mask"]) == asked
        assert sorted(by_kind["bbox"]) == asked
        masks = [shape for kind, _, _, shape in image.shapes if kind == "mask"]
        for _, own in CASES[case]:
            assert any(np.array_equal(mask, own) for mask in masks)


def test_void_and_what_is_covered_is_reported(labels, tmp_path) -> None:
    below, above = (np.zeros(SIZE_HW, bool) for _ in range(2))
    below[2:12, 2:12] = True
    above[7:17, 2:12] = True
    both = below | above
    classes = np.where(below, 9, 0) + np.where(above & ~below, 10, 0)
    classes[grow_mask(both, 1) & ~both] = 255
    write_png(tmp_path / "label.png", classes.astype(np.uint8))
    image = next(i for i in labels if i.sample_id == "hole")
    defects = (label_defect(9, below), label_defect(10, above))
    image = replace(
        image,
        defects=defects,
        label_path=StoredFile.at(tmp_path / "label.png"),
        facts={**image.facts, "mask_digest": ""},  # its own label is of other pixels
    )
    one = replace(labels, images=[image])
    done = export(one, {"voc": Voc()}, tmp_path / "out", Media())
    for place, ids in (
        ("SegmentationClass", {0, 9, 10, 255}),
        ("SegmentationObject", {0, 1, 2, 255}),
    ):
        with Image.open(done.path / "voc" / place / "hole.png") as opened:
            pixels = np.asarray(opened)
        assert set(pixels.ravel().tolist()) == ids
        assert np.array_equal(pixels == 255, classes == 255)
    lost = done.losses["voc"].table().set_index("class")["worst_iou"]
    assert lost.to_dict() == {"pit": 0.5, "scratch": 1.0}
