"""Every class, on every kind of surface, at every size: a mask, and a sketch that shows it."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from synthgen.defects import DEFECTS, Pit, Scratch, lay_on
from synthgen.geometry import grow_mask
from synthgen.quality.realised import delta_e
from synthgen.surfaces import SURFACES, draw_surface


@pytest.mark.parametrize("name", sorted(DEFECTS))
@pytest.mark.parametrize("severity", [0.0, 1.0])
def test_a_defect_is_seen_where_its_mask_is(name: str, severity: float) -> None:
    shown = []
    for seed in range(12):
        rng = np.random.default_rng([seed, len(name)])
        surface = draw_surface(rng, (160, 160)).image
        drawing = DEFECTS[name]().draw(rng, severity, 160)
        height, width = drawing.mask.shape
        corner = (80 - height // 2, 80 - width // 2)
        sketch, mask = lay_on(surface, drawing, corner, 45)
        assert mask.any()
        changed = delta_e(surface, sketch)
        shown.append(float(changed[mask].mean()))
        beyond = changed[~grow_mask(mask, 4)] > 6  # 4 px: what may be repainted by default
        assert beyond.sum() <= 0.1 * mask.sum() + 4, f"{name} reaches beyond its repaint mask"
    assert np.median(shown) > (3 if severity == 0 else 8)


@pytest.mark.parametrize("name", ["fibre", "inclusion", "stain"])
@pytest.mark.parametrize("level", [60, 150, 200])
def test_what_covers_a_surface_stands_out_from_it(name: str, level: int) -> None:
    surface = np.full((400, 400, 3), level, np.uint8)
    for seed in range(12):  # some pigments are as bright as the surface, before they are moved
        drawing = DEFECTS[name]().draw(np.random.default_rng(seed), 1.0, 400)
        sketch, mask = lay_on(surface, drawing, (100, 100), 45)
        change = np.linalg.norm(sketch.astype(float) - surface, axis=2)[mask].mean() / 3**0.5
        assert change > 0.75 * drawing.contrast


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_severity_is_monotone(name: str) -> None:
    means = []
    for severity in (0.0, 0.5, 1.0):
        found = []
        for seed in range(10):
            surface = draw_surface(np.random.default_rng(seed), (160, 160), "plastic").image
            drawing = DEFECTS[name]().draw(np.random.default_rng(seed), severity, 160)
            height, width = drawing.mask.shape
            sketch, mask = lay_on(surface, drawing, (80 - height // 2, 80 - width // 2), 0)
            found.append(float(delta_e(surface, sketch)[mask].mean()))
        means.append(np.mean(found))
    assert means[0] < means[1] < means[2]


def test_a_dent_shades_with_the_light() -> None:
    surface = np.full((96, 96, 3), 120, np.uint8)
    drawing = DEFECTS["dent"]().draw(np.random.default_rng(0), 1.0, 96)
    height, width = drawing.mask.shape
    corner = (48 - height // 2, 48 - width // 2)
    from_right, mask = lay_on(surface, drawing, corner, 0)
    from_left, _ = lay_on(surface, drawing, corner, 180)
    columns = np.arange(96) - np.nonzero(mask)[1].mean()

    def lean(image: np.ndarray) -> float:
        return float((image[..., 0].astype(float) - 120)[mask] @ np.tile(columns, (96, 1))[mask])

    assert lean(from_right) * lean(from_left) < 0


def test_what_sticks_out_is_cut_off() -> None:
    drawing = Pit().draw(np.random.default_rng(1), 1.0, 64)
    image = np.full((64, 64, 3), 100, np.uint8)
    for corner in ((-500, 0), (60, 60), (-10, -10), (63, 63)):
        sketch, mask = lay_on(image, drawing, corner, 0)
        assert sketch.shape == image.shape
        assert mask.shape == (64, 64)


def test_sizes_as_a_fraction() -> None:
    rng = np.random.default_rng(2)
    small = Scratch(length_fraction=(0.1, 0.1), count=(1, 1)).draw(rng, 0.5, 200)
    large = Scratch(length_fraction=(0.8, 0.8), count=(1, 1)).draw(rng, 0.5, 200)
    reach = [
        max(np.ptp(np.nonzero(d.mask)[0]), np.ptp(np.nonzero(d.mask)[1])) for d in (small, large)
    ]
    assert 8 <= reach[0] <= 30
    assert 90 <= reach[1] <= 175


@pytest.mark.parametrize(
    "wrong",
    [{"length_px": (9, 3)}, {"length_px": (0, 3)}, {"bright_share": 2}, {"lenght_px": (3, 9)}],
)
def test_impossible_ranges(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Scratch(**wrong)


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
