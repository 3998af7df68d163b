"""Tables, read back by pandas and Arrow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synthgen.exporting.formats.table import Table
from synthgen.exporting.labels import LabelledSet
from synthgen.exporting.media import Media
from synthgen.imaging.geometry import rle_to_mask
from synthgen.runs.reader import read_run
from tests.loader_set import MEASURES, PHOTO, make_loader_set, write_twice

TEXT = {"sample_id": str, "rle": str}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def labels(root) -> LabelledSet:
    return make_loader_set(root)


@pytest.fixture(scope="module")
def folder(root, labels) -> Path:
    return write_twice(Table(), labels, root / "copy")[0]


def read(folder: Path, name: str, kind: str) -> pd.DataFrame:
    path = folder / f"{name}.{kind}"
    if kind == "parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path, dtype=TEXT, keep_default_na=False)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_defect_is_a_row_and_its_mask_is_exact(kind, folder, labels) -> None:
    rows = iter(read(folder, "defects", kind).to_dict("records"))
    for image in labels:
        for number, defect in enumerate(image.defects, start=1):
            row = next(rows)
            assert (row["sample_id"], row["instance_id"]) == (image.sample_id, number)
            assert (row["class_id"], row["split"]) == (defect.class_id, image.split)
            assert row["defect_class"] == labels.names[defect.class_id]
            assert tuple(row[f"box_{key}"] for key in "xywh") == defect.box
            size_hw = [row["height"], row["width"]]
            mask = rle_to_mask({"size": size_hw, "counts": row["rle"]})
            assert np.array_equal(mask, defect.mask(image.size_hw))
            assert row["area_px"] == mask.sum()
    assert next(rows, None) is None


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_image_is_a_row_with_all_of_the_manifest(kind, folder, labels, root) -> None:
    table = read(folder, "images", kind).set_index("sample_id", drop=False)
    assert list(table.index) == [image.sample_id for image in labels]
    manifest = read_run(root / "run").manifest
    paths = {"image", "mask", "requested", "control", "source_path", "photo"}  # of the run
    paths |= {"image_digest", "mask_digest"}
    assert set(manifest.columns) - paths <= set(table.columns)
    assert not paths & set(table.columns)
    for image in labels:
        row = table.loc[image.sample_id]
        assert (row["split"], row["group"]) == (image.split, image.group)
        assert (row["synthetic"], row["digital_source"]) == (
            image.is_synthetic,
            image.digital_source,
        )
        assert (row["height"], row["width"]) == image.size_hw
        assert row["instances"] == len(image.defects)
        assert (folder / row["file_name"]).read_bytes() == Media().read(image)
        if image.sample_id != PHOTO:
            assert (row["prompt"], row["perceptual_hash"]) == (
                image.facts["prompt"],
                image.facts["perceptual_hash"],
            )


def test_types_and_missing_values_in_parquet(folder) -> None:
    table = read(folder, "images", "parquet").set_index("sample_id")
    assert table.loc["hole", list(MEASURES)].to_dict() == MEASURES
    assert table.loc["defect_free", list(MEASURES)].isna().all()
    assert table.loc[PHOTO, ["prompt", "seed", "perceptual_hash"]].isna().all()
    assert table["synthetic"].dtype == bool
    assert table["seam_delta_e"].dtype == float


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_media_refer_copies_nothing(kind, labels, root) -> None:
    folder, _ = write_twice(Table(kind=kind), labels, root / f"refer-{kind}", "refer")
    assert sorted(p.name for p in folder.iterdir()) == [f"defects.{kind}", f"images.{kind}"]
    for image, name in zip(labels, read(folder, "images", kind)["file_name"], strict=True):
        assert not Path(name).is_absolute()
        assert (folder / name).samefile(image.path.local)


def test_a_set_of_good_images_has_an_empty_table_of_defects(labels, root) -> None:
    good = LabelledSet(labels.classes, labels.of_split("val"))
    folder, _ = write_twice(Table(), good, root / "good")
    for kind in ("csv", "parquet"):
        table = read(folder, "defects", kind)
        assert {"rle", "fill_fraction"} <= set(table.columns)
        assert table.empty
