"""What is painted gets the optics of its photo, and nothing else of the photo changes."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from synthgen.backends.diffusion.crops import cut_jobs, paste_crop, take
from synthgen.imaging.geometry import grow_mask
from synthgen.imaging.matching import match_optics
from synthgen.imaging.optics import Optics
from synthgen.quality.belonging import edge_width_ratio, grain_ratio
from tests.samples import draw_conditions

SIZE = 160


def photo(kernel_px: float, grain: float = 0.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.normal(0, 40, (SIZE, SIZE)), (0, 0), kernel_px)
    noisy = 140 + texture + grain * rng.standard_normal((SIZE, SIZE))
    return np.repeat(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)[..., None], 3, 2)


def sticker(
    source: np.ndarray, soft_px: float, level: int = 30
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the photo with a dark disc and line laid on, where they are, and what may change."""
    label = np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(label, (60, 80), 18, 1, -1)
    cv2.line(label, (90, 40), (130, 120), 1, 5)
    cover = cv2.GaussianBlur(label.astype(np.float32), (0, 0), soft_px)[..., None]
    painted = np.rint(source + cover * (level - source.astype(np.float32))).astype(np.uint8)
    return painted, label > 0, grow_mask(label > 0, 14)


@pytest.mark.parametrize("kernel_px", [1.2, 2.2, 3.0])
def test_what_is_too_sharp_is_softened_to_the_photos_blur(kernel_px: float) -> None:
    source = photo(kernel_px)
    painted, label, repaint = sticker(source, 0.4)
    assert edge_width_ratio(source, painted, label, kernel_px) < 0.65
    matched = match_optics(source, painted, repaint, label, Optics(kernel_px=kernel_px), 0)
    assert 0.85 < edge_width_ratio(source, matched, label, kernel_px) < 1.2
    kept = np.abs(matched.astype(float) - source)[label].mean()
    assert kept > 0.8 * np.abs(painted.astype(float) - source)[label].mean()


def test_what_is_as_soft_as_the_photo_is_left_alone() -> None:
    source = photo(2.0)
    painted, label, repaint = sticker(source, 2.1)
    matched = match_optics(source, painted, repaint, label, Optics(kernel_px=2.0), 0)
    assert np.abs(matched.astype(int) - painted)[label].mean() < 1


def test_nothing_changes_outside_what_may_be_repainted() -> None:
    source = photo(2.0, grain=3)
    painted, label, _ = sticker(source, 0.4)
    repaint = grow_mask(label, 2)  # narrower than the blur
    optics = Optics(kernel_px=2.0, grain_sd=(3.0,))
    matched = match_optics(source, painted, repaint, label, optics, 0)
    assert np.array_equal(matched[~repaint], source[~repaint])
    assert not np.array_equal(matched, source)


def test_grain_that_the_model_left_out_is_added_once() -> None:
    source = photo(1.5, grain=4)
    painted, label, repaint = sticker(source, 1.6)  # a flat disc without grain
    optics = Optics(kernel_px=1.5, grain_sd=(4.0,))
    assert grain_ratio(source, painted, label) < 0.4
    matched = match_optics(source, painted, repaint, label, optics, 7)
    assert 0.75 < grain_ratio(source, matched, label) < 1.3
    assert np.array_equal(matched, match_optics(source, painted, repaint, label, optics, 7))
    again = match_optics(source, matched, repaint, label, optics, 8)
    assert grain_ratio(source, again, label) < 1.4


def test_levels_stay_within_the_photos() -> None:
    source = photo(1.5)
    painted, label, repaint = sticker(source, 0.4, level=0)
    optics = Optics(kernel_px=1.5, black_level=60.0, white_level=220.0)
    matched = match_optics(source, painted, repaint, label, optics, 0)
    assert matched.min() >= min(optics.gloom_level, source.min()) - 1


def test_a_soft_photo_is_painted_smaller_and_keeps_its_fine_structure() -> None:
    condition = draw_conditions("stain", count=1, size=256)[0]
    rows, columns = np.mgrid[:256, :256]
    repaint = np.hypot(rows - 128, columns - 128) < 70
    asked = replace(
        condition,
        repaint_mask=repaint,
        defect_mask=repaint,
        instance_map=repaint.astype(np.uint8),
        optics=Optics(kernel_px=1.8),
    )
    sharp = replace(asked, optics=Optics(kernel_px=0.5))
    [small] = cut_jobs([asked], 16, 64, 512, 32, None)
    [whole] = cut_jobs([sharp], 16, 64, 512, 32, None)
    assert whole.size_hw == (whole.box.height, whole.box.width)
    assert small.box == whole.box
    assert max(small.size_hw) <= 0.62 * max(whole.size_hw)
    same = take(asked.image, small, cv2.INTER_AREA)
    assert np.array_equal(
        paste_crop(asked.image, same, small, 0), asked.image
    )  # nothing was painted
    darker = (same * 0.5).astype(np.uint8)
    result = paste_crop(asked.image, darker, small, 0).astype(float)
    inside = np.hypot(rows - 128, columns - 128) < 50
    assert result[inside].mean() == pytest.approx(asked.image[inside].mean() / 2, abs=2)
    assert np.array_equal(result[~repaint], asked.image[~repaint])


def test_a_picture_that_came_out_black_stays_black() -> None:
    source = photo(2.0, grain=3)
    _, label, repaint = sticker(source, 0.4)
    black = np.where(repaint[..., None], 0, source).astype(np.uint8)
    optics = Optics(kernel_px=2.0, grain_sd=(3.0,), black_level=40.0)
    assert np.array_equal(match_optics(source, black, repaint, label, optics, 0), black)
