"""``train_inspector``: one inspection model on a run, an export or real images, and its score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import synthgen
from synthgen.errors import ConfigError, RunError, ShapeError
from synthgen.exporting.labels import LabelledSet
from synthgen.training.features import has_features

SPOT_PX = 16
SMALL = {"run.count": 10, "run.good_fraction": 0.4, "splits": {"train": 0.5, "test": 0.5}}


def write_spots(root: Path, count: int, first: int) -> dict[str, object]:
    """Write photos of grey noise, every second one with a dark spot; return where they are."""
    photos, masks = root / "photos", root / "masks"
    for folder in (photos, masks):
        folder.mkdir(parents=True)
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        pixels, mask = rng.normal(120, 6, (96, 96)).clip(0, 255), np.zeros((96, 96), np.uint8)
        if number % 2:
            top, left = rng.integers(0, 96 - SPOT_PX, 2)
            mask[top : top + SPOT_PX, left : left + SPOT_PX] = 255
            pixels[mask > 0] = 40
            cv2.imwrite(str(masks / f"{number}.png"), mask)
        cv2.imwrite(str(photos / f"{number}.png"), pixels.astype(np.uint8))
    return {"real.path": photos, "real.masks": masks, "real.defect_class": "pit"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> synthgen.Run:
    folder = tmp_path_factory.mktemp("inspector") / "run"
    settings = {**SMALL, "run.folder": folder, "defect": ["pit"]}
    return synthgen.generate("debug=smoke", "backend=sketch", "quality=off", settings, quiet=True)


def test_it_finds_in_unseen_photos_what_it_has_learned(tmp_path: Path) -> None:
    seen = write_spots(tmp_path / "seen", 12, 0)
    unseen = write_spots(tmp_path / "unseen", 6, 50)
    inspector = synthgen.train_inspector(seen, model="unet_small", steps=40, quiet=True)
    assert inspector.score(unseen) > 0.8
    photos = sorted((tmp_path / "unseen" / "photos").iterdir())
    masks = tmp_path / "unseen" / "masks"
    found = inspector.predict(photos)
    for path, one in zip(photos, found, strict=True):
        assert one.shape == (96, 96)
        assert one.dtype == np.float32
        mask = cv2.imread(str(masks / path.name), cv2.IMREAD_GRAYSCALE)
        if mask is not None:
            assert one[mask > 0].mean() > 2 * one[mask == 0].mean()
    pixels = cv2.imread(str(photos[0]))
    np.testing.assert_array_equal(inspector.predict([pixels])[0], found[0])
    np.testing.assert_array_equal(inspector.predict([pixels[..., 0]])[0], found[0])
    with pytest.raises(ConfigError, match=r"the split 'test' shows no defect.*train"):
        inspector.score()
    with pytest.raises(ShapeError, match=r"\(96, 96, 4\) of uint8"):
        inspector.predict([np.zeros((96, 96, 4), np.uint8)])


def test_a_run_its_folder_its_export_and_a_data_module_are_the_same_data(run, tmp_path) -> None:
    pytest.importorskip("lightning")
    from synthgen.training.datamodule import DefectDataModule

    written = synthgen.export(
        {"run.folder": run.root, "format": ["coco"], "out": tmp_path / "out"}, quiet=True
    )
    given = (run, str(run.root), written, tmp_path / "out", DefectDataModule(run.root))
    scores = [
        synthgen.train_inspector(data, model="unet_small", steps=2, quiet=True).score()
        for data in given
    ]
    assert 0 < scores[0] < 1
    assert scores == pytest.approx([scores[0]] * len(given), abs=1e-6)


def test_painted_defects_may_be_left_out(run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no defects are in the split 'train'"):
        synthgen.train_inspector(run, model="unet_small", synthetic=False, quiet=True)
    real = write_spots(tmp_path / "real", 6, 0)
    written = synthgen.export(
        {"run.folder": run.root, "format": ["coco"], "out": tmp_path / "out"}, real, quiet=True
    )
    learned = synthgen.train_inspector(
        written, model="unet_small", steps=1, synthetic=False, quiet=True
    ).labels
    assert all(one.sample_id.startswith("real-") for one in learned if one.defects)
    assert sum(bool(one.defects) for one in learned) == 3
    assert any(not image.sample_id.startswith("real-") for image in learned)


@pytest.mark.skipif(not has_features(), reason="pretrained features are an extra")
@pytest.mark.filterwarnings("ignore")  # of anomalib's imports
def test_a_model_of_good_photos_alone_takes_no_steps(run) -> None:
    inspector = synthgen.train_inspector(run, model="patchcore", quiet=True)
    assert (inspector.model, inspector.steps) == ("patchcore", 0)
    assert 0 <= inspector.score() <= 1


def test_wrong_arguments_are_one_sentence(run, tmp_path: Path) -> None:
    train = synthgen.train_inspector
    with pytest.raises(ConfigError, match=r"model='unet' is unknown; choose from auto, unet_small"):
        train(run, model="unet")
    with pytest.raises(ConfigError, match="steps=0 is not possible: it must be 1 or more"):
        train(run, steps=0)
    with pytest.raises(ConfigError, match="device='gpu' is unknown"):
        train(run, device="gpu")
    with pytest.raises(RunError, match="give a run, or what synthgen export wrote"):
        train(tmp_path / "missing")
    with pytest.raises(ConfigError, match="int holds no labelled images"):
        train(3)  # type: ignore[arg-type]
    made = synthgen.train_inspector(run, model="unet_small", steps=1, quiet=True).labels
    bad = LabelledSet(made.classes, [replace(i, split="train") for i in made if i.defects])
    with pytest.raises(ConfigError, match="learns from them alone"):
        train(bad, model="patchcore", quiet=True)
