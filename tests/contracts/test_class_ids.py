"""Class ids without gaps, in every format that holds ids, read back by its own readers."""

from __future__ import annotations

import io
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import webdataset
from PIL import Image
from pycocotools.coco import COCO

from synthgen.commands.export import export as export_run
from synthgen.errors import ConfigError, RunError
from synthgen.exporting.labels import read_labels
from synthgen.exporting.media import Media
from synthgen.exporting.numbering import number_contiguously
from synthgen.exporting.write import export
from synthgen.training.dataset import DefectDataset
from tests.contracts.test_formats import build_format
from tests.hard_set import CASES, CLASSES, make_hard_run, size_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from supervision import DetectionDataset

CONTIGUOUS = {"pit": 1, "scratch": 2, "stain": 3}
Found = dict[str, set[int]]  # the ids that a reader finds in each image, good = none


def asked(first: int = 1) -> Found:
    """Return the ids of each case, where those of the classes count from ``first``."""
    return {
        case: {CONTIGUOUS[name] - 1 + first for name, _ in defects}
        for case, defects in CASES.items()
    }


def map_of(case: str) -> np.ndarray:
    """Return the class id of each pixel of a case."""
    classes = np.zeros(size_of(case), np.uint8)
    for name, mask in CASES[case]:
        classes[mask] = CONTIGUOUS[name]
    return classes


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_hard_run(tmp_path_factory.mktemp("hard") / "run")


def read_coco(root: Path) -> Found:
    found = {}
    for file in sorted((root / "annotations").iterdir()):
        coco = COCO(str(file))
        assert {c["name"]: c["id"] for c in coco.loadCats(coco.getCatIds())} == CONTIGUOUS
        for image in coco.loadImgs(coco.getImgIds()):
            entries = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
            found[Path(image["file_name"]).stem] = {entry["category_id"] for entry in entries}
    return found


def read_yolo(root: Path) -> Found:
    found = {}
    for split in ("train", "test"):
        data = DetectionDataset.from_yolo(
            images_directory_path=str(root / "images" / split),
            annotations_directory_path=str(root / "labels" / split),
            data_yaml_path=str(root / "data.yaml"),
        )
        assert data.classes == list(CONTIGUOUS)
        found |= {Path(path).stem: {int(n) for n in lines.class_id} for path, _, lines in data}
    return {case: {number + 1 for number in ids} for case, ids in found.items()}


def read_pngs(paths: list[Path]) -> Found:
    found = {}
    for path in paths:
        with Image.open(path) as opened:
            pixels = np.asarray(opened)
        assert np.array_equal(pixels, map_of(path.stem))
        found[path.stem] = set(np.unique(pixels).tolist()) - {0}
    return found


def read_semantic(root: Path) -> Found:
    names = json.loads((root / "classes.json").read_text(encoding="utf-8"))
    assert names == {"0": "good", **{str(n): name for name, n in CONTIGUOUS.items()}}
    return read_pngs(sorted((root / "masks").rglob("*.png")))


def read_voc(root: Path) -> Found:
    return read_pngs(sorted((root / "SegmentationClass").iterdir()))


def read_hugging_face(root: Path) -> Found:
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(root), cache_dir=str(root.parent / "cache"))
    found = {}
    for row in (row for split in loaded for row in loaded[split]):
        assert np.array_equal(np.asarray(row["mask"]), map_of(row["sample_id"]))
        found[row["sample_id"]] = set(row["objects"]["categories"])
    return found


def read_web_dataset(root: Path) -> Found:
    urls = [str(path) for path in sorted(root.rglob("*.tar"))]
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset closes no file
        for sample in webdataset.WebDataset(urls, shardshuffle=False):
            label = json.loads(sample["json"])
            with Image.open(io.BytesIO(sample["mask.png"])) as opened:
                assert np.array_equal(np.asarray(opened), map_of(label["sample_id"]))
            found[label["sample_id"]] = {one["category_id"] for one in label["objects"]}
    return found


def read_table(root: Path) -> Found:
    defects, images = pd.read_csv(root / "defects.csv"), pd.read_csv(root / "images.csv")
    found = {case: set(own["class_id"]) for case, own in defects.groupby("sample_id")}
    for row in images.to_dict("records"):
        assert row["class_id"] in (found.get(row["sample_id"]) or {0})
        assert CONTIGUOUS.get(row["defect_class"], 0) == row["class_id"]
    return {case: found.get(case, set()) for case in images["sample_id"]}


def read_fiftyone(root: Path) -> Found:
    samples = json.loads((root / "samples.json").read_text(encoding="utf-8"))["samples"]
    return {
        Path(one["filepath"]).stem: {d["class_id"] for d in one["ground_truth"]["detections"]}
        for one in samples
    }


READERS: dict[str, Callable[[Path], Found]] = {
    "coco": read_coco,
    "fiftyone": read_fiftyone,  # its own reader takes names: test_fiftyone_dataset
    "imagefolder": read_hugging_face,
    "parquet": read_hugging_face,
    "semantic": read_semantic,
    "table": read_table,
    "voc": read_voc,
    "webdataset": read_web_dataset,
    "yolo": read_yolo,
}


@pytest.mark.parametrize("name", READERS)
def test_every_format_holds_ids_without_gaps(run, tmp_path, name, capsys) -> None:
    labels = number_contiguously(read_labels(run))
    done = export(labels, {name: build_format(name)}, tmp_path / "out", Media())
    assert READERS[name](done.path / name) == asked()
    told = json.loads((done.path / "class_ids.json").read_text(encoding="utf-8"))
    assert told == {"ids": "contiguous", "classes": CONTIGUOUS, "run_ids": CLASSES}
    sheet = (done.path / "datasheet.md").read_text(encoding="utf-8")
    assert "| scratch | 2 |" in sheet
    assert "In the run they are: pit 9, scratch 10, stain 12." in sheet
    if name == "yolo":
        assert "0 = pit (9), 1 = scratch (10), 2 = stain (12)" in done.losses["yolo"].notes[-1]


def test_ids_are_the_configs_unless_asked(run, tmp_path) -> None:
    done = export_run(f"run.folder={run}", "format=[semantic]", f"out={tmp_path}/out", quiet=True)
    assert dict(done.labels.classes) == CLASSES
    told = json.loads((done.path / "class_ids.json").read_text(encoding="utf-8"))
    assert told == {"ids": "config", "classes": CLASSES}


def test_a_network_gets_as_many_outputs_as_there_are_classes(run) -> None:
    labels = number_contiguously(read_labels(run))
    data = DefectDataset(labels, target="both")
    assert data.num_classes == 4  # good and three classes
    for image, (_, target) in zip(data.images, data, strict=True):
        assert np.array_equal(target["semantic"].numpy(), map_of(image.sample_id))
        assert set(target["labels"].tolist()) == asked()[image.sample_id]


def test_a_mask_that_is_not_the_runs_is_told_when_it_is_renumbered(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    with Image.open(copy / "masks" / "hole.png") as opened:
        pixels = np.asarray(opened).copy()
    pixels[0, 0] = 12
    Image.fromarray(pixels).save(copy / "masks" / "hole.png")
    labels = number_contiguously(read_labels(copy))
    with pytest.raises(RunError, match=r"hole\.png"):
        export(labels, {"parquet": build_format("parquet")}, tmp_path / "out", Media())


def write(run: Path, out: Path, *settings: str) -> dict[str, int]:
    done = export_run(
        f"run.folder={run}", f"out={out}", "format=[coco,semantic]", *settings, quiet=True
    )
    return dict(done.labels.classes)


def test_a_dataset_goes_on_with_the_ids_that_it_has(run, tmp_path) -> None:
    """Real images of an earlier export keep their ids; what the run adds gets the next ones."""
    first = tmp_path / "first"
    assert write(run, first, "ids=contiguous") == CONTIGUOUS
    told = first / "class_ids.json"  # as of an export whose run had other classes
    told.write_text(json.dumps({"ids": "contiguous", "classes": {"stain": 1, "pit": 2}}))
    again = write(run, tmp_path / "again", "ids=contiguous", f"real.path={first}/coco")
    assert again == {"stain": 1, "pit": 2, "scratch": 3}


@pytest.mark.parametrize(("before", "now"), [("config", "contiguous"), ("contiguous", "config")])
def test_a_dataset_does_not_go_on_with_other_ids(run, tmp_path, before, now) -> None:
    write(run, tmp_path / "first", f"ids={before}")
    with pytest.raises(ConfigError, match=rf"ids={before}.*pit.*give ids={before}, as there"):
        write(run, tmp_path / "second", f"ids={now}", f"real.path={tmp_path}/first/coco")
    assert not (tmp_path / "second").exists()


def test_values_of_masks_that_the_export_does_not_have_are_refused(run, tmp_path) -> None:
    write(run, tmp_path / "first", "ids=contiguous")
    images = f"real.path={tmp_path}/first/semantic/images"
    masks = f"real.masks={tmp_path}/first/semantic/masks"
    with pytest.raises(ConfigError, match=r"real\.classes=\{scratch: 1\}.*has the id 2"):
        write(
            run, tmp_path / "second", "ids=contiguous", images, masks, "real.classes={scratch: 1}"
        )
