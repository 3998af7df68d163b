from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from synthgen.conditioning.conditioner import Conditioner
from synthgen.conditioning.control.edges import canny_control, combine_edges, outline
from synthgen.conditioning.placement import Room, place
from synthgen.errors import ConfigError, PlacementError, ShapeError
from synthgen.imaging.geometry import grow_mask
from synthgen.planning.missed import near_place
from synthgen.planning.plan import draw_plan
from synthgen.samples.sample import Attempt, Part
from synthgen.sources import FolderSources
from tests.samples import draw_classes, draw_conditions


@pytest.mark.parametrize("cell_px", [1, 8])
def test_masks_nest_and_the_sketch_stays_inside(cell_px: int) -> None:
    for condition in draw_conditions(count=12, cell_px=cell_px):
        assert condition.defect_mask.any()
        assert not (condition.defect_mask & ~condition.repaint_mask).any()
        assert np.array_equal(condition.defect_mask, condition.instance_map > 0)
        cells = condition.repaint_mask.reshape(128 // cell_px, cell_px, 128 // cell_px, cell_px)
        assert np.array_equal(cells.any(axis=(1, 3)), cells.all(axis=(1, 3)))


def test_a_redraw_moves_the_defect_and_keeps_the_source() -> None:
    sources_seen = draw_conditions("pit", count=1)[0]
    classes = draw_classes("pit")
    from synthgen.sources import ProceduralSources

    build = Conditioner(
        ProceduralSources(1, (128, 128), (), 3), classes, {"canny": canny_control()}
    )
    again = build(sources_seen.spec, Attempt(placement=1))
    assert np.array_equal(again.image, sources_seen.image)
    assert not np.array_equal(again.defect_mask, sources_seen.defect_mask)


def test_several_instances_are_apart() -> None:
    condition = draw_conditions("pit", count=1, size=256, instances=(4, 4))[0]
    assert set(np.unique(condition.instance_map)) == {0, 1, 2, 3, 4}
    count, _ = cv2.connectedComponents(condition.repaint_mask.astype(np.uint8))
    assert count - 1 >= 4


def test_control_has_the_part_outside_and_the_defect_inside() -> None:
    part, defect = np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8)
    part[2, :], part[8, :], defect[8, 8] = 255, 255, 255
    asked, repaint = np.zeros((16, 16), bool), np.zeros((16, 16), bool)
    asked[7:10, 7:10], repaint[5:12, 5:12] = True, True
    edges = combine_edges(part, defect, asked, repaint)[..., 0]
    assert edges[2].all()
    assert edges[8, 0]
    assert not edges[8, 5]
    assert edges[8, 8]
    assert np.array_equal(
        edges[5:12, 5:12] > 0, (asked & (outline(asked) | (defect > 0)))[5:12, 5:12]
    )


def test_thresholds_that_run_backwards() -> None:
    with pytest.raises(ConfigError, match=r"control\.canny\.low"):
        canny_control(200, 100)


def test_placement_obeys_the_region() -> None:
    free = np.zeros((100, 100), bool)
    free[60:90, 10:50] = True
    shape = np.ones((9, 5), bool)
    for seed in range(30):
        row, column = place(np.random.default_rng(seed), shape, Room(free=free, near=free), "x")
        assert free[row : row + 9, column : column + 5].all()


def test_no_room_is_one_sentence() -> None:
    free = np.eye(64, dtype=bool)
    with pytest.raises(PlacementError, match=r"'x'.*20 x 20 px.*make the defect smaller"):
        place(np.random.default_rng(0), np.ones((20, 20), bool), Room(free=free, near=free), "x")


def test_a_large_defect_lies_around_the_place_that_was_asked_for() -> None:
    free = np.ones((100, 100), bool)
    near = near_place(free, 0.4, 0.6, 0.05)
    shape = np.ones((50, 30), bool)
    for seed in range(20):
        row, column = place(np.random.default_rng(seed), shape, Room(free=free, near=near), "x")
        assert near[row + 24, column + 14]


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_a_defect_that_a_border_cuts_off_reaches_that_border(side) -> None:
    free, shape = np.ones((100, 80), bool), np.ones((20, 20), bool)
    fraction = 0.25 if side in ("top", "left") else 0.75
    for seed in range(10):
        rng = np.random.default_rng(seed)
        row, column = place(
            rng,
            shape,
            Room(free=free, near=free, on_image_fraction=0.3, cut_at={side: fraction}),
            "x",
        )
        hidden = {"top": -row, "bottom": row + 20 - 100, "left": -column, "right": column + 20 - 80}
        assert hidden[side] == 5


def test_regions_of_a_folder_are_obeyed(tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "legal").mkdir()
    image = np.random.default_rng(0).integers(90, 150, (120, 160, 3), np.uint8)
    legal = np.zeros((120, 160), np.uint8)
    legal[:, :80] = 255
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), image)
    cv2.imwrite(str(tmp_path / "legal" / "a.png"), legal)
    sources = FolderSources(str(tmp_path / "photos"), legal=str(tmp_path / "legal"))
    classes = draw_classes("pit", "spatter")
    build = Conditioner(sources, classes, {"canny": canny_control()})
    for spec in draw_plan(sources, classes, 12, 0, {"train": 1}, 0):
        assert build(spec).defect_mask[:, 80:].sum() <= 0.02 * build(spec).defect_mask.sum() + 1
    cv2.imwrite(str(tmp_path / "legal" / "a.png"), legal[:60])
    sources = FolderSources(str(tmp_path / "photos"), legal=str(tmp_path / "legal"))
    build = Conditioner(sources, classes, {"canny": canny_control()})
    with pytest.raises(ShapeError, match="60 x 160 px"):
        build(draw_plan(sources, classes, 1, 0, {"train": 1}, 0)[0])


def photos_of_a_part(folder: Path, photo: np.ndarray, count: int = 4) -> FolderSources:
    folder.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 6, photo.shape, np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.add(photo, noise))
    return FolderSources(str(folder))


def test_chips_lie_at_the_parts_edge_and_all_else_on_the_part(tmp_path: Path) -> None:
    photo = np.full((200, 260, 3), 40, np.uint8)
    cv2.rectangle(photo, (60, 50), (200, 150), (150, 155, 160), -1)
    sources = photos_of_a_part(tmp_path / "photos", photo)
    classes = {
        name: replace(kind, place="edge" if name == "chip" else "anywhere")
        for name, kind in draw_classes("chip", "stain", "pit").items()
    }
    build = Conditioner(sources, classes, {"canny": canny_control()})
    inner = np.zeros((200, 260), bool)
    inner[50:151, 60:201] = True
    near = ~grow_mask(~inner, 9)
    for spec in draw_plan(sources, classes, 18, 0, {"train": 1}, 0):
        condition = build(spec)
        assert condition.part is not None
        assert condition.part.finding == "part"
        assert not (condition.defect_mask & ~inner).any()
        away = ~grow_mask(inner, 1)
        assert (condition.sketch[away] == condition.image[away]).all()
        if spec.defect_class == "chip":
            assert (condition.defect_mask & ~near).any()


def test_sizes_follow_the_part_and_not_the_picture(tmp_path: Path) -> None:
    spans = {}
    for side in (60, 150):
        photo = np.full((240, 240, 3), 30, np.uint8)
        first = 120 - side // 2
        photo[first : first + side, first : first + side] = 160
        sources = photos_of_a_part(tmp_path / f"{side}", photo)
        classes = draw_classes("stain")
        build = Conditioner(sources, classes, {"canny": canny_control()})
        specs = draw_plan(sources, classes, 8, 0, {"train": 1}, 0)
        spans[side] = np.median([np.sqrt(build(spec).defect_mask.sum()) for spec in specs])
    assert 1.6 < spans[150] / spans[60] < 3.5


def test_a_photo_that_is_unsure_is_said_to_be_and_has_a_guess_for_a_mask() -> None:
    found = Part(finding="unsure", mask=np.eye(4, dtype=bool))
    assert np.array_equal(found.allowed, found.mask)
    assert Part(finding="surface").allowed is None
