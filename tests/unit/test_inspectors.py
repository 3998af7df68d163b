"""Inspection models on real pretrained features: each learns a toy, and answers alike."""

from __future__ import annotations

import numpy as np
import pytest

from synthgen.errors import ConfigError
from synthgen.evaluation.inspectors.fitting import ComputePlace
from synthgen.evaluation.inspectors.models import MODELS, InspectionModel, find_default_model
from synthgen.evaluation.inspectors.prediction import Boxes
from synthgen.evaluation.utility.arms import Arm, Draw
from synthgen.evaluation.utility.learning import Examples, TrainingSettings
from synthgen.evaluation.utility.scores import (
    box_regions,
    boxes_above,
    pool,
    score_boxes,
    to_score_levels,
)
from synthgen.evaluation.utility.steps import choose_steps
from synthgen.training.features import has_features
from synthgen.training.inspection import standardise_crop
from synthgen.training.pictures import Picture

SETTINGS = TrainingSettings(batch_size=4, crop_px=64, precision="fp32")
STEPS = {"unet_pretrained": 25, "detector": 40, "patchcore": 0, "padim": 0}
needs_features = pytest.mark.skipif(not has_features(), reason="pretrained features are an extra")


def picture(number: int, spot: tuple[int, int] | None = None) -> Picture:
    """Return grey noise of 96 px, with a dark spot of 16 px where ``spot`` (row, column) says."""
    pixels = np.random.default_rng(number).normal(120, 6, (96, 96, 1)).clip(0, 255)
    mask = np.zeros((96, 96), bool)
    if spot is not None:
        mask[spot[0] : spot[0] + 16, spot[1] : spot[1] + 16] = True
        pixels[mask] = 40
    masks = {"pit": mask} if spot else {}
    name = f"p{number}"
    return Picture(name=name, group=name, pixels=pixels.astype(np.uint8), masks=masks)


@needs_features
@pytest.mark.filterwarnings("ignore")  # of anomalib's imports
@pytest.mark.parametrize("name", STEPS)
def test_a_model_finds_a_dark_spot(name) -> None:
    row = MODELS[name]
    row.check_packages()
    bad = [picture(n, (10 * n, 70 - 10 * n)) for n in range(1, 6)]
    draw = Draw(bad, [picture(20 + n) for n in range(6)], [])
    examples = Examples(row.training(SETTINGS, STEPS[name]), Arm(), draw, None, 0)
    look = row.train(examples, 1, ComputePlace(), lambda *_: None)
    unseen = picture(77, (40, 24))
    found = look(standardise_crop(unseen))
    assert found.logits.shape == (96, 96)
    levels = to_score_levels(found.logits)
    assert pool([levels], [unseen.mask]).average_precision() > 0.5
    if name == "detector":
        assert found.boxes is not None
        best = found.boxes.xyxy[found.boxes.scores.argmax()]
        np.testing.assert_allclose(best, [24, 40, 40, 56], atol=5)
    else:
        assert found.boxes is None


def test_boxes_are_half_open_and_specks_are_left_out() -> None:
    mask = np.zeros((20, 30), bool)
    mask[2:6, 3:10] = True
    mask[15, 20] = True
    assert box_regions(mask).tolist() == [[3, 2, 10, 6]]
    assert box_regions(np.zeros((4, 4), bool)).shape == (0, 4)


def test_box_ap_of_a_hand_made_case() -> None:
    mask = np.zeros((20, 30), bool)
    mask[2:6, 3:11] = True
    good = np.zeros((20, 30), bool)
    right = Boxes(np.array([[3, 2, 11, 6]], np.float32), np.array([0.5], np.float32))
    half = Boxes(np.array([[3, 2, 6, 6]], np.float32), np.array([0.5], np.float32))
    wrong = Boxes(np.array([[20, 10, 28, 18]], np.float32), np.array([0.9], np.float32))
    none = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    assert score_boxes([right, none], [mask, good]) == pytest.approx(1)
    assert score_boxes([half, none], [mask, good]) == pytest.approx(0)  # IoU 12 / 32
    assert score_boxes([right, wrong], [mask, good]) == pytest.approx(0.5)  # a louder false one
    assert np.isnan(score_boxes([none], [good]))


def test_boxes_are_drawn_around_what_a_threshold_marks() -> None:
    levels = np.zeros((20, 30), np.uint16)
    levels[2:6, 3:11] = 40000
    levels[3, 4] = 50000
    levels[10:12, 20:22] = 60000
    found = boxes_above(levels, 30000)
    assert found.xyxy.tolist() == [[20, 10, 22, 12], [3, 2, 11, 6]]
    assert found.scores.tolist() == pytest.approx([60000 / 65536, 50000 / 65536])
    assert len(boxes_above(levels, 65000).xyxy) == 0


def test_steps_are_the_fewest_that_no_longer_training_betters() -> None:
    assert choose_steps({50: 0.4, 100: 0.6, 200: 0.605}) == 100
    assert choose_steps({50: 0.4, 100: 0.405, 200: 0.5}) == 200  # a plateau that is none
    assert choose_steps({50: 0.4, 100: 0.6}) == 100


def test_a_missing_package_is_one_sentence() -> None:
    row = InspectionModel(
        name="padim", title="", trainer="good_only.train_padim", packages={"no_such": "training"}
    )
    with pytest.raises(ConfigError, match=r"needs the package no_such; pip install .*training"):
        row.check_packages()
    assert find_default_model() == ("unet_pretrained" if has_features() else "unet_small")
