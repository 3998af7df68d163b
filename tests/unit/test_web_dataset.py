"""WebDataset shards, read back by ``webdataset`` and by ``datasets``."""

from __future__ import annotations

import json
import tarfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from synthgen.exporting.formats.web_dataset import WebDataset
from synthgen.exporting.labels import LabelledImage, LabelledSet
from synthgen.exporting.losses import LabelLoss
from synthgen.exporting.media import Media
from synthgen.imaging.geometry import rle_to_mask
from tests.loader_set import MEASURES, PHOTO, make_loader_set, write_twice

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import datasets
    import webdataset

SPLITS = {"train": "train", "val": "validation", "test": "test"}


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> LabelledSet:
    datasets.disable_progress_bars()
    return make_loader_set(tmp_path_factory.mktemp("hard"))


@pytest.fixture(scope="module")
def written(labels, tmp_path_factory) -> tuple[Path, LabelLoss]:
    return write_twice(WebDataset(samples_per_shard=3), labels, tmp_path_factory.mktemp("tars"))


def read_shards(samples: Iterable[Any]) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset closes no file
        return list(samples)


def members_of(path: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return tar.getmembers()


def test_shards_and_their_headers(written, labels) -> None:
    found = {path.name: members_of(path) for path in written[0].rglob("*.tar")}
    assert sorted(found) == [
        "test-000000.tar",
        "test-000001.tar",
        "train-000000.tar",
        "train-000001.tar",
        "val-000000.tar",
    ]
    members = [member for own in found.values() for member in own]
    assert len(members) == 3 * len(labels)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}


def test_webdataset_reads_every_label_exactly(written, labels) -> None:
    read = {}
    for split in labels.splits:
        urls = sorted(str(path) for path in (written[0] / split).glob("*.tar"))
        for sample in read_shards(webdataset.WebDataset(urls, shardshuffle=False)):
            label = json.loads(sample["json"])
            assert label["split"] == split
            read[label["sample_id"]] = (label, sample)
    assert list(read) == [i.sample_id for split in labels.splits for i in labels.of_split(split)]
    for image in labels:
        label, sample = read[image.sample_id]
        assert sample[image.path.suffix.lower()[1:]] == Media().read(image)
        data = np.frombuffer(sample["mask.png"], np.uint8)
        assert np.array_equal(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), image.class_map())
        assert_equal_objects(label, image, labels)


def test_webdataset_decodes_images_and_labels_by_itself(written) -> None:
    urls = str(written[0] / "test" / "test-000000.tar")
    images = webdataset.WebDataset(urls, shardshuffle=False).decode("pil")
    read = read_shards(images.to_tuple("png", "mask.png", "json"))
    assert len(read) == 3
    for image, mask, label in read:
        assert image.size == mask.size == (label["width"], label["height"])


def assert_equal_objects(label: dict, image: LabelledImage, labels: LabelledSet) -> None:
    assert (label["height"], label["width"]) == image.size_hw
    assert (label["group"], label["synthetic"]) == (image.group, image.is_synthetic)
    assert label["digital_source"] == image.digital_source
    assert len(label["objects"]) == len(image.defects)
    for number, (held, defect) in enumerate(
        zip(label["objects"], image.defects, strict=True), start=1
    ):
        assert (held["id"], held["category_id"]) == (number, defect.class_id)
        assert held["category"] == labels.names[defect.class_id]
        assert (held["bbox"], held["area"]) == (list(defect.box), defect.area_px)
        mask = rle_to_mask({"size": list(image.size_hw), "counts": held["rle"]})
        assert np.array_equal(mask, defect.mask(image.size_hw))


def test_datasets_reads_every_label_exactly(written, labels, tmp_path) -> None:
    loaded = datasets.load_dataset(str(written[0]), cache_dir=str(tmp_path))
    rows = {row["json"]["sample_id"]: (split, row) for split in loaded for row in loaded[split]}
    assert len(rows) == len(labels) == sum(loaded.num_rows.values())
    for image in labels:
        split, row = rows[image.sample_id]
        assert split == SPLITS[image.split]
        own, other = (
            (row["jpg"], row["png"]) if image.sample_id == PHOTO else (row["png"], row["jpg"])
        )
        assert other is None
        assert own.size[::-1] == image.size_hw
        assert np.array_equal(np.asarray(row["mask.png"]), image.class_map())
        assert_equal_objects(row["json"], image, labels)


def test_datasets_opens_shards_with_defects_by_the_loaders_name(written, tmp_path) -> None:
    files = str(written[0] / "test" / "*.tar")
    loaded = datasets.load_dataset(
        "webdataset", data_files={"test": files}, cache_dir=str(tmp_path)
    )
    assert [row["json"]["sample_id"] for row in loaded["test"]] == [
        "defect_free_test",
        "hole",
        "touching",
        "two_classes",
    ]


def test_a_dot_in_an_id_does_not_cut_the_key(written) -> None:
    shard = written[0] / "train" / "train-000001.tar"
    with tarfile.open(shard) as tar:
        names = [name for name in tar.getnames() if name.startswith("real")]
    key = "real-Teil 7%2E2%25ä"
    assert names == [f"{key}.json", f"{key}.mask.png", f"{key}.jpg"]


def test_what_is_known_of_an_image_without_paths_of_the_run(written) -> None:
    with tarfile.open(written[0] / "test" / "test-000000.tar") as tar:
        label = json.load(tar.extractfile("hole.json"))
    assert {key: label[key] for key in MEASURES} == MEASURES
    assert (label["prompt"], label["status"], label["seam_delta_e"]) == (
        "a scratch on metal",
        "accepted",
        None,
    )
    assert not {"image", "mask", "source_path", "photo"} & set(label)


def test_two_kinds_of_files_are_noted(written) -> None:
    assert written[1].notes == ['the shards hold jpg and png files; ask for "jpg;png"']
