"""YOLO read back by supervision, wherever the folder lies, and by synthgen itself."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from synthgen.errors import SourceError
from synthgen.exporting.formats.yolo import Yolo, read_yolo
from synthgen.exporting.labels import LabelledSet, label_defect, read_labels
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media
from synthgen.exporting.write import ExportResult, export
from synthgen.imaging.geometry import overlap
from tests.hard_set import CASES, CLASSES, SIZE_HW, TEST, make_hard_run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from supervision import DetectionDataset

NAMES = ["pit", "scratch", "stain"]  # of ids 0, 1, 2
ONE_PART = sorted(set(CASES) - {"two_parts"})


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> LabelledSet:
    return read_labels(make_hard_run(tmp_path_factory.mktemp("hard") / "run"))


@pytest.fixture(scope="module")
def joined(labels, tmp_path_factory) -> ExportResult:
    out = tmp_path_factory.mktemp("joined") / "out"
    return export(labels, {"yolo": Yolo()}, out, Media())


def read_back(root: Path) -> dict[str, list[tuple[str, np.ndarray, np.ndarray]]]:
    """Return name, mask and box (x, y, right, bottom) of each line, by image."""
    found = {}
    for split in ("train", "test"):
        data = DetectionDataset.from_yolo(
            images_directory_path=str(root / "images" / split),
            annotations_directory_path=str(root / "labels" / split),
            data_yaml_path=str(root / "data.yaml"),
            force_masks=True,
        )
        assert data.classes == NAMES
        for path, _, lines in data:
            masks = [] if lines.mask is None else list(lines.mask)
            names = [data.classes[number] for number in lines.class_id]
            found[Path(path).stem] = list(zip(names, masks, lines.xyxy, strict=True))
    return found


def test_supervision_reads_what_the_loss_says(joined) -> None:
    found = read_back(joined.path / "yolo")
    assert found.keys() == CASES.keys()
    again = LabelLoss()
    for case, defects in CASES.items():
        assert [name for name, _, _ in found[case]] == [name for name, _ in defects]
        for (name, held, _), (_, asked) in zip(found[case], defects, strict=True):
            again.add(name, case, asked, held)
    assert again.table().equals(joined.losses["yolo"].table())
    for case in ONE_PART:
        for (_, held, _), (_, asked) in zip(found[case], CASES[case], strict=True):
            assert np.array_equal(held, asked), case
    ((_, held, _),) = found["two_parts"]
    assert 0.75 < overlap(held, CASES["two_parts"][0][1]) < 1  # the cut that joins them


def test_split_parts_are_exact_but_lose_which_defect_they_are_of(labels, tmp_path) -> None:
    done = export(labels, {"yolo": Yolo(parts="split")}, tmp_path / "out", Media())
    lines = read_back(done.path / "yolo")["two_parts"]
    assert len(lines) == 2
    assert np.array_equal(lines[0][1] | lines[1][1], CASES["two_parts"][0][1])
    assert done.losses["yolo"].table()["worst_iou"].tolist() == [1.0, 1.0, 1.0]
    assert any("several parts" in note for note in done.losses["yolo"].notes)


def test_readers_that_cut_instead_of_rounding_find_the_same_pixels(joined) -> None:
    for path in (joined.path / "yolo" / "labels").glob("*/*.txt"):
        size = np.array((2000, 3000) if path.stem == "large" else SIZE_HW, np.float32)[::-1]
        for line in path.read_text(encoding="utf-8").splitlines():
            fractions = np.array(line.split()[1:], np.float32).reshape(-1, 2)
            assert len(fractions) >= 3
            assert np.array_equal(
                (fractions * size).astype(int), np.rint(fractions * size).astype(int)
            )


@pytest.mark.parametrize("pixels", [[(3, 5)], [(3, 5), (3, 6)], [(0, 0)], [(47, 63), (46, 62)]])
def test_one_and_two_pixels_are_defects_too(labels, tmp_path, pixels) -> None:
    mask = np.zeros(SIZE_HW, bool)
    for place in pixels:
        mask[place] = True
    images = [
        replace(i, defects=(label_defect(9, mask),)) if i.sample_id == "hole" else i
        for i in labels
        if i.sample_id in ("hole", "defect_free")
    ]
    done = export(replace(labels, images=images), {"yolo": Yolo()}, tmp_path / "out", Media())
    ((_, held, _),) = read_back(done.path / "yolo")["hole"]
    assert np.array_equal(held, mask)


def test_boxes(labels, tmp_path) -> None:
    done = export(labels, {"yolo": Yolo(task="detect")}, tmp_path / "out", Media())
    found = read_back(done.path / "yolo")
    for image in labels:
        boxes = [defect.box for defect in image.defects]
        asked = [(x, y, x + width, y + height) for x, y, width, height in boxes]
        lines = found[image.sample_id]
        assert [tuple(np.rint(box)) for _, _, box in lines] == asked
        assert all(np.abs(box - np.rint(box)).max() < 0.01 for _, _, box in lines)
    lost = done.losses["yolo"].table().set_index("class")
    assert lost.loc["pit", "worst_sample"] == "two_parts"
    assert lost.loc["pit", "worst_iou"] == pytest.approx((16 + 48) / (31 * 33), abs=1e-6)
    assert lost.loc["scratch", "worst_iou"] == 1.0


def test_a_good_image_has_an_empty_text(joined) -> None:
    empty = [p for p in (joined.path / "yolo" / "labels").glob("*/*.txt") if not p.read_bytes()]
    assert sorted(path.stem for path in empty) == ["defect_free", "defect_free_test"]


def test_the_folder_may_be_moved(labels, tmp_path) -> None:
    done = export(labels, {"yolo": Yolo()}, tmp_path / "out", Media())
    moved = Path(shutil.move(done.path / "yolo", tmp_path / "else where"))
    data = yaml.safe_load((moved / "data.yaml").read_text(encoding="utf-8"))
    assert data == {
        "train": "images/train",
        "val": "images/test",
        "test": "images/test",
        "names": dict(enumerate(NAMES)),
    }
    for split in ("train", "val", "test"):
        assert list((moved / data[split]).glob("*.png"))
    assert read_back(moved).keys() == CASES.keys()
    notes = " ".join(done.losses["yolo"].notes)
    assert "no split val" in notes
    assert "0 = pit (9), 1 = scratch (10), 2 = stain (12)" in notes


@pytest.mark.parametrize(
    ("splits", "asked"),
    [
        ({}, {"train": "test", "val": "test", "test": "test"}),
        (dict.fromkeys(CASES, "train"), {"train": "train", "val": "train"}),
        ({"hole": "train", "touching": "val"}, {"train": "train", "val": "val", "test": "test"}),
        ({"hole": "line 2"}, {"train": "test", "val": "test", "test": "test", "line 2": "line 2"}),
    ],
)
def test_missing_splits_are_pointed_at_others(labels, tmp_path, splits, asked) -> None:
    images = [replace(i, split=splits.get(i.sample_id, "test")) for i in labels]
    done = export(replace(labels, images=images), {"yolo": Yolo()}, tmp_path / "out", Media())
    data = yaml.safe_load((done.path / "yolo" / "data.yaml").read_text(encoding="utf-8"))
    del data["names"]
    assert data == {key: f"images/{split}" for key, split in asked.items()}
    missing = sum("there is no split" in note for note in done.losses["yolo"].notes)
    assert missing == sum(key != split for key, split in asked.items())


def test_synthgen_reads_it_back(joined) -> None:
    back = read_yolo(joined.path / "yolo")
    assert back.classes == {"pit": 1, "scratch": 2, "stain": 3}
    cases = {f"{'test' if case in TEST else 'train'}-{case}": case for case in CASES}
    assert [image.sample_id for image in back] == sorted(cases)
    for image in back:
        case = cases[image.sample_id]
        assert image.split == ("test" if case in TEST else "train")
        assert image.path.is_file()
        assert [back.names[d.class_id] for d in image.defects] == [n for n, _ in CASES[case]]
        if case in ONE_PART:
            for defect, (_, asked) in zip(image.defects, CASES[case], strict=True):
                assert np.array_equal(defect.mask(image.size_hw), asked)
    assert {name: CLASSES[name] for name in back.classes} == CLASSES


def test_the_order_of_roboflow_is_read_too(joined, tmp_path) -> None:
    root = joined.path / "yolo"
    for split, name in (("train", "train"), ("test", "valid")):
        for part in ("images", "labels"):
            shutil.copytree(root / part / split, tmp_path / name / part)
    (tmp_path / "data.yaml").write_text("names: [pit, scratch, stain]\n", encoding="utf-8")
    back = read_yolo(tmp_path)
    assert back.splits == ["train", "val"]
    again = [defect for image in read_yolo(root) for defect in image.defects]
    assert {d.rle for image in back for d in image.defects} == {d.rle for d in again}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("0 0.1 0.1 0.2 x 0.3 0.3", r"line 2 of .*hole\.txt holds what is not a number"),
        ("pit 0.1 0.1 0.2 0.2 0.3 0.3", "not a number"),
        ("3 0.1 0.1 0.2 0.1 0.2 0.2", "class 3"),
        ("0 0.5 0.5 0.2 0.2", "a box without an outline"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.3", "7 values"),
        ("0 0.1 0.1", "2 values"),
        ("0 0.1 0.1 0.2 0.1 0.2 1.2", r"outside of 0\.\.1"),
        ("0 0.1 0.1 0.2 0.1 0.2 nan", r"outside of 0\.\.1"),
        ("0 1 1 1 1 1 1", "no pixel"),
    ],
)
def test_a_broken_line_is_one_sentence(joined, tmp_path, line, sentence) -> None:
    root = shutil.copytree(joined.path / "yolo", tmp_path / "yolo")
    text = root / "labels" / "test" / "hole.txt"
    text.write_text(text.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(SourceError, match=sentence):
        read_yolo(root)


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        ("data.yaml", "data.yaml"),
        ("images/test/hole.png", r"hole\.txt has no image"),
        ("images", "holds no images"),
        ("labels/test", "would pass for good"),
    ],
)
def test_what_is_missing_is_named(joined, tmp_path, gone, sentence) -> None:
    root = shutil.copytree(joined.path / "yolo", tmp_path / "yolo")
    path = root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(SourceError, match=sentence):
        read_yolo(root)


@pytest.mark.parametrize("text", ["train: images/train\n", "names: 3\n", "- a\n", "names: [\n"])
def test_names_that_cannot_be_read(joined, tmp_path, text) -> None:
    root = shutil.copytree(joined.path / "yolo", tmp_path / "yolo")
    (root / "data.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=r"data\.yaml"):
        read_yolo(root)
