"""Utility: scores of hand-made maps, fair draws, pastes that mark what they change."""

from __future__ import annotations

import json
import math
import re
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional.classification import binary_average_precision

from synthgen.config.objects import check_value
from synthgen.errors import ConfigError, SourceError
from synthgen.evaluation.inspectors.fitting import ComputePlace, SegmentationLoss
from synthgen.evaluation.inspectors.models import MODELS
from synthgen.evaluation.utility import pastes
from synthgen.evaluation.utility.arms import Arm, Draw, make_synthesis
from synthgen.evaluation.utility.compare import average_models, compare_arms, pair_scores
from synthgen.evaluation.utility.learning import Examples, TrainingSettings
from synthgen.evaluation.utility.pages.words import tell_failures
from synthgen.evaluation.utility.pictures import (
    carve_validation,
    cut_good_areas,
    draw_budget,
    tally,
)
from synthgen.evaluation.utility.scores import (
    f1_at,
    pool,
    precision_recall_at,
    pro,
    score_classes,
    score_image_threshold,
    score_images,
    to_probability,
    to_score_levels,
    top_mean,
)
from synthgen.evaluation.utility.worth import measure_worth
from synthgen.realdata.read import read_real
from synthgen.training.inspection import Variation, crop_defect, crop_good, standardise_crop
from synthgen.training.pictures import Picture, read_pictures
from tests.cli import run_here

SETTINGS = TrainingSettings(widths=(8, 16), learning_rate=3e-3, crop_px=32, precision="fp32")
FEW = MODELS["unet_small"].training(SETTINGS, 60)


def rectangle(
    top: int, bottom: int, left: int, right: int, size: tuple[int, int] = (64, 64)
) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def picture(number: int, group: str, **masks: np.ndarray) -> Picture:
    """Return grey noise, dark where there is a defect."""
    rng = np.random.default_rng(number)
    pixels = rng.normal(120, 4, (64, 64, 1)).clip(0, 255).astype(np.uint8)
    for mask in masks.values():
        pixels[mask] = 40
    return Picture(name=f"p{number}", group=group, pixels=pixels, masks=masks)


def parts(count: int = 6) -> list[Picture]:
    """Return so many parts, each with a good image and one of each of two classes."""
    made = []
    for number in range(count):
        at = 8 + 4 * number
        pit = rectangle(at, at + 6, 30, 38)
        crack = rectangle(at, at + 20, 12, 14)
        made += [
            picture(3 * number, f"part{number}"),
            picture(3 * number + 1, f"part{number}", pit=pit),
            picture(3 * number + 2, f"part{number}", crack=crack),
        ]
    return made


# scores


def test_pixel_ap_and_f1_of_a_hand_made_map() -> None:
    logits = np.array([[4.0, 3.0, 2.0, 1.0]], np.float32)
    mask = np.array([[True, False, True, False]])
    pooled = pool([to_score_levels(logits)], [mask])
    assert pooled.average_precision() == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert pooled.f1().max() == pytest.approx(2 * 2 / (3 + 2))  # the threshold takes in three
    level = int(to_score_levels(np.float32(3.5)))
    assert f1_at(pooled, level) == pytest.approx(2 / 3)
    assert precision_recall_at(pooled, level) == (1.0, 0.5)
    assert to_probability(level) == pytest.approx(1 / (1 + math.exp(-3.5)), abs=1e-4)


def test_pixel_ap_is_that_of_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    maps = [to_score_levels(rng.normal(0, 3, (20, 30)).astype(np.float32)) for _ in range(3)]
    masks = [rng.random((20, 30)) < 0.1 + 0.3 * (m > 40000) for m in maps]
    flat = torch.tensor(np.concatenate([m.ravel() for m in maps]).astype(np.float64) / 65535)
    truth = torch.tensor(np.concatenate([m.ravel() for m in masks])).int()
    expected = float(binary_average_precision(flat, truth))
    assert pool(maps, masks).average_precision() == pytest.approx(expected, abs=1e-6)


def test_ap_without_a_defect_is_no_number() -> None:
    assert math.isnan(
        pool([to_score_levels(np.zeros((2, 2)))], [np.zeros((2, 2), bool)]).average_precision()
    )


def test_pro_weighs_a_small_defect_like_a_large_one() -> None:
    mask = rectangle(0, 20, 0, 20) | rectangle(40, 42, 40, 42)
    large_only = np.where(rectangle(0, 20, 0, 20), 5.0, -5.0).astype(np.float32)
    levels = [to_score_levels(large_only)]
    # half of the regions at no false alarm, then a straight line to all of both at a rate of 1
    assert pro(levels, [mask], pool(levels, [mask])) == pytest.approx(0.5 + 0.5 * 0.3 / 2)
    both = [to_score_levels(np.where(mask, 5.0, -5.0))]
    assert pro(both, [mask], pool(both, [mask])) == pytest.approx(1.0)


def test_image_scores_of_a_hand_made_case() -> None:
    found = score_images([100.0, 300.0, 200.0, 400.0], [False, False, True, True])
    assert found["image_auroc"] == pytest.approx(3 / 4)
    assert found["image_ap"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert math.isnan(score_images([1.0], [True])["image_auroc"])
    assert top_mean(np.arange(100, dtype=np.uint16).reshape(10, 10), 0.02) == 98.5


def test_a_class_is_scored_without_the_others() -> None:
    both = picture(0, "a", pit=rectangle(0, 8, 0, 8), crack=rectangle(30, 32, 0, 60))
    good = picture(1, "b")
    finds_pits = np.where(both.masks["pit"], 5.0, np.where(both.masks["crack"], 8.0, -5.0))
    maps = [to_score_levels(finds_pits), to_score_levels(np.full((64, 64), -5.0))]
    found = score_classes([both, good], maps)
    assert found == {"ap_crack": pytest.approx(1.0), "ap_pit": pytest.approx(1.0)}
    blind = [to_score_levels(np.full((64, 64), -5.0))] * 2
    assert score_classes([both, good], blind)["ap_pit"] == pytest.approx(64 / (2 * 4096 - 120))


# draws


def test_validation_takes_whole_groups_and_leaves_some() -> None:
    pictures = parts()
    held = carve_validation(pictures, 0.3, 1)
    assert len(held) == 2
    assert held == carve_validation(pictures, 0.3, 1)
    assert any(carve_validation(pictures, 0.3, seed) != held for seed in range(2, 6))


def test_a_class_of_one_part_is_refused() -> None:
    lone = [*parts(3), picture(99, "lone", dent=rectangle(1, 5, 1, 5))]
    with pytest.raises(SourceError, match="'dent' are of 1 group"):
        carve_validation(lone, 0.3, 0)


def test_a_budget_shows_as_many_parts_as_it_can() -> None:
    pictures = [*parts(), *(picture(50 + n, "part0", pit=rectangle(1, 5, 1, 5)) for n in range(9))]
    drawn = draw_budget(pictures, 5, 3)
    assert sorted(name for one in drawn for name in one.masks) == ["crack"] * 5 + ["pit"] * 5
    pits = [one.group for one in drawn if "pit" in one.masks]
    assert len(set(pits)) == 5
    smaller = {one.name for one in draw_budget(pictures, 2, 3)}
    assert smaller < {one.name for one in drawn}
    assert draw_budget(pictures, 0, 3) == []
    assert len(draw_budget(pictures, None, 3)) == 21


def test_images_and_parts_of_each_class_are_counted() -> None:
    mask = rectangle(4, 8, 4, 8)
    both = picture(0, "a", pit=mask, crack=mask)
    counts = tally([both, picture(1, "a", pit=mask), picture(2, "b"), picture(3, "c", pit=mask)])
    assert [(one.name, one.images, one.parts) for one in counts] == [
        ("crack", 1, 1),
        ("pit", 3, 2),
        ("good", 1, 1),
    ]


def test_an_image_of_two_classes_counts_for_both() -> None:
    two = {"crack": rectangle(1, 9, 1, 3), "pit": rectangle(20, 26, 20, 26)}
    pictures = [picture(n, f"g{n}", **two) for n in range(4)]
    assert len(draw_budget(pictures, 2, 0)) == 2


@pytest.mark.parametrize("corner", [(0, 0), (30, 40), (50, 20)])
def test_the_largest_square_without_a_defect_is_cut_out(corner) -> None:
    row, column = corner
    pit = rectangle(row, row + 12, column, column + 12)
    (area,) = cut_good_areas([picture(0, "a", pit=pit)], 20)
    assert area.group == "a"
    assert not area.masks
    height, width = area.pixels.shape[:2]
    assert height == width >= 20
    assert area.pixels.min() > 80  # the pit is 40
    windows = np.lib.stride_tricks.sliding_window_view(pit, (height + 12, width + 12))
    assert windows.any(axis=(2, 3)).all()  # none much larger is free
    assert cut_good_areas([picture(0, "a", pit=pit)], 60) == []


# crops


def test_a_plain_crop_is_the_image_itself_and_holds_the_defect() -> None:
    one = picture(0, "a", pit=rectangle(40, 46, 10, 18))
    groups = {"pit": [one]}
    for seed in range(20):
        pixels, truth = crop_defect(np.random.default_rng(seed), groups, 32, None)
        assert truth.sum() == 48
        rows, columns = np.nonzero(truth)
        top, left = 40 - rows.min(), 10 - columns.min()
        whole = standardise_crop(one)[top : top + 32, left : left + 32]
        np.testing.assert_allclose(pixels, whole, atol=1e-5)


def test_a_varied_crop_keeps_pixels_and_truth_together() -> None:
    one = picture(0, "a", pit=rectangle(24, 40, 24, 40))
    variation = Variation(turn_deg=180, scale=1.25, bend_px=1.0, light=0.0, noise=0.0)
    for seed in range(10):
        pixels, truth = crop_defect(np.random.default_rng(seed), {"pit": [one]}, 32, variation)
        dark = pixels[..., 0] < pixels[..., 0].mean() - 0.5 * pixels[..., 0].std()
        shared = (dark & (truth > 0)).sum() / max(1, (dark | (truth > 0)).sum())
        assert truth.any()
        assert shared > 0.75


def test_a_crop_larger_than_the_image_is_mirrored() -> None:
    pixels, truth = crop_good(np.random.default_rng(0), [picture(0, "a")], 96, None)
    assert pixels.shape == (96, 96, 1)
    assert not truth.any()


# pastes


def good_and_patch(channels: int = 1) -> tuple[np.ndarray, pastes.Patch]:
    good = np.full((80, 90, channels), 150, np.uint8)
    crop = np.full((26, 20, channels), 100, np.uint8)
    mask = rectangle(8, 18, 8, 12, (26, 20))
    crop[mask] = 40
    return good, (crop, mask)


@pytest.mark.parametrize("is_poisson", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_pasted_defect_lies_under_its_label_in_the_new_light(is_poisson, channels) -> None:
    good, patch = good_and_patch(channels)
    for seed in range(10):
        painted, label = pastes.paste_defect(np.random.default_rng(seed), good, patch, is_poisson)
        change = 150 - painted.astype(int)[..., 0]
        assert painted.shape == good.shape
        assert 10 <= label.sum() <= 100
        assert change[label].mean() > 35  # 60 darker than its surroundings, here as there
        assert np.abs(change[cv2.dilate(label.astype(np.uint8), np.ones((21, 21))) == 0]).max() <= 1
    assert (good == 150).all()


def test_perlin_noise_is_smooth_and_fills_its_range() -> None:
    noise = pastes.perlin_noise(np.random.default_rng(0), (128, 128), (4, 8))
    assert noise[::32, ::16] == pytest.approx(0, abs=1e-6)  # at the corners of its cells
    assert 0.6 < np.abs(noise).max() <= 1.01
    assert np.abs(np.diff(noise, axis=0)).max() < 0.2


def test_perlin_changes_nothing_outside_its_mask() -> None:
    good, _ = good_and_patch()
    texture = np.full((40, 200, 1), 20, np.uint8)
    marked = 0
    for seed in range(8):
        painted, label = pastes.blend_perlin(np.random.default_rng(seed), good, texture)
        assert (painted[~label] == good[~label]).all()
        marked += bool(label.any())
    assert marked >= 4


def test_nsa_labels_what_changed() -> None:
    rng = np.random.default_rng(0)
    good, other = (rng.integers(90, 160, (80, 90, 1)).astype(np.uint8) for _ in range(2))
    for seed in range(8):
        painted, label = pastes.blend_nsa(np.random.default_rng(seed), good, other)
        change = np.abs(painted.astype(int) - good)[..., 0]
        assert label.any()
        assert change[label].mean() > change[~label].mean() + 5


def test_a_sketch_is_where_its_mask_is() -> None:
    good, _ = good_and_patch(1)
    painted, label = pastes.draw_sketch(np.random.default_rng(1), good, ["pit"])
    assert label.any()
    assert np.abs(painted.astype(int) - good)[label].mean() > 5


# arms


def draw_of(pictures: list[Picture]) -> Draw:
    return Draw(
        [one for one in pictures if one.masks],
        [one for one in pictures if not one.masks],
        pictures[:3],
    )


@pytest.mark.parametrize("recipe", ["paste", "poisson", "perlin", "nsa", "sketch"])
def test_every_recipe_paints_pieces_and_whole_images(recipe) -> None:
    synthesis = make_synthesis(Arm(synthetic=recipe), draw_of(parts()), (), 32)
    piece = synthesis.piece(np.random.default_rng(0))
    assert piece.pixels.shape == (48, 48, 1)
    assert piece.mask.any()
    assert synthesis.whole(np.random.default_rng(0), 0).pixels.shape == (64, 64, 1)


def test_what_an_arm_may_be() -> None:
    assert check_value(Arm, "runs/a-@budget-@seed", "arms.a").runs_at("5", 2) == ("runs/a-5-2",)
    both = check_value(Arm, ["runs/a-@seed", "runs/b"], "arms.a")
    assert both.runs_at("all", 1) == ("runs/a-1", "runs/b")
    assert not Arm(synthetic="paste").can_learn(0)
    assert Arm(synthetic="perlin").can_learn(0)
    assert not Arm().can_learn(0)
    with pytest.raises(ConfigError, match="without real defects"):
        check_value(Arm, {"real": False}, "arms.a")


def test_arms_of_one_seed_see_the_same_real_crops() -> None:
    draw = draw_of(parts())
    arm = Arm(synthetic="perlin")
    synthesis = make_synthesis(arm, draw, (), FEW.crop_px)
    plain = Examples(FEW, Arm(), draw, None, 4).crops(2)
    mixed = Examples(FEW, arm, draw, synthesis, 4).crops(2)
    assert len(plain) == len(mixed) == 16
    for own, other in zip(plain[:4] + plain[8:], mixed[:4] + mixed[8:], strict=True):
        np.testing.assert_array_equal(own[0], other[0])
    assert not np.array_equal(plain[4][0], mixed[4][0])


def test_an_arm_mixes_in_its_own_way() -> None:
    draw = draw_of(parts())
    plain = Examples(FEW, Arm(), draw, None, 4)

    def mixed(**mixing: object) -> Examples:
        arm = check_value(Arm, {"synthetic": "perlin", "mixing": mixing}, "arms.a")
        return Examples(FEW, arm, draw, make_synthesis(arm, draw, (), FEW.crop_px), 4)

    first = mixed(order="synthetic_first")  # of 60 steps 30
    for own, other in zip(plain.crops(30), first.crops(30), strict=True):
        np.testing.assert_array_equal(own[0], other[0])
    assert not any(
        np.array_equal(own[0], other[0])
        for own, other in zip(plain.crops(29)[:8], first.crops(29)[:8], strict=True)
    )
    quarter = mixed(synthetic_fraction=0.25).crops(3)
    for number, (own, other) in enumerate(zip(plain.crops(3)[:8], quarter[:8], strict=True)):
        assert np.array_equal(own[0], other[0]) == (number < 6)
    ignored, hard = mixed(border="ignored").crops(3), mixed().crops(3)
    assert all(truth.min() == 0 for _, truth in ignored[:4])  # real labels are people's
    assert any((truth == -1).any() for _, truth in ignored[4:8])
    for own, other in zip(ignored, hard, strict=True):
        np.testing.assert_array_equal(own[0], other[0])
    with pytest.raises(ConfigError, match="mixing needs synthetic or run"):
        check_value(Arm, {"mixing": {}}, "arms.a")
    with pytest.raises(ConfigError, match=r"drop_least_real needs run"):
        check_value(Arm, {"synthetic": "perlin", "mixing": {"drop_least_real": 0.5}}, "arms.a")
    sifted = check_value(Arm, {"run": "r", "mixing": {"drop_least_real": 0.5}}, "arms.a")
    assert not sifted.can_learn(0)  # there is nothing real to compare with
    assert sifted.can_learn(5)


def test_an_ignored_pixel_teaches_nothing() -> None:
    lose = SegmentationLoss(torch.nn.Identity(), "fp32")
    logits = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    truth = (torch.arange(8) < 3).float().expand(2, 1, 8, 8).clone()
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    shared, sums = (logits.sigmoid() * truth).sum(), logits.sigmoid().sum() + truth.sum()
    assert torch.equal(lose(logits, truth), plain + (1 - (2 * shared + 1) / (sums + 1)))
    truth[..., 2:4] = -1
    known = torch.cat([logits[..., :2], logits[..., 4:]], dim=-1)
    kept = torch.cat([truth[..., :2], truth[..., 4:]], dim=-1)
    torch.testing.assert_close(lose(logits, truth), lose(known, kept))
    loud = logits.clone()
    loud[..., 2:4] = 9
    assert torch.equal(lose(loud, truth), lose(logits, truth))


def test_a_model_learns_to_find_dark_spots_and_is_the_same_again() -> None:
    draw = draw_of(parts())
    state = torch.get_rng_state()
    examples = Examples(FEW, Arm(), draw, None, 0)
    train = MODELS["unet_small"].train
    look, again = (train(examples, 1, ComputePlace(), lambda *_: None) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    unseen = picture(77, "new", pit=rectangle(11, 18, 40, 49))
    logits = look(standardise_crop(unseen)).logits
    assert logits.shape == (64, 64)
    assert pool([to_score_levels(logits)], [unseen.mask]).average_precision() > 0.7
    np.testing.assert_array_equal(logits, again(standardise_crop(unseen)).logits)


# differences


def test_a_paired_difference_has_the_interval_of_students_t() -> None:
    mean, low, high = pair_scores([0.30, 0.34, 0.41], [0.20, 0.22, 0.33])
    gaps = np.array([0.10, 0.12, 0.08])
    reach = 2.9199856 * gaps.std(ddof=1) / 3**0.5  # t of 2 degrees of freedom at 0.95
    assert (mean, low, high) == pytest.approx((0.1, 0.1 - reach, 0.1 + reach))
    assert math.isnan(pair_scores([1.0], [0.5])[1])


def test_only_seeds_that_both_arms_have_are_compared() -> None:
    rows = pd.DataFrame(
        {"arm": list("aabba"), "budget": "5", "seed": [0, 1, 0, 1, 2]}
        | {"pixel_ap": [0.1, 0.2, 0.3, 0.3, 0.9]}
    )
    (found,) = compare_arms(rows)
    assert (found.arm, found.against, found.seeds) == ("b", "a", 2)
    assert found.mean == pytest.approx(0.15)
    assert not found.is_clear


def test_a_seed_counts_once_however_many_models_it_has() -> None:
    rows = pd.DataFrame(
        {"arm": list("aaaabb"), "budget": "5", "seed": [0, 0, 1, 1, 0, 1], "model": [0, 1] * 3}
        | {"pixel_ap": [0.1, 0.2, 0.3, 0.5, 0.4, 0.5], "f1_synthetic_threshold": [math.nan] * 6}
    )
    mean = average_models(rows)
    assert list(mean["pixel_ap"]) == pytest.approx([0.15, 0.4, 0.4, 0.5])
    assert list(mean) == ["arm", "budget", "seed", "pixel_ap", "f1_synthetic_threshold"]
    (found,) = compare_arms(mean)
    assert (found.seeds, found.mean) == (2, pytest.approx((0.25 + 0.1) / 2))


# what it is worth


def scores_of(arm: str, budget: str, images: int, values: list[float]) -> list[dict[str, object]]:
    return [
        {"inspector": "unet_small", "arm": arm, "budget": budget, "seed": seed}
        | {"pixel_ap": value, "real_defect_images": images, "f1": 0.5, "best_f1": 0.5}
        for seed, value in enumerate(values)
    ]


CURVE = [
    *scores_of("classical", "5", 10, [0.40, 0.42, 0.44]),
    *scores_of("classical", "10", 20, [0.50, 0.52, 0.54]),
    *scores_of("classical", "all", 80, [0.60, 0.62, 0.64]),
]


def test_worth_is_read_off_the_curve_with_its_interval() -> None:
    rows = pd.DataFrame(CURVE + scores_of("adapted", "5", 10, [0.50, 0.52, 0.54]))
    (one,) = measure_worth(rows, "classical")
    assert one.worth == pytest.approx(20)
    assert one.low == pytest.approx(one.high) == pytest.approx(20)  # every seed gains the same
    assert one.is_rising

    rows = pd.DataFrame(CURVE + scores_of("adapted", "5", 10, [0.54, 0.57, 0.60]))
    (one,) = measure_worth(rows, "classical")  # half way from 20 to 80, by their logarithm
    assert one.worth == pytest.approx(40)
    # the interval holds what the paired difference does not tell from 0: at its ends it touches
    reach = 2.9199856 * 0.01 / 3**0.5
    assert one.low == pytest.approx(2 ** (np.log2(20) + 2 * (0.05 - reach) / 0.1))
    assert one.high == pytest.approx(2 ** (np.log2(20) + 2 * (0.05 + reach) / 0.1))
    assert "about 40 real images, 4.0 times the 10 that it had" in one.told


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.80, 0.82, 0.85], "more than 80 real images, where the curve ends; so is its whole"),
        ([0.20, 0.21, 0.22], "fewer than 10 real images, where the curve starts; so is its"),
        ([0.54, 0.62, 0.70], "about 80 real images, 8.0 times .*interval: .* to more than 80"),
    ],
)
def test_what_lies_beyond_the_curve_is_said(values, said) -> None:
    rows = pd.DataFrame(CURVE + scores_of("adapted", "5", 10, values))
    (one,) = measure_worth(rows, "classical")
    assert re.search(said, one.told), one.told
    record = json.loads(json.dumps(one.to_record(), allow_nan=False))
    assert record["told"] == one.told
    assert (record["worth"] is None) == (not math.isfinite(one.worth))


def test_a_curve_that_does_not_rise_says_so_and_one_budget_says_nothing() -> None:
    flat = [
        *scores_of("classical", "5", 10, [0.50, 0.40, 0.45]),
        *scores_of("classical", "all", 80, [0.42, 0.50, 0.46]),
    ]
    adapted = scores_of("adapted", "5", 10, [0.46, 0.46, 0.46])
    (one,) = measure_worth(pd.DataFrame(flat + adapted), "classical")
    assert "does not clearly rise, so this says little" in one.told
    assert measure_worth(pd.DataFrame(CURVE[:3] + adapted), "classical") == []
    (alone,) = measure_worth(pd.DataFrame([CURVE[0], CURVE[3], adapted[0]]), "classical")
    assert "one draw, so without an interval" in alone.told


def test_what_did_not_help_is_said_of_arms_classes_and_thresholds() -> None:
    rows = pd.DataFrame(
        scores_of("classical", "5", 10, [0.40, 0.42, 0.44])
        + scores_of("paste", "5", 10, [0.30, 0.33, 0.34])
        + scores_of("adapted", "5", 10, [0.31, 0.50, 0.60])
        + scores_of("good", "5", 10, [0.60, 0.63, 0.64])
    )
    rows["ap_pit"] = [0.4, 0.4, 0.4, 0.5, 0.5, 0.6, 0.5, 0.5, 0.6, 0.1, 0.1, 0.2]
    rows.loc[rows["arm"] == "classical", "best_f1"] = 0.9
    told = tell_failures(rows, compare_arms(rows), "classical", simple=("paste",))
    assert told[0].startswith("paste (unet_small, 5 real a class) is worse than real defects alone")
    assert "adapted (unet_small, 5 real a class) is not told from real defects alone" in told[1]
    assert any("is not told from paste, a simpler way" in one for one in told)
    assert not any(one.startswith("good") and "pit" not in one for one in told)  # it helped
    assert "good (unet_small, 5 real a class) finds pit worse: -26.7 (-36.4 to -16.9)." in told
    assert "costs unet_small 10.0 points of F1" in told[-1]


def test_a_threshold_of_images_is_the_best_of_those_held_back() -> None:
    held = ([10.0, 20.0, 30.0, 40.0], [False, False, True, True])
    scored = ([5.0, 35.0, 31.0, 12.0], [False, False, True, True])
    found = score_image_threshold(held, scored)
    assert found["image_threshold"] == pytest.approx(to_probability(30.0))
    assert (found["image_precision"], found["image_recall"]) == (0.5, 0.5)


# the whole pipeline


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """Return a table of drawn parts, 6 to learn from and 2 to score on."""
    root = tmp_path_factory.mktemp("real")
    rows = []
    for one in parts(8):
        cv2.imwrite(str(root / f"{one.name}.png"), one.pixels)
        mask = f"{one.name}_mask.png" if one.masks else ""
        if mask:
            cv2.imwrite(str(root / mask), one.mask.astype(np.uint8) * 255)
        kind = next(iter(one.masks), "good")
        split = "val" if one.group in ("part6", "part7") else "train"
        rows.append((f"{one.name}.png", mask, kind, split, one.group))
    columns = ["image", "mask", "class", "split", "group"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "real.csv", index=False)
    return root


SMALL = [
    "evaluate.model=unet_small",
    "evaluate.training.steps=4",
    "evaluate.training.widths=[8,16]",
    "evaluate.training.crop_px=32",
    "evaluate.training.precision=fp32",
    "evaluate.seeds=[0,1]",
    "evaluate.budgets=[2,0]",
]


def run(real: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    places = [f"evaluate.folder={out}", f"evaluate.real.path={real / 'real.csv'}"]
    return run_here("evaluate", "utility", *SMALL, *more, *places)


def test_the_pipeline_scores_all_arms_and_goes_on_where_it_was_stopped(real, tmp_path) -> None:
    done = run(real, tmp_path)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "utility.csv")
    counts = rows.groupby("budget")["arm"].nunique().to_dict()
    assert counts == {0: 3, 2: 7}  # without real defects: perlin, nsa, sketch
    assert rows["pixel_ap"].between(0, 1).all()
    assert {"f1", "best_f1", "pro", "image_auroc", "image_ap", "ap_pit", "ap_crack"} <= set(rows)
    assert rows["f1_synthetic_threshold"].notna().sum() == 16
    precision, recall = rows["precision"], rows["recall"]
    f1 = (2 * precision * recall / (precision + recall)).fillna(0)  # 0 / 0: nothing is right
    assert list(f1) == pytest.approx(list(rows["f1"]))
    assert (rows["best_f1"] >= rows["f1"]).all()
    assert rows["threshold"].between(0, 1).all()
    page = (tmp_path / "utility.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml") == 2  # a plot a budget; one budget has no curve
    assert "evaluate.curve=[10,20,all]" in page
    assert "http" not in page.replace("http-equiv", "")
    record = json.loads((tmp_path / "utility.json").read_text(encoding="utf-8"))
    assert len(record["differences"]) == 21 + 3
    tallied = "crack 2 images of 2 parts, pit 2 images of 2 parts"
    assert record["facts"]["scored on"] == f"{tallied}, good 2 images of 2 parts"
    few = f"scored on few parts: {tallied}; other parts"
    assert few in page
    assert few in " ".join(done.stdout.split())

    score = tmp_path / "scores" / "unet_small-nsa-2-1.json"
    kept = (tmp_path / "scores" / "unet_small-nsa-2-0.json").stat().st_mtime_ns
    before = json.loads(score.read_text(encoding="utf-8"))["scores"]
    score.unlink()
    assert run(real, tmp_path).returncode == 0
    after = json.loads(score.read_text(encoding="utf-8"))["scores"]
    assert (tmp_path / "scores" / "unet_small-nsa-2-0.json").stat().st_mtime_ns == kept
    timed = {"train_s", "score_s", "cpu_s"}
    assert {k: v for k, v in after.items() if k not in timed} == {
        k: v for k, v in before.items() if k not in timed
    }

    changed = run(real, tmp_path, "evaluate.training.steps=5")
    assert changed.returncode == 2
    assert "scores with another evaluate.training" in changed.stderr


def test_the_curve_trains_the_baseline_alone(real, tmp_path) -> None:
    arms = [f"evaluate.arms.{arm}=null" for arm in ("real", "paste", "poisson", "nsa", "sketch")]
    few = [*arms, "evaluate.budgets=[1]", "evaluate.curve=[2,all]"]
    done = run(real, tmp_path, *few)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "utility.csv", dtype={"budget": str})
    counts = rows.groupby("budget")["arm"].agg(lambda arms: sorted(set(arms))).to_dict()
    alone = ["classical"]
    assert counts == {"1": ["classical", "perlin"], "2": alone, "all": alone}
    record = json.loads((tmp_path / "utility.json").read_text(encoding="utf-8"))
    assert [one["images"] for one in record["curve"]] == [2, 4, 8]
    (worth,) = record["worth"]
    said = f"perlin (unet_small, 1 real a class) is worth {worth['told']}"
    assert said in " ".join(done.stdout.split())
    page = (tmp_path / "utility.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml") == 2  # arms of the one budget that has two, the curve
    assert worth["told"] in page

    refused = run(real, tmp_path / "none", *few, "evaluate.arms.classical=null")
    assert refused.returncode == 2
    assert "evaluate.curve is not possible: needs the arm 'classical'" in refused.stderr


def test_more_models_of_a_seed_add_to_the_ones_that_are_there(real, tmp_path) -> None:
    arms = [f"evaluate.arms.{arm}=null" for arm in ("real", "paste", "poisson", "nsa", "sketch")]
    few = [*arms, "evaluate.seeds=[0]", "evaluate.budgets=[2]"]
    assert run(real, tmp_path, *few).returncode == 0
    first = pd.read_csv(tmp_path / "utility.csv")
    done = run(real, tmp_path, *few, "evaluate.models=2")
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "utility.csv")
    pd.testing.assert_frame_equal(rows[rows["model"] == 0].reset_index(drop=True), first)
    again = rows[rows["model"] == 1]
    assert set(again["arm"]) == {"classical", "perlin"}
    assert not again["pixel_ap"].isin(first["pixel_ap"]).any()  # other weights, other crops
    record = json.loads((tmp_path / "utility.json").read_text(encoding="utf-8"))
    mean = rows.groupby("arm")["pixel_ap"].mean()
    assert {one["arm"]: one["seeds"] for one in record["arms"]} == {"classical": 1, "perlin": 1}
    assert {one["arm"]: one["pixel_ap"] for one in record["arms"]} == pytest.approx(dict(mean))


def test_a_run_that_is_missing_is_said_before_anything_is_trained(real, tmp_path) -> None:
    done = run(real, tmp_path, "evaluate.arms.adapted=runs/none-@budget-@seed")
    assert done.returncode == 2
    assert "evaluate.arms.adapted: runs/none-2-0 is not a finished run" in done.stderr
    assert not (tmp_path / "scores").exists()


def test_a_run_of_synthgen_is_an_arm(real, tmp_path) -> None:
    goods = tmp_path / "goods"
    goods.mkdir()
    for number in range(12):
        cv2.imwrite(str(goods / f"{number}.png"), picture(200 + number, "x").pixels)
    made = ["source=folder", "backend=sketch", f"source.path={goods}", "defect=[pit,crack]"]
    made += ["run.count=24", f"run.folder={tmp_path / 'run'}", "quality=off"]
    done = run_here("generate", *made)
    assert done.returncode == 0, done.stderr
    arms = ["evaluate.arms.perlin=null", "evaluate.arms.nsa=null", "evaluate.arms.sketch=null"]
    arms += ["evaluate.arms.paste=null", "evaluate.arms.poisson=null", "evaluate.seeds=[0]"]
    arms += [f"evaluate.arms.unadapted={tmp_path / 'run'}", "evaluate.arms.real=null"]
    arms += [f"evaluate.arms.adapted=[{tmp_path / 'run'},{tmp_path / 'run'}]"]
    arms += [f"evaluate.arms.synthetic_only={{run: {tmp_path / 'run'}, real: false}}"]
    arms += [f"evaluate.arms.both={{run: {tmp_path / 'run'}, synthetic: perlin}}"]
    first = "mixing: {order: synthetic_first, border: soft}"
    arms += [f"evaluate.arms.first={{run: {tmp_path / 'run'}, {first}}}"]
    done = run(real, tmp_path / "out", *arms)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "out" / "utility.csv")
    twice = [
        name
        for name in ("adapted", "both", "first", "synthetic_only", "unadapted")
        for _ in range(2)
    ]
    assert sorted(rows["arm"]) == sorted(["classical", *twice])
    at_none = rows[rows["budget"] == 0].set_index("arm")["pixel_ap"]
    assert at_none["unadapted"] == at_none["synthetic_only"]  # there is nothing real to add
    at_two = rows[rows["budget"] == 2].set_index("arm")["pixel_ap"]
    assert at_two["first"] != at_two["unadapted"]

    both = Arm(run=str(tmp_path / "run"), synthetic="perlin")
    synthesis = make_synthesis(both, draw_of(parts()), (str(tmp_path / "run"),), 32)
    rng = np.random.default_rng(0)
    kinds = [name for _ in range(100) for name in synthesis.piece(rng).masks]
    assert set(kinds) == {"perlin", "pit", "crack"}
    assert 35 <= kinds.count("perlin") <= 65
    assert {n for i in range(4) for n in synthesis.whole(rng, i).masks} > {"perlin"}


def test_a_draw_can_be_read_back_as_real_images(real, tmp_path) -> None:
    import yaml

    done = run(real, tmp_path, "evaluate.draw_only=true")
    assert done.returncode == 0, done.stderr
    record = yaml.safe_load((tmp_path / "draws" / "2-1" / "real.yaml").read_text(encoding="utf-8"))
    images = read_real(record)
    kinds = [defect.defect_class for image in images for defect in image.defects]
    assert sorted(kinds) == ["crack", "crack", "pit", "pit"]
    assert {picture.pixels.shape[2] for picture in read_pictures(images)} == {1}


def test_surface_is_cut_out_where_there_are_no_good_images(real, tmp_path) -> None:
    table = pd.read_csv(real / "real.csv", keep_default_na=False)
    table = table[table["class"] != "good"]
    for column in ("image", "mask"):
        table[column] = [str(real / name) for name in table[column]]
    table.to_csv(tmp_path / "real.csv", index=False)
    outside = run(tmp_path, tmp_path, "evaluate.draw_only=true")
    assert outside.returncode == 2
    assert "leads out of" in outside.stderr
    everywhere = "evaluate.real.images=/"  # said by the user, not by the table
    done = run(tmp_path, tmp_path, "evaluate.draw_only=true", everywhere)
    assert done.returncode == 0, done.stderr
    draw = tmp_path / "draws" / "2-1"
    images = read_real({"format": "table", "path": str(draw / "real.csv")})
    good = [image for image in images if not image.defects]
    assert len(images) == len(good) + 4
    assert all(image.path.parent == draw / "good" for image in good)
    assert len(good) >= 6

    only = [f"evaluate.arms.{name}=null" for name in ("real", "paste", "poisson", "nsa", "sketch")]
    done = run(tmp_path, tmp_path, *only, "evaluate.seeds=[0]", everywhere)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "utility.csv")
    assert rows["pixel_ap"].between(0, 1).all()
    assert rows["image_auroc"].isna().all()  # there is no good image to tell apart

    table = table[["train" in split for split in table["split"]]]
    table.to_csv(tmp_path / "real.csv", index=False)
    none = run(tmp_path, tmp_path / "none", everywhere)
    assert none.returncode == 2
    assert "the split 'val' of evaluate.real needs images with defects" in none.stderr
