"""COCO, MVTec AD's tree and semantic masks, each read back by its consumer's own library."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval import COCO as FastCoco
from pycocotools.coco import COCO

from synthgen.exporting.formats.coco import Coco, read_coco
from synthgen.exporting.formats.mvtec import Mvtec, read_mvtec
from synthgen.exporting.formats.semantic import Semantic
from synthgen.exporting.labels import LabelledSet, read_labels
from synthgen.exporting.media import Media
from synthgen.exporting.write import export
from synthgen.imaging.images import read_image
from tests.hard_set import CASES, CLASSES, TEST, make_hard_run, size_of


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_hard_run(tmp_path_factory.mktemp("hard") / "run")


@pytest.fixture(scope="module")
def labels(run) -> LabelledSet:
    return read_labels(run)


def masks_of(labels: LabelledSet) -> dict[str, list[tuple[str, np.ndarray]]]:
    names = labels.names
    return {
        image.sample_id: [(names[d.class_id], d.mask(image.size_hw)) for d in image.defects]
        for image in labels
    }


def assert_equal_to_the_cases(found: dict[str, list[tuple[str, np.ndarray]]]) -> None:
    for case, defects in found.items():
        assert [name for name, _ in defects] == [name for name, _ in CASES[case]]
        for (_, mask), (_, asked) in zip(defects, CASES[case], strict=True):
            assert np.array_equal(mask, asked), case


def test_the_label_model_holds_every_pixel(labels) -> None:
    assert len(labels) == len(CASES)
    assert_equal_to_the_cases(masks_of(labels))
    for image in labels:
        for defect in image.defects:
            mask = defect.mask(image.size_hw)
            x, y, width, height = defect.box
            assert defect.area_px == mask.sum() == mask[y : y + height, x : x + width].sum()
            assert mask[y].any() & mask[y + height - 1].any() & mask[:, x].any()
        on_disk = read_image(image.label_path)
        assert np.array_equal(on_disk, image.class_map())
    assert labels.counts().loc["good"].tolist() == [1, 1]


@pytest.mark.parametrize("segmentation", ["rle", "polygon"])
@pytest.mark.parametrize("reader", [COCO, FastCoco])
def test_coco_is_read_back_to_the_pixel(labels, tmp_path, segmentation, reader, capsys) -> None:
    done = export(labels, {"coco": Coco(segmentation)}, tmp_path / "out", Media())
    found, image_ids, annotation_ids = {}, {}, []
    for split in ("train", "test"):
        coco = reader(str(done.path / "coco" / "annotations" / f"instances_{split}.json"))
        categories = {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())}
        assert categories == {number: name for name, number in CLASSES.items()}
        for image in coco.loadImgs(coco.getImgIds()):
            case = Path(image["file_name"]).stem
            pixels = read_image(done.path / "coco" / split / image["file_name"])
            assert pixels.shape[:2] == (image["height"], image["width"]) == size_of(case)
            entries = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
            annotation_ids += [entry["id"] for entry in entries]
            masks = [np.asarray(coco.annToMask(entry), bool) for entry in entries]
            for entry, mask in zip(entries, masks, strict=True):
                rows, columns = np.nonzero(mask)
                assert entry["area"] == mask.sum()
                assert entry["bbox"][:2] == [columns.min(), rows.min()]
                assert entry["bbox"][2:] == [np.ptp(columns) + 1, np.ptp(rows) + 1]
            names = [categories[entry["category_id"]] for entry in entries]
            found[case] = list(zip(names, masks, strict=True))
            image_ids[case] = image["id"]
    assert found.keys() == CASES.keys()
    assert_equal_to_the_cases(found)
    assert [image_ids[case] for case in sorted(CASES)] == list(range(1, len(CASES) + 1))
    assert sorted(annotation_ids) == list(range(1, 13))
    lost = done.losses["coco"].table()
    assert len(lost) == (3 if segmentation == "polygon" else 0)
    assert segmentation == "rle" or lost["worst_iou"].min() == 1.0
    capsys.readouterr()


def test_coco_invents_no_date_and_no_licence(labels, tmp_path) -> None:
    done = export(labels, {"coco": Coco()}, tmp_path / "out", Media())
    for path in (done.path / "coco" / "annotations").iterdir():
        data = json.loads(path.read_text(encoding="utf-8"))
        assert sorted(data["info"]) == ["description", "synthetic"]
        assert data["licenses"] == []
        assert all(image["synthetic"] is True for image in data["images"])


def test_coco_goes_round(labels, tmp_path) -> None:
    done = export(labels, {"coco": Coco("polygon")}, tmp_path / "out", Media())
    root = done.path / "coco"
    back = read_coco(root / "annotations" / "instances_test.json", root / "test", "test")
    assert back.classes == labels.classes
    assert sorted(image.sample_id for image in back) == sorted(TEST)
    assert_equal_to_the_cases(masks_of(back))


@pytest.mark.parametrize("mode", ["refer", "link"])
def test_images_need_no_space(labels, tmp_path, mode) -> None:
    done = export(labels, {"coco": Coco()}, tmp_path / "out", Media(mode))
    data = json.loads((done.path / "coco" / "annotations" / "instances_test.json").read_text())
    for entry in data["images"]:
        path = done.path / "coco" / "test" / entry["file_name"]
        original = next(i.path for i in labels if i.sample_id == Path(entry["file_name"]).stem)
        assert os.path.samefile(os.path.normpath(path), original.local)


def test_semantic_masks_and_their_classes(labels, tmp_path) -> None:
    done = export(labels, {"semantic": Semantic()}, tmp_path / "out", Media())
    root = done.path / "semantic"
    names = json.loads((root / "classes.json").read_text(encoding="utf-8"))
    assert names == {"0": "good", "9": "pit", "10": "scratch", "12": "stain"}
    for case, defects in CASES.items():
        split = "test" if case in TEST else "train"
        mask = read_image(root / "masks" / split / f"{case}.png")
        asked = np.zeros(size_of(case), np.uint8)
        for name, own in defects:
            asked[own] = CLASSES[name]
        assert np.array_equal(mask, asked)
        original = read_image(root / "images" / split / f"{case}.png")
        assert original.shape[:2] == mask.shape
    lost = done.losses["semantic"].table().set_index("class")
    assert lost.loc["pit", "worst_sample"] == "touching"  # two that touch are one there
    assert lost.loc["pit", "worst_iou"] == pytest.approx(100 / 230, abs=1e-6)
    assert lost.loc["stain", "worst_iou"] == 1.0


@pytest.fixture(scope="module")
def tree(labels, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("mvtec") / "out"
    layout = Mvtec("tile", train_defects="test")
    return export(labels, {"mvtec": layout}, out, Media()).path / "mvtec"


def test_anomalib_reads_the_tree_of_mvtec(tree) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from anomalib.data.datasets.image import MVTecADDataset
    test = MVTecADDataset(root=tree, category="tile", split="test")
    train = MVTecADDataset(root=tree, category="tile", split="train")
    assert [Path(p).stem for p in train.samples.image_path] == ["defect_free"]
    assert len(test) == len(CASES) - 1
    for index, row in test.samples.reset_index(drop=True).iterrows():
        case = Path(row.image_path).stem
        kinds = {name for name, _ in CASES[case]}
        assert row.label == ("good" if not kinds else "combined" if len(kinds) > 1 else min(kinds))
        item = test[index]
        held = np.zeros(size_of(case), bool) if item.gt_mask is None else item.gt_mask.numpy() > 0
        asked = [mask for _, mask in CASES[case]]
        assert np.array_equal(held, np.any(asked, axis=0) if asked else np.zeros_like(held))
        assert bool(item.gt_label) == bool(kinds)


def test_anomalib_reads_it_as_plain_folders(tree) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from anomalib.data.datasets.image import FolderDataset
    root = tree / "tile"
    kinds = ["pit", "scratch", "stain", "combined"]
    data = FolderDataset(
        name="tile",
        root=root,
        normal_dir="train/good",
        normal_test_dir="test/good",
        abnormal_dir=[f"test/{kind}" for kind in kinds],
        mask_dir=[f"ground_truth/{kind}" for kind in kinds],
        split="test",
    )
    assert len(data) == len(CASES) - 1
    pairs = data.samples[data.samples.label_index == 1]
    assert all(
        Path(r.mask_path).stem == f"{Path(r.image_path).stem}_mask" for r in pairs.itertuples()
    )


def test_the_tree_of_mvtec_goes_round(tree) -> None:
    back = read_mvtec(tree / "tile")
    assert list(back.classes) == ["combined", "pit", "scratch", "stain"]
    found = {image.sample_id.rsplit("-", 1)[1]: image for image in back}
    assert len(found["two_parts"].defects) == 2  # the tree knows no instances, only pieces
    for case, image in found.items():
        asked = [mask for _, mask in CASES[case]]
        union = np.any(asked, axis=0) if asked else np.zeros(size_of(case), bool)
        assert np.array_equal(image.class_map() > 0, union)


def test_defects_of_train_parts_are_not_tested_on(labels, tmp_path) -> None:
    done = export(labels, {"mvtec": Mvtec()}, tmp_path / "out", Media())
    tested = {path.stem for path in (done.path / "mvtec" / "part" / "test").rglob("*.png")}
    assert tested == set(TEST)
    assert "5 defect images of the split train are left out" in done.losses["mvtec"].notes[0]
