"""Parts are found on drawn photos with known truth, and on the shared real ones."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from synthgen.errors import ShapeError
from synthgen.imaging.geometry import grow_mask
from synthgen.samples.sample import Part
from synthgen.sources.parts import PartFinder, edge_band, off_part_fraction, short_side_px
from synthgen.sources.surfaces import SURFACES, draw_surface
from tests.part_scenes import Scene, draw_scene, draw_series

SHARED = Path(__file__).parents[2].parent / "shared" / "data"

SCENES = {
    "screw on cloth": {"part": "screw", "material": "metal", "background": "cloth"},
    "screw, hard shadow": {
        "part": "screw",
        "material": "wood",
        "background": "white",
        "shadow": "hard",
    },
    "needle on black": {"part": "needle", "material": "metal", "background": "black"},
    "nut on wood": {"part": "nut", "material": "metal", "background": "wood"},
    "gear on a gradient": {"part": "gear", "material": "rubber", "background": "gradient"},
    "dark on bright, hard shadow": {
        "part": "plate",
        "material": "rubber",
        "background": "white",
        "shadow": "hard",
    },
    "bright on dark": {"part": "washer", "material": "metal", "background": "black"},
    "coloured, of the table's brightness": {
        "part": "cap",
        "material": "plastic",
        "background": "grey",
    },
    "ring on a conveyor": {"part": "ring", "material": "wood", "background": "conveyor"},
    "several pills": {"part": "pills", "material": "plastic", "background": "cloth"},
    "cut by the frame": {
        "part": "plate",
        "material": "plastic",
        "background": "gradient",
        "is_cut": True,
    },
    "larger than half the picture": {
        "part": "cap",
        "material": "wood",
        "background": "grey",
        "length_fraction": 1.1,
    },
    "grey photo": {
        "part": "bracket",
        "material": "rubber",
        "background": "brushed",
        "is_grey": True,
    },
    "glossy table": {
        "part": "pill",
        "material": "plastic",
        "background": "gradient",
        "is_glossy": True,
    },
}


def read_alone(image: NDArray[np.uint8]) -> Part:
    return PartFinder([lambda: image]).find(image)


def purity(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((mask & truth).sum() / mask.sum())


def coverage(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((mask & truth).sum() / truth.sum())


def disc(size_hw: tuple[int, int], y: float, x: float, radius: int) -> NDArray[np.bool_]:
    filled = np.zeros(size_hw, np.uint8)
    cv2.circle(filled, (round(x), round(y)), radius, 1, -1)
    return filled > 0


def deepest_disc(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return disc(mask.shape, y, x, radius) & mask


def wrong(part: Part) -> Part:
    """Everything is said to be the part."""
    assert part.mask is not None
    return replace(part, mask=np.ones_like(part.mask))


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("seed", [1, 2])
def test_part_is_found(name: str, seed: int) -> None:
    scene = draw_scene(seed, **SCENES[name])
    part = read_alone(scene.image)
    assert part.finding == "part"
    assert part.mask is not None
    assert purity(part.mask, scene.part) > 0.97
    assert coverage(part.mask, scene.part) > 0.45
    assert (part.mask & scene.shadow).sum() < 0.03 * part.mask.sum()


@pytest.mark.parametrize("kind", ["nut", "gear", "washer", "ring"])
def test_holes_are_off_the_part(kind: str) -> None:
    scene = draw_scene(3, part=kind, material="plastic", background="wood")
    part = read_alone(scene.image)
    assert part.mask is not None
    y, x = np.argwhere(scene.part).mean(axis=0).round().astype(int)
    assert not part.mask[y - 4 : y + 5, x - 4 : x + 5].any()


def test_all_of_several_parts_are_found() -> None:
    scene = draw_scene(4, part="pills", material="wood", background="white")
    part = read_alone(scene.image)
    assert part.mask is not None
    assert cv2.connectedComponents(part.mask.astype(np.uint8))[0] - 1 == 5


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_size_of_the_photo_does_not_matter(scale: float) -> None:
    scene = draw_scene(5, part="bracket", material="plastic", background="wood")
    image = cv2.resize(scene.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    truth = cv2.resize(scene.part.astype(np.uint8), image.shape[1::-1], interpolation=0) > 0
    part = read_alone(image)
    assert part.mask is not None
    assert part.mask.shape == image.shape[:2]
    assert purity(part.mask, truth) > 0.97
    assert coverage(part.mask, truth) > 0.65


def find_all(scenes: list[Scene]) -> list[Part]:
    readers: list[Callable[[], NDArray[np.uint8]]] = [lambda s=s: s.image for s in scenes]
    finder = PartFinder(readers)
    return [finder.find(scene.image) for scene in scenes]


@pytest.mark.parametrize("moves", ["everywhere", "never"])
def test_fixed_camera(moves: str) -> None:
    scenes = draw_series(
        6, 10, part="pill", material="plastic", background="wood", moves=moves, shadow="hard"
    )
    parts = find_all(scenes)
    assert [part.finding for part in parts] == ["part"] * 10
    for part, scene in zip(parts, scenes, strict=True):
        assert part.mask is not None
        beyond = part.mask & ~grow_mask(scene.part, 2)  # an outline is placed to 2 px
        assert beyond.sum() < 0.025 * part.mask.sum()
        assert purity(part.mask, scene.part) > 0.9
        assert coverage(part.mask, scene.part) > 0.8


def test_fixed_camera_knows_its_cluttered_table() -> None:
    scenes = draw_series(
        7, 12, part="cap", material="plastic", background="grey", moves="everywhere"
    )
    cluttered = []
    for scene in scenes:  # a tool that always lies there
        image = scene.image.copy()
        image[20:60, 20:90] = (40, 90, 160)
        cluttered.append(replace(scene, image=image))
    for part in find_all(cluttered)[:4]:
        assert part.mask is not None
        assert part.mask[:70, :100].sum() < 0.02 * part.mask.sum()


@pytest.mark.parametrize("kind", sorted(SURFACES))
def test_surface_has_no_background(kind: str) -> None:
    images = [draw_surface(np.random.default_rng(n), (256, 320), kind).image for n in range(2)]
    finder = PartFinder([lambda i=i: i for i in images])
    for image in images:
        part = finder.find(image)
        assert part.finding == "surface"
        assert part.mask is None


def test_table_without_a_part_is_no_part() -> None:
    scene = draw_scene(8, part="pill", material="wood", background="cloth", pose_fraction=(9, 9, 0))
    assert not scene.part.any()
    assert read_alone(scene.image).mask is None


def test_same_photos_give_the_same_masks() -> None:
    scenes = draw_series(9, 8, part="nut", material="metal", background="wood", moves="everywhere")
    for one, other in zip(find_all(scenes), find_all(scenes), strict=True):
        assert one.finding == other.finding
        assert np.array_equal(one.mask, other.mask)


def test_photos_are_read_at_first_use_and_not_all() -> None:
    image = draw_scene(1, part="cap", material="wood", background="grey").image
    read: list[int] = []

    def reader(number: int) -> Callable[[], NDArray[np.uint8]]:
        def read_it() -> NDArray[np.uint8]:
            read.append(number)
            return cv2.resize(image, (64, 48))

        return read_it

    finder = PartFinder([reader(number) for number in range(200)])
    assert read == []
    finder.find(image)
    assert len(read) == 40
    assert {0, 199} <= set(read)
    finder.find(image)
    assert len(read) == 40


def test_grey_photo_without_channels_is_refused() -> None:
    with pytest.raises(ShapeError, match="height, width, 3"):
        PartFinder([]).find(np.zeros((50, 50), np.uint8))


@pytest.mark.parametrize("name", ["nut on wood", "several pills", "screw, hard shadow"])
def test_check_flags_labels_on_the_table_whatever_the_mask_says(name: str) -> None:
    scene = draw_scene(1, **SCENES[name])
    said = wrong(read_alone(scene.image))
    for y, x in ((30, 30), (350, 480)):
        label = disc(scene.part.shape, y, x, 6)
        assert off_part_fraction(label, said) > 0.9
    on_part = deepest_disc(scene.part, 5)
    assert off_part_fraction(on_part, said) < 0.1


@pytest.mark.parametrize("name", ["dark on bright, hard shadow", "gear on a gradient"])
def test_check_flags_labels_on_the_shadow(name: str) -> None:
    scene = draw_scene(2, **SCENES[name])
    part = read_alone(scene.image)
    said = replace(part, mask=scene.part | scene.shadow)
    label = deepest_disc(scene.shadow, 3)
    assert off_part_fraction(label, said) > 0.5


def test_check_flags_labels_in_the_hole() -> None:
    scene = draw_scene(2, part="nut", material="plastic", background="white")
    y, x = np.argwhere(scene.part).mean(axis=0)
    label = disc(scene.part.shape, y, x, 6)
    assert off_part_fraction(label, wrong(read_alone(scene.image))) > 0.9


def test_check_knows_nothing_where_there_is_no_background() -> None:
    image = draw_surface(np.random.default_rng(1), (200, 200), "rolled").image
    part = read_alone(image)
    assert part.finding == "surface"
    assert np.isnan(off_part_fraction(disc((200, 200), 100, 100, 9), part))


def test_check_refuses_a_label_of_another_size() -> None:
    with pytest.raises(ShapeError, match="label"):
        off_part_fraction(
            np.ones((40, 50), bool), Part(finding="part", background=np.ones((50, 50), bool))
        )


def test_short_side_is_the_largest_piece_s() -> None:
    mask = np.zeros((100, 200), np.uint8)
    cv2.fillPoly(mask, [np.array([[20, 20], [120, 70], [110, 90], [10, 40]])], 1)
    mask[5:9, 150:154] = 1
    assert short_side_px(mask > 0, (100, 200)) == pytest.approx(23, abs=1.5)
    assert short_side_px(None, (100, 200)) == 100


def test_edge_band_leaves_out_the_frame_and_keeps_holes() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:, :30] = True
    mask[25:30, 10:15] = False
    band = edge_band(mask, 3)
    assert not (band & ~mask).any()
    assert band[10:13, 5].all()
    assert not band[13, 5]
    assert band[27, 16]
    assert not band[39, 4]  # the frame cuts the part off here
    assert not band[20, 0]
    assert not edge_band(np.ones((9, 9), bool), 3).any()


def shared_photos(name: str, label: str | None = None) -> list[Callable[[], NDArray[np.uint8]]]:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is absent")
    with (SHARED / name / "MANIFEST.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if label in (None, row["label"])]
    chosen = [rows[int(n)] for n in np.linspace(0, len(rows) - 1, min(8, len(rows)))]

    def reader(path: Path) -> Callable[[], NDArray[np.uint8]]:
        return lambda: np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])

    return [reader(SHARED / name / row["image"]) for row in chosen]


def test_cookies_are_found_and_their_tray_is_not() -> None:
    photos = shared_photos("cookies")
    finder = PartFinder(photos)
    for photo in photos:
        image = photo()
        part = finder.find(image)
        assert part.mask is not None
        assert 0.15 < part.mask.mean() < 0.5
        warmth = image[..., 0].astype(int) - image[..., 2]  # dough is brown, the tray grey
        assert np.median(warmth[part.mask]) > 40
        around = ~part.mask
        assert (warmth[around] > 45).mean() < 0.05


@pytest.mark.parametrize("name", ["pv_el_cracks", "textures_skimage"])
def test_pictures_of_surfaces_have_no_background(name: str) -> None:
    photos = shared_photos(name, "good")
    finder = PartFinder(photos)
    parts = [finder.find(photo()) for photo in photos]
    assert sum(part.finding == "surface" for part in parts) >= len(parts) - 1
    for part in parts:  # a black gap beside a cell may be left out, nothing else
        assert part.mask is None or part.mask.mean() > 0.95


def test_black_beyond_a_tile_s_edge_is_off_the_tile() -> None:
    photos = shared_photos("magnetic_tile", "good")
    finder = PartFinder(photos)
    for photo in photos:
        image = photo()
        part = finder.find(image)
        assert part.finding in ("part", "surface")
        if part.mask is not None:
            assert part.mask.mean() > 0.6
            assert image[~part.mask].mean() < 0.4 * image[part.mask].mean()
