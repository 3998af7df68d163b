from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from synthgen.imaging.geometry import (
    grow_mask,
    grow_to_cells,
    mask_to_box,
    mask_to_rle,
    rle_to_mask,
    union_box,
)
from tests.factories import CASES, make_masks

DEFECTS = [case for case, rectangles in CASES.items() if rectangles]


@pytest.mark.parametrize("case", CASES)
def test_rle_gives_the_mask_back(case) -> None:
    mask = make_masks(case) > 0
    rle = mask_to_rle(mask)
    assert isinstance(rle["counts"], str)
    assert rle["size"] == [48, 48]
    assert np.array_equal(rle_to_mask(rle), mask)


@pytest.mark.parametrize("case", DEFECTS)
def test_boxes_are_those_of_coco(case) -> None:
    mask = make_masks(case) > 0
    assert list(mask_to_box(mask)) == coco_mask.toBbox(mask_to_rle(mask)).tolist()


def test_size_is_height_width_and_a_line_is_one_pixel_high() -> None:
    mask = np.zeros((3, 7), bool)
    mask[1, 2:6] = True
    assert mask_to_rle(mask)["size"] == [3, 7]
    assert mask_to_box(mask) == (2, 1, 4, 1)


def test_an_empty_mask_has_no_box() -> None:
    with pytest.raises(ValueError, match="empty"):
        mask_to_box(np.zeros((4, 4), bool))


def test_the_union_of_the_parts_is_the_box_of_the_whole() -> None:
    instances = make_masks("touches_border")
    boxes = [mask_to_box(instances == number) for number in (1, 2)]
    assert union_box(boxes) == mask_to_box(instances > 0)


@pytest.mark.parametrize("margin_px", [0, 1, 4])
def test_a_pixel_grows_to_a_disc(margin_px) -> None:
    mask = np.zeros((21, 21), bool)
    mask[10, 10] = True
    grown = grow_mask(mask, margin_px)
    side = 2 * margin_px + 1
    assert mask_to_box(grown) == (10 - margin_px, 10 - margin_px, side, side)
    assert grown.sum() <= side * side
    assert mask.sum() == 1  # the mask that came in stays as it was


@pytest.mark.parametrize("size_hw", [(16, 16), (17, 23), (5, 9), (3, 40)])
def test_cells_are_whole_at_any_size(size_hw) -> None:
    mask = np.random.default_rng(0).random(size_hw) > 0.97
    mask[-1, -1] = True
    grown = grow_to_cells(mask, 8)
    assert grown.shape == size_hw
    for top in range(0, size_hw[0], 8):
        for left in range(0, size_hw[1], 8):
            cell = np.s_[top : top + 8, left : left + 8]
            assert grown[cell].all() == grown[cell].any() == mask[cell].any()
