"""Every class, on every kind of surface, at every size: a mask, and a sketch that shows it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from synthgen.defects import DEFECTS, Drawing, Scene, lay_on
from synthgen.defects.drawing.drawing import SCALE, soften, visible_extent
from synthgen.defects.pit import Pit
from synthgen.defects.scratch import Scratch
from synthgen.imaging.geometry import grow_mask
from synthgen.imaging.images import LUMA
from synthgen.imaging.optics import Optics
from synthgen.quality.belonging import edge_width_ratio, grain_ratio
from synthgen.quality.realised import delta_e
from synthgen.sources.surfaces import SURFACES, draw_surface

HARD = ("crack", "fibre", "inclusion", "pit", "scratch", "spatter")


def draw(
    name: str, seed: int, severity: float, surface: np.ndarray, optics: Optics | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a surface with a defect in its middle, and the defect's mask."""
    optics = Optics() if optics is None else optics
    scene = Scene(short_side_px=min(surface.shape[:2]), optics=optics)
    drawing = DEFECTS[name]().draw(np.random.default_rng([seed, len(name)]), severity, scene)
    height, width = drawing.mask.shape
    corner = (surface.shape[0] - height) // 2, (surface.shape[1] - width) // 2
    return lay_on(surface, drawing, corner, optics)


@pytest.mark.parametrize("name", sorted(DEFECTS))
@pytest.mark.parametrize("severity", [0.0, 1.0])
def test_a_defect_is_seen_where_its_mask_is(name: str, severity: float) -> None:
    shown = []
    for seed in range(12):
        surface = draw_surface(np.random.default_rng(seed), (160, 160)).image
        sketch, mask = draw(name, seed, severity, surface)
        assert mask.any()
        changed = delta_e(surface, sketch)
        shown.append(float(changed[mask].mean()))
        beyond = changed[~grow_mask(mask, 4)] > 6  # 4 px: what may be repainted by default
        assert beyond.sum() <= 0.1 * mask.sum() + 4, f"{name} reaches beyond its repaint mask"
    assert np.median(shown) > (3 if severity == 0 else 8)


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_contrast_is_a_fraction_of_what_the_photo_can_show(name: str) -> None:
    found = {}
    for low, high in ((10, 250), (90, 150)):
        surface, optics = (
            np.full((300, 300, 3), 120, np.uint8),
            Optics(black_level=low, white_level=high),
        )
        changes = []
        for seed in range(8):
            sketch, mask = draw(name, seed, 1.0, surface, optics)
            grey = sketch.astype(float) @ LUMA
            changes.append(np.abs(grey - 120)[mask].mean())
            assert grey.min() >= optics.gloom_level - 4  # its own tint may be rounded
            assert grey.max() <= optics.glint_level + 4
        found[low] = np.median(changes)
    wide, narrow = found[10], found[90]
    assert 1.1 < wide / narrow < 3.2  # 118 and 98 levels of room to darken, 131 and 56 to brighten


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_severity_is_monotone(name: str) -> None:
    means = []
    for severity in (0.0, 0.5, 1.0):
        found = []
        for seed in range(10):
            surface = draw_surface(np.random.default_rng(seed), (160, 160), "plastic").image
            sketch, mask = draw(name, seed, severity, surface)
            found.append(float(delta_e(surface, sketch)[mask].mean()))
        means.append(np.mean(found))
    assert means[0] < means[1] < means[2]


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("kernel_px", [0.8, 2.2])
def test_edges_are_as_soft_as_the_photo(name: str, kernel_px: float) -> None:
    surface, ratios = np.full((260, 260, 3), 140, np.uint8), []
    for seed in range(10):
        sketch, mask = draw(name, seed, 0.8, surface, Optics(kernel_px=kernel_px))
        ratios.append(edge_width_ratio(surface, sketch, mask, kernel_px))
    assert 0.85 < np.nanmedian(ratios) < 1.25


@pytest.mark.parametrize("name", ["chip", "inclusion", "spatter", "pit"])
def test_what_replaces_the_surface_has_the_photos_grain(name: str) -> None:
    rng, ratios = np.random.default_rng(0), []
    clean = np.clip(np.rint(150 + rng.normal(0, 4, (300, 300, 1))), 0, 255).astype(np.uint8)
    surface = np.repeat(clean, 3, axis=2)
    optics = Optics(kernel_px=1.0, grain_levels=(128.0,), grain_sd=(4.0,))
    for seed in range(8):
        sketch, mask = draw(name, seed, 0.7, surface, optics)
        ratios.append(grain_ratio(surface, sketch, mask))
    assert 0.7 < np.nanmedian(ratios) < 1.35


def test_a_dent_shades_with_the_light() -> None:
    surface = np.full((96, 96, 3), 120, np.uint8)
    light = Optics(light_deg=0, light_directedness=1.0)
    from_right, mask = draw("dent", 0, 1.0, surface, light)
    from_left, _ = draw("dent", 0, 1.0, surface, replace(light, light_deg=180.0))
    columns = np.arange(96) - np.nonzero(mask)[1].mean()

    def lean(image: np.ndarray) -> float:
        return float((image[..., 0].astype(float) - 120)[mask] @ np.tile(columns, (96, 1))[mask])

    assert lean(from_right) * lean(from_left) < 0


def test_a_shadow_falls_away_from_the_light() -> None:
    surface = np.full((200, 200, 3), 150, np.uint8)
    light = Optics(light_deg=90, light_directedness=1.0)  # from the top
    below, above = [], []
    for seed in range(6):
        sketch, mask = draw("spatter", seed, 0.9, surface, light)
        change = sketch[..., 0].astype(float) - 150
        beside = ~grow_mask(mask, 1)
        shift = np.roll(mask, 4, axis=0), np.roll(mask, -4, axis=0)
        below.append(change[shift[0] & beside].mean())
        above.append(change[shift[1] & beside].mean())
    assert np.mean(below) < np.mean(above) - 1


def test_texture_goes_on_through_what_is_dimmed_and_is_gone_where_material_is() -> None:
    rng = np.random.default_rng(3)
    stripes = np.where(np.arange(300) % 8 < 4, 120, 160)[None, :, None]
    surface = np.clip(stripes + rng.normal(0, 1, (300, 300, 1)), 0, 255).astype(np.uint8)
    surface = np.repeat(surface, 3, axis=2)
    left = {}
    for name in ("stain", "spatter"):
        kept = []
        for seed in range(6):
            sketch, mask = draw(name, seed, 0.6, surface)
            deep = cv2.erode(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
            dark, bright = deep & (surface[..., 0] < 140), deep & (surface[..., 0] >= 140)
            if dark.sum() > 20 and bright.sum() > 20:
                step = float(sketch[bright].mean()) - float(sketch[dark].mean())
                kept.append(step / float(sketch[deep].mean()) / (40 / 140))
        left[name] = np.mean(kept)
    assert left["stain"] > 0.6
    assert left["spatter"] < 0.35


def test_a_line_thinner_than_the_blur_keeps_its_mask() -> None:
    cover = np.zeros((60 * SCALE, 60 * SCALE), np.float32)
    cover[29 * SCALE : 29 * SCALE + 2, 12 * SCALE : 48 * SCALE] = 1
    mask = visible_extent(soften(cover, 2.0))
    heights = mask[:, 20:40].sum(axis=0)
    assert set(heights.tolist()) <= {5, 6}  # about the full width of the blur at 45 %
    assert mask[:, :8].sum() == 0


def test_what_sticks_out_or_lies_off_the_part_is_cut_off() -> None:
    scene = Scene(short_side_px=64)
    drawing = Pit().draw(np.random.default_rng(1), 1.0, scene)
    image = np.full((64, 64, 3), 100, np.uint8)
    part = np.zeros((64, 64), bool)
    part[:, :32] = True
    for corner in ((-500, 0), (60, 60), (-10, -10), (63, 63), (20, 20)):
        sketch, mask = lay_on(image, drawing, corner, Optics(), allowed=part)
        assert sketch.shape == image.shape
        assert not mask[~part].any()
        assert (sketch[~part] == 100).all()


def test_sizes_are_fractions_of_the_part_or_pixels() -> None:
    def reach(scene: Scene, **sizes: object) -> float:
        reaches = []
        for seed in range(15):  # how much of a scratch fades away differs
            drawing = Scratch(count=(1, 1), **sizes).draw(np.random.default_rng(seed), 0.5, scene)
            rows, columns = np.nonzero(drawing.mask)
            reaches.append(np.hypot(np.ptp(rows), np.ptp(columns)))
        return float(np.median(reaches))

    small, large = ((fraction, fraction) for fraction in (0.1, 0.8))
    assert 12 <= reach(Scene(short_side_px=200), length_fraction=small) <= 30
    assert 120 <= reach(Scene(short_side_px=200), length_fraction=large) <= 175
    assert 60 <= reach(Scene(short_side_px=100), length_fraction=large) <= 90
    assert 30 <= reach(Scene(short_side_px=999), length_px=(40.0, 40.0)) <= 60


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_nothing_is_smaller_than_three_kernels(name: str) -> None:
    scene = Scene(short_side_px=64, optics=Optics(kernel_px=2.5))
    for seed in range(8):
        drawing: Drawing = DEFECTS[name]().draw(np.random.default_rng(seed), 0.5, scene)
        rows, columns = np.nonzero(drawing.mask)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 >= 3 * 2.5 - 1


@pytest.mark.parametrize(
    "wrong",
    [{"length_px": (9, 3)}, {"length_px": (0, 3)}, {"bright_fraction": 2}, {"lenght_px": (3, 9)}],
)
def test_impossible_ranges(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Scratch(**wrong)


def test_a_contrast_in_grey_levels_is_explained() -> None:
    with pytest.raises(ValidationError, match=r"share of the photo's own range, 0\.\.1"):
        Scratch(contrast=(26, 95))


@pytest.mark.parametrize("kind", sorted(SURFACES))
def test_surfaces_are_seeded_and_of_any_size(kind: str) -> None:
    for size in ((64, 64), (97, 201)):
        one = draw_surface(np.random.default_rng(4), size, kind).image
        again = draw_surface(np.random.default_rng(4), size, kind).image
        other = draw_surface(np.random.default_rng(5), size, kind).image
        assert one.shape == (*size, 3)
        assert np.array_equal(one, again)
        assert not np.array_equal(one, other)
        assert one.std() > 0.5
