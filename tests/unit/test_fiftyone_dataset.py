"""FiftyOneDataset folders, read back by FiftyOne and its database in a process of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from synthgen.exporting.formats.fiftyone_dataset import FiftyOne
from synthgen.exporting.labels import LabelledSet
from synthgen.exporting.media import Media
from synthgen.review.service.startup import StartupProgress
from tests import starter
from tests.loader_set import MEASURES, PHOTO, make_loader_set, write_twice

needs_fiftyone = pytest.mark.skipif(
    importlib.util.find_spec("fiftyone") is None, reason="fiftyone is not installed"
)
READER = """
import pickle, sys
import fiftyone as fo

found = {}
for name, folder in (("copy", sys.argv[1]), ("refer", sys.argv[2])):
    kind = fo.types.FiftyOneDataset
    dataset = fo.Dataset.from_dir(dataset_dir=folder, dataset_type=kind, progress=False)
    samples = []
    for sample in dataset:
        size = (sample.metadata.width, sample.metadata.height)
        known = {name: sample[name] for name in dataset.get_field_schema()}
        known.pop("ground_truth"), known.pop("metadata")
        detections = [
            {
                "label": d.label,
                "box": list(d.bounding_box),
                "mask": d.mask,
                "drawn": d.to_segmentation(frame_size=size).mask > 0,
                "facts": (d.defect_number, d.class_id, d.area_px),
            }
            for d in sample.ground_truth.detections
        ]
        samples.append({"size": size, "known": known, "detections": detections})
    found[name] = {
        "samples": samples,
        "tags": dataset.count_sample_tags(),
        "labels": dataset.count_values("ground_truth.detections.label"),
        "large": len(dataset.filter_labels("ground_truth", fo.ViewField("area_px") > 1000)),
        "shuffled": dataset.shuffle(seed=3).values("synthgen_id"),
        "classes": dataset.default_classes,
        "info": dict(dataset.info),
    }
with open(sys.argv[3], "wb") as file:
    pickle.dump(found, file)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fiftyone")


@pytest.fixture(scope="module")
def labels(root) -> LabelledSet:
    return make_loader_set(root)


@pytest.fixture(scope="module")
def folders(root, labels) -> list[Path]:
    modes = ("copy", "refer")
    return [write_twice(FiftyOne(), labels, root / mode, mode)[0] for mode in modes]


@pytest.fixture(scope="module")
def found(root, folders) -> dict[str, Any]:
    database, out = root / "database", root / "found.pickle"
    settings = {
        "FIFTYONE_DATABASE_DIR": str(database),
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_DATABASE_VALIDATION": "false",
    }
    command = ("-c", READER, *map(str, folders), str(out))
    done = starter.run(*command, kind="all", env=os.environ | settings)
    assert done.returncode == 0, done.stderr
    assert_database_ends(database)
    return pickle.loads(out.read_bytes())


def processes_of(database: Path) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [one for one in found if str(database) in " ".join(one.info["cmdline"] or ())]


def assert_database_ends(database: Path) -> None:
    progress = StartupProgress(*processes_of(database))
    while processes_of(database):
        assert not (progress.is_over() and processes_of(database)), "it is still running"
        time.sleep(0.2)


@needs_fiftyone
@pytest.mark.parametrize("mode", ["copy", "refer"])
def test_fiftyone_reads_every_label_exactly(mode, found, labels) -> None:
    samples = {sample["known"]["synthgen_id"]: sample for sample in found[mode]["samples"]}
    assert list(samples) == [image.sample_id for image in labels]
    for image in labels:
        sample = samples[image.sample_id]
        height, width = image.size_hw
        assert sample["size"] == (width, height)
        assert len(sample["detections"]) == len(image.defects)
        for number, (held, defect) in enumerate(
            zip(sample["detections"], image.defects, strict=True), start=1
        ):
            mask = defect.mask(image.size_hw)
            assert held["label"] == labels.names[defect.class_id]
            assert held["facts"] == (number, defect.class_id, defect.area_px)
            pixels = np.array(held["box"]) * (width, height, width, height)
            assert np.abs(pixels - defect.box).max() < 1e-9
            placed = np.zeros(image.size_hw, bool)
            x, y, box_width, box_height = np.rint(pixels).astype(int)
            placed[y : y + box_height, x : x + box_width] = held["mask"]
            assert np.array_equal(placed, mask)
            assert np.array_equal(held["drawn"], mask)


@needs_fiftyone
@pytest.mark.parametrize("mode", ["copy", "refer"])
def test_fiftyone_finds_the_images_and_what_is_known_of_them(mode, found, folders, labels) -> None:
    samples = {sample["known"]["synthgen_id"]: sample["known"] for sample in found[mode]["samples"]}
    for image in labels:
        known = samples[image.sample_id]
        assert known["tags"] == [image.split]
        assert (known["group"], known["synthetic"]) == (image.group, image.is_synthetic)
        assert known["digital_source"] == image.digital_source
        path = Path(known["filepath"])
        if mode == "refer":
            assert path.samefile(image.path.local)
        else:
            assert path == folders[0] / "data" / image.file_name
            assert path.read_bytes() == Media().read(image)
    hole, good, photo = samples["hole"], samples["defect_free"], samples[PHOTO]
    assert {name: hole[name] for name in MEASURES} == MEASURES
    assert (hole["prompt"], hole["seed"], hole["severity"]) == ("a scratch on metal", 5, 0.5)
    assert (hole["status"], good["status"], photo["status"]) == ("accepted", "good", None)
    assert (hole["defect_class"], good["defect_class"]) == ("pit", "")
    assert {good[name] for name in MEASURES} == {None}


@needs_fiftyone
def test_fiftyone_counts_filters_and_shuffles(found, labels) -> None:
    read = found["copy"]
    defects = [labels.names[d.class_id] for image in labels for d in image.defects]
    assert read["labels"] == {name: defects.count(name) for name in labels.classes}
    assert read["tags"] == {split: len(labels.of_split(split)) for split in labels.splits}
    assert read["large"] == sum(any(d.area_px > 1000 for d in i.defects) for i in labels) == 1
    assert sorted(read["shuffled"]) == [image.sample_id for image in labels]
    assert read["shuffled"] != sorted(read["shuffled"])
    assert (read["classes"], read["info"]) == (list(labels.classes), {"synthetic": True})


def test_ids_differ_between_runs_with_the_same_sample_ids(labels, folders, root) -> None:
    again = [replace(i, facts={**i.facts, "seed": 6}) for i in labels]
    folder, _ = write_twice(FiftyOne(), replace(labels, images=again), root / "again")
    one, other = (read_ids(f) for f in (folders[0], folder))
    assert len(one) == len(set(one)) == len(labels) + sum(len(i.defects) for i in labels)
    assert not set(one) & set(other)


def read_ids(folder: Path) -> list[str]:
    samples = json.loads((folder / "samples.json").read_text())["samples"]
    documents = [d for s in samples for d in (s, *s["ground_truth"]["detections"])]
    return [document["_id"]["$oid"] for document in documents]
