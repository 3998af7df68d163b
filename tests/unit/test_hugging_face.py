"""Folders of Hugging Face, read back by ``datasets``: as a folder and by the loader's name."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml

from synthgen.exporting.formats.hugging_face import ImageFolder, Parquet
from synthgen.exporting.labels import LabelledSet
from synthgen.exporting.media import Media
from synthgen.imaging.geometry import rle_to_mask
from tests.loader_set import MEASURES, PHOTO, make_loader_set, write_twice

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import datasets
    from datasets import Image

SPLITS = {"train": "train", "val": "validation", "test": "test"}
FORMATS = {"imagefolder": ImageFolder(), "parquet": Parquet(rows_per_shard=4)}


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> LabelledSet:
    datasets.disable_progress_bars()
    return make_loader_set(tmp_path_factory.mktemp("hard"))


@pytest.fixture(scope="module")
def folders(labels, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("test")  # a name that datasets must not take for a split
    return {name: write_twice(f, labels, root / name)[0] for name, f in FORMATS.items()}


def load(folder: Path, cache: Path, loader: str = "") -> datasets.DatasetDict:
    where = {"path": loader, "data_dir": str(folder)} if loader else {"path": str(folder)}
    return datasets.load_dataset(**where, cache_dir=str(cache))


@pytest.mark.parametrize("by_name", [False, True], ids=["folder", "loader"])
@pytest.mark.parametrize("name", FORMATS)
def test_datasets_reads_every_label_exactly(name, by_name, labels, folders, tmp_path) -> None:
    loaded = load(folders[name], tmp_path, name if by_name else "")
    assert set(loaded) == set(SPLITS.values())
    rows = {row["sample_id"]: (split, row) for split in loaded for row in loaded[split]}
    assert len(rows) == len(labels) == sum(loaded.num_rows.values())
    for image in labels:
        split, row = rows[image.sample_id]
        assert (split, row["split"], row["group"]) == (
            SPLITS[image.split],
            image.split,
            image.group,
        )
        assert (row["height"], row["width"]) == image.size_hw == row["image"].size[::-1]
        assert (row["synthetic"], row["digital_source"]) == (
            image.is_synthetic,
            image.digital_source,
        )
        assert np.array_equal(np.asarray(row["mask"]), image.class_map())
        assert_equal_objects(row["objects"], image, labels)


def assert_equal_objects(objects, image, labels) -> None:
    defects = image.defects
    assert objects["id"] == list(range(1, len(defects) + 1))
    assert objects["bbox"] == [list(map(float, defect.box)) for defect in defects]
    assert objects["categories"] == [defect.class_id for defect in defects]
    assert objects["names"] == [labels.names[defect.class_id] for defect in defects]
    assert objects["area"] == [defect.area_px for defect in defects]
    for counts, defect in zip(objects["rle"], defects, strict=True):
        held = rle_to_mask({"size": list(image.size_hw), "counts": counts})
        assert np.array_equal(held, defect.mask(image.size_hw))


@pytest.mark.parametrize("name", FORMATS)
def test_the_files_of_the_images_are_inside_as_they_are(name, labels, folders, tmp_path) -> None:
    loaded = load(folders[name], tmp_path)
    for split in loaded.values():
        for row in split.cast_column("image", Image(decode=False)):
            image = next(i for i in labels if i.sample_id == row["sample_id"])
            held = row["image"]["bytes"] or Path(row["image"]["path"]).read_bytes()
            assert held == Media().read(image)
            assert Path(row["image"]["path"]).name == image.file_name


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_known_of_an_image_and_what_is_not(name, folders, tmp_path) -> None:
    loaded = load(folders[name], tmp_path)
    rows = {row["sample_id"]: row for split in loaded.values() for row in split}
    hole, good, photo = rows["hole"], rows["defect_free"], rows[PHOTO]
    assert (hole["prompt"], hole["seed"], hole["severity"]) == ("a scratch on metal", 5, 0.5)
    assert {key: hole[key] for key in MEASURES} == MEASURES
    assert {good[key] for key in MEASURES} == {None}
    assert (photo["prompt"], photo["seed"], photo["fill_fraction"]) == (None, None, None)


def test_parquet_is_cut_into_shards(folders) -> None:
    names = sorted(path.name for path in (folders["parquet"] / "data").iterdir())
    assert names == [
        "test-00000-of-00001.parquet",
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
        "validation-00000-of-00001.parquet",
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_the_card_says_where_files_are_and_no_licence(name, folders) -> None:
    card = yaml.safe_load((folders[name] / "README.md").read_text().strip("-\n"))
    assert list(card) == ["configs"]


def test_metadata_as_text_where_no_split_lacks_defects(labels, tmp_path) -> None:
    full = labels.with_splits({i.group: "test" if i.split == "val" else i.split for i in labels})
    folder, _ = write_twice(ImageFolder(metadata="jsonl"), full, tmp_path / "data")
    loaded = load(folder, tmp_path / "cache", "imagefolder")
    rows = {row["sample_id"]: row for split in loaded.values() for row in split}
    for image in full:
        assert_equal_objects(rows[image.sample_id]["objects"], image, full)


def test_metadata_as_text_fails_where_a_split_has_no_defect(labels, tmp_path) -> None:
    folder, _ = write_twice(ImageFolder(metadata="jsonl"), labels, tmp_path / "data")
    with pytest.raises(ValueError, match="have different features"):
        load(folder, tmp_path / "cache", "imagefolder")
