"""Label Studio's tasks, decoded and checked by its own SDK."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from synthgen.exporting.formats.label_studio import LabelStudio, encode_brush
from synthgen.exporting.labels import LabelledSet, read_labels
from synthgen.exporting.media import Media
from synthgen.exporting.write import export
from synthgen.imaging.geometry import mask_to_box
from synthgen.imaging.images import read_image
from tests.hard_set import CASES, CLASSES, TEST, make_hard_run, size_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from label_studio_sdk.converter.brush import decode_rle, encode_rle
    from label_studio_sdk.label_interface import LabelInterface


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> LabelledSet:
    return read_labels(make_hard_run(tmp_path_factory.mktemp("hard") / "run"))


@pytest.fixture(scope="module")
def root(labels, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("label_studio") / "out"
    done = export(labels, {"label_studio": LabelStudio()}, out, Media())
    assert done.losses["label_studio"].table().empty
    return done.path / "label_studio"


@pytest.fixture(scope="module")
def tasks(root) -> list[dict]:
    return json.loads((root / "tasks.json").read_text(encoding="utf-8"))


def decode(rle: list[int], size_hw: tuple[int, int]) -> np.ndarray:
    channels = decode_rle(rle).reshape(*size_hw, 4)
    assert (channels == channels[..., :1]).all()
    assert set(np.unique(channels)) <= {0, 255}
    return channels[..., 3] == 255


def test_boxes_and_brushes_hold_every_pixel(tasks) -> None:
    assert [task["data"]["sample_id"] for task in tasks] == sorted(CASES)
    for task in tasks:
        case = task["data"]["sample_id"]
        height, width = size_of(case)
        (prediction,) = task["predictions"]
        boxes, masks = prediction["result"][::2], prediction["result"][1::2]
        assert len(boxes) == len(masks) == len(CASES[case])
        assert len({region["id"] for region in prediction["result"]}) == 2 * len(boxes)
        for region in prediction["result"]:
            assert (region["original_height"], region["original_width"]) == (height, width)
        for box, mask, (name, own) in zip(boxes, masks, CASES[case], strict=True):
            value = box["value"]
            assert value["rectanglelabels"] == mask["value"]["brushlabels"] == [name]
            scale = np.array([width, height, width, height]) / 100
            percents = np.array([value[key] for key in ("x", "y", "width", "height")])
            assert percents * scale == pytest.approx(tuple(mask_to_box(own)), abs=1e-9)
            assert mask["value"]["format"] == "rle"
            assert np.array_equal(decode(mask["value"]["rle"], (height, width)), own), case


def test_the_sdk_accepts_config_and_predictions(root, tasks) -> None:
    config = LabelInterface((root / "config.xml").read_text(encoding="utf-8"))
    config.validate()
    for name in ("box", "mask"):
        assert list(config.get_control(name).labels) == list(CLASSES)
    for task in tasks:
        assert config.validate_task({"data": task["data"]})
        assert config.validate_prediction(task["predictions"][0], return_errors=True) == []


def test_tasks_name_their_images(labels, root, tasks) -> None:
    sources = {image.sample_id: image.digital_source for image in labels}
    for task in tasks:
        data = task["data"]
        (place,) = parse_qs(urlsplit(data["image"]).query)["d"]
        assert data["image"].startswith("/data/local-files/?d=")
        image = root.parent / place
        assert read_image(image).shape[:2] == size_of(data["sample_id"])
        assert data["split"] == ("test" if data["sample_id"] in TEST else "train")
        assert data["digital_source"] == sources[data["sample_id"]] != ""


def test_odd_names_and_another_prefix(labels, tmp_path) -> None:
    image = replace(next(i for i in labels if i.sample_id == "hole"), sample_id="a b&c#1")
    odd = {'<a> & "b"': 9}
    form = LabelStudio(prefix="https://host/files?d=x/")
    done = export(LabelledSet(odd, [image]), {"label_studio": form}, tmp_path / "out", Media())
    root = done.path / "label_studio"
    (task,) = json.loads((root / "tasks.json").read_text(encoding="utf-8"))
    assert parse_qs(urlsplit(task["data"]["image"]).query)["d"] == ["x/images/a b&c#1.png"]
    assert (root / "images" / "a b&c#1.png").is_file()
    config = LabelInterface((root / "config.xml").read_text(encoding="utf-8"))
    assert list(config.get_control("mask").labels) == list(odd)
    assert config.validate_prediction(task["predictions"][0], return_errors=True) == []


@pytest.mark.parametrize("run_px", [1, 2, 3, 4, 5, 63, 64, 65, 16384, 16385, 32768, 40000])
@pytest.mark.parametrize("starts_with", [False, True])
def test_every_length_of_a_run(run_px, starts_with) -> None:
    mask = np.zeros((1, 2 * run_px + 3), bool)
    mask[0, :run_px] = starts_with
    mask[0, run_px : 2 * run_px] = not starts_with
    rle = encode_brush(mask)
    assert np.array_equal(decode(rle, mask.shape), mask)
    if run_px < 10_000:  # the SDK's writer takes the longest kind for the rest of a longer run
        own = encode_rle(np.repeat(mask.ravel().astype(np.uint8) * 255, 4))
        assert rle == own[: len(rle)]
        assert own[len(rle) :] in ([], [0])


def test_a_large_noisy_mask_is_short() -> None:
    mask = np.random.default_rng(0).random((2000, 3000)) < 0.01
    rle = encode_brush(mask)
    assert len(rle) < 500_000
    small = mask[:100]
    assert np.array_equal(decode(encode_brush(small), small.shape), small)
