"""Does a painted defect belong to its photo? Sharpness, grain and levels of exact synthetics."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from synthgen.imaging.optics import Optics
from synthgen.quality.belonging import (
    edge_width_px,
    edge_width_ratio,
    grain_ratio,
    range_fraction,
)

SIDE, FINER = 96, 8
PIXEL_PX = 0.289  # the deviation of a pixel's own box
OPTICS = Optics(
    kernel_px=1.5,
    grain_levels=(128.0,),
    grain_sd=(2.0,),
    grain_px=0.0,
    grain_is_grey=True,
    black_level=30.0,
    white_level=210.0,
    light_deg=90.0,
    light_directedness=0.0,
    jpeg_quality=None,
)


def draw_cover(shape: str, width_px: float, blur_px: float, seed: int = 0) -> np.ndarray:
    """Return how much of each pixel a shape at a random angle covers, exactly: (96, 96) floats."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[: SIDE * FINER, : SIDE * FINER] + 0.5).astype(np.float32) / FINER
    centre, angle = SIDE / 2 + rng.uniform(-0.5, 0.5, 2), rng.uniform(0, np.pi)
    x, y = x - centre[0], y - centre[1]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    inside = {
        "disc": np.hypot(along, across) < width_px / 2,
        "box": np.maximum(np.abs(along), np.abs(across)) < width_px / 2,
        "line": (np.abs(across) < width_px / 2) & (np.abs(along) < 0.3 * SIDE),
    }[shape].astype(np.float32)
    if blur_px > 0:
        inside = cv2.GaussianBlur(inside, (0, 0), blur_px * FINER)
    return cv2.resize(inside, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def paint(
    cover: np.ndarray, contrast: float, grain: float = 0.0, repaint: bool = False, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return source, finished and label; grain is kept below the defect, or drawn again."""
    rng = np.random.default_rng(seed + 100)
    surface = 150 + 20 * cv2.GaussianBlur(rng.standard_normal(cover.shape), (0, 0), 6)
    noise = grain * rng.standard_normal(cover.shape)
    source = np.clip(np.rint(surface + noise), 0, 255)
    if repaint:
        near = cv2.dilate((cover > 0.05).astype(np.uint8), np.ones((9, 9))) > 0
        noise = np.where(near, grain * rng.standard_normal(cover.shape), noise)
    finished = np.clip(np.rint(surface + contrast * cover + noise), 0, 255)
    label = np.abs(contrast * cover) > 6
    grey_to_rgb = [np.repeat(one.astype(np.uint8)[..., None], 3, 2) for one in (source, finished)]
    return grey_to_rgb[0], grey_to_rgb[1], label


def measure_ratio(shape: str, width_px: float, blur_px: float, kernel_px: float, **paint_: float):
    ratios = [
        edge_width_ratio(
            *paint(draw_cover(shape, width_px, blur_px, seed), seed=seed, **paint_), kernel_px
        )
        for seed in range(3)
    ]
    return float(np.median(ratios))


@pytest.mark.parametrize("blur_px", [0.5, 1.0, 2.2, 4.0])
@pytest.mark.parametrize(
    ("shape", "width_px"), [("disc", 30), ("box", 30), ("line", 3), ("line", 6), ("line", 12)]
)
def test_what_the_kernel_softened_has_a_ratio_of_one(
    shape: str, width_px: float, blur_px: float
) -> None:
    kernel = float(np.hypot(blur_px, PIXEL_PX))
    assert measure_ratio(shape, width_px, blur_px, kernel, contrast=-80) == pytest.approx(
        1, abs=0.1
    )
    assert measure_ratio(shape, width_px, blur_px, kernel, contrast=-45) == pytest.approx(
        1, abs=0.15
    )


@pytest.mark.parametrize("blur_px", [1.0, 2.2, 4.0])
@pytest.mark.parametrize("width_px", [1, 2])
def test_lines_thinner_than_the_kernel_come_out_near_one(width_px: int, blur_px: float) -> None:
    kernel = float(np.hypot(blur_px, PIXEL_PX))
    ratio = measure_ratio("line", width_px, blur_px, kernel, contrast=-110)
    assert ratio == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("kernel_px", [1.0, 1.5, 2.2, 4.0])
@pytest.mark.parametrize(
    ("shape", "width_px"), [("disc", 30), ("box", 30), ("line", 5), ("line", 12)]
)
def test_half_as_soft_is_a_half(shape: str, width_px: float, kernel_px: float) -> None:
    blur = float(np.sqrt((kernel_px / 2) ** 2 - PIXEL_PX**2))
    ratio = measure_ratio(shape, width_px, blur, kernel_px, contrast=-80)
    assert ratio == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(
    ("shape", "width_px"), [("disc", 20), ("line", 1), ("line", 2), ("line", 3), ("line", 5)]
)
def test_crisp_stickers_on_a_soft_photo_are_far_below_one(shape: str, width_px: float) -> None:
    for repaint in (False, True):
        ratio = measure_ratio(shape, width_px, 0.0, 2.2, contrast=-80, grain=2.0, repaint=repaint)
        assert ratio < 0.6


def test_softer_than_the_photo_is_above_one() -> None:
    assert measure_ratio("disc", 30, 3.0, 1.5, contrast=60) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("repaint", [False, True])
@pytest.mark.parametrize("blur_px", [1.0, 2.2, 3.0])
def test_grain_does_not_hide_the_width(blur_px: float, repaint: bool) -> None:
    kernel = float(np.hypot(blur_px, PIXEL_PX))
    for shape, width in (("disc", 30), ("line", 6)):
        ratio = measure_ratio(
            shape, width, blur_px, kernel, contrast=-60, grain=3.0, repaint=repaint
        )
        assert ratio == pytest.approx(1, abs=0.2 if repaint else 0.1)


def test_plain_width_is_that_of_the_flank() -> None:
    step = paint(draw_cover("disc", 40, 2.0), -90)
    assert edge_width_px(*step) == pytest.approx(2.563 * 2.0, rel=0.1)
    line = paint(draw_cover("line", 1, 2.0), -110)
    assert edge_width_px(*line) == pytest.approx(1.687 * 2.0, rel=0.12)


def test_what_shows_too_little_is_nan() -> None:
    source, finished, label = paint(draw_cover("disc", 30, 1.0), -80)
    nothing = np.zeros_like(label)
    assert np.isnan(edge_width_ratio(source, source, label, 1.5))
    assert np.isnan(edge_width_px(source, source, label))
    assert np.isnan(edge_width_ratio(source, finished, nothing, 1.5))
    assert np.isnan(grain_ratio(source, finished, nothing))
    assert np.isnan(range_fraction(source, finished, nothing, OPTICS))
    spot = np.zeros_like(label)
    spot[48:51, 48:51] = True
    assert np.isnan(grain_ratio(source, finished, spot))


@pytest.mark.parametrize("amount", [0.0, 0.5, 1.0, 2.0])
def test_grain_ratio_is_grain_inside_over_outside(amount: float) -> None:
    rng = np.random.default_rng(0)
    cover = draw_cover("disc", 40, 1.5)
    source = 140 + 3 * rng.standard_normal((SIDE, SIDE, 1))
    inside = 140 - 50 * cover[..., None] + 3 * amount * rng.standard_normal((SIDE, SIDE, 1))
    finished = np.where((cover > 0.02)[..., None], inside, source)
    images = [
        np.clip(np.rint(one), 0, 255).astype(np.uint8).repeat(3, 2) for one in (source, finished)
    ]
    assert grain_ratio(*images, cover > 0.1) == pytest.approx(amount, rel=0.15, abs=0.25)


def test_grain_ratio_of_a_photo_without_grain_is_finite() -> None:
    source, finished, label = paint(draw_cover("disc", 40, 2.0), -60)
    assert 0 <= grain_ratio(source, finished, label) < 2


def test_range_fraction_is_the_used_part_of_the_room() -> None:
    source = np.full((40, 40, 3), 130, np.uint8)
    label = np.zeros((40, 40), np.bool_)
    label[10:20, 10:20] = True
    for level, expected in ((80, 0.408), (8, 1), (0, 1.061), (170, 0.438), (250, 1.315), (130, 0)):
        finished = source.copy()
        finished[label] = level
        assert range_fraction(source, finished, label, OPTICS) == pytest.approx(expected, abs=0.01)
