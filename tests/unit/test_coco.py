"""What a consumer of the files relies on; test_export_and_report.py reads the masks back."""

from __future__ import annotations

import json

import pytest

from synthgen.export.coco import write_coco
from tests.factories import make_run


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    out = write_coco(make_run(root / "run").root, root / "not" / "there" / "yet").path
    files = sorted((out / "annotations").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


def test_no_date_and_no_licence_is_invented(datasets) -> None:
    assert list(datasets) == ["instances_test", "instances_train"]
    for dataset in datasets.values():
        assert dataset["info"]["description"].startswith("Synthetic")
        assert sorted(dataset["info"]) == ["description", "synthetic"]
        assert dataset["licenses"] == []
        assert all("license" not in image for image in dataset["images"])


def test_ids_are_unique_over_all_splits_and_follow_the_sample_ids(datasets) -> None:
    images = [image for dataset in datasets.values() for image in dataset["images"]]
    images.sort(key=lambda image: image["file_name"])
    assert [image["id"] for image in images] == list(range(1, len(images) + 1))
    ids = [a["id"] for dataset in datasets.values() for a in dataset["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    for dataset in datasets.values():
        known = {image["id"] for image in dataset["images"]}
        assert {a["image_id"] for a in dataset["annotations"]} <= known
