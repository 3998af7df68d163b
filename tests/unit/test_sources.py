from __future__ import annotations

import cv2
import numpy as np
import pytest

from synthgen.errors import ConfigError, ShapeError, SourceError
from synthgen.sources import FolderSources, ProceduralSources, find_part
from synthgen.surfaces import SURFACES


def save(path, shape=(48, 64, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def test_procedural_is_seeded_and_covers_all_kinds() -> None:
    one, other = ProceduralSources(24, (64, 80), (), 1), ProceduralSources(24, (64, 80), (), 2)
    ids = [entry.source_id for entry in one.entries]
    assert ids == sorted(ids)
    assert {source_id.split("-")[0] for source_id in ids} == set(SURFACES)
    first = one.read(ids[0])
    assert first.size_hw == (64, 80)
    assert np.array_equal(first.pixels, ProceduralSources(24, (64, 80), (), 1).read(ids[0]).pixels)
    assert not np.array_equal(first.pixels, other.read(ids[0]).pixels)


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"count": 0}, "source.count"),
        ({"count": "many"}, "source.count"),
        ({"size_hw": (10, 64)}, "source.size_hw"),
        ({"size_hw": (64,)}, "source.size_hw"),
        ({"kinds": ["velvet"]}, "source.kinds"),
    ],
)
def test_impossible_procedural_sources(wrong, key) -> None:
    with pytest.raises(ConfigError, match=key):
        ProceduralSources(**({"count": 1, "size_hw": (64, 64)} | wrong))


def test_folder_is_searched_through_and_ids_are_safe_and_unique(tmp_path) -> None:
    for name in ("a.png", "a.jpg", "teil ä/b c.PNG", "deep/er/x.tiff", "y.bmp"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    sources = FolderSources(str(tmp_path))
    ids = [entry.source_id for entry in sources.entries]
    assert ids == ["a-jpg", "a-png", "deep_er_x", "teil-ä_b-c", "y"]
    assert all(sources.read(source_id).pixels.size for source_id in ids)
    assert sources.region(sources.read(ids[0])) is None


def test_broken_files_are_reported_and_left_out_or_fail(tmp_path) -> None:
    save(tmp_path / "good.png")
    save(tmp_path / "tiny.png", (8, 8, 3))
    (tmp_path / "text.png").write_text("no image")
    sources = FolderSources(str(tmp_path))
    assert [entry.source_id for entry in sources.entries] == ["good"]
    assert ["text.png" in sources.skipped[0], "tiny.png" in sources.skipped[1]] == [True, True]
    with pytest.raises(SourceError, match=r"text\.png"):
        FolderSources(str(tmp_path), on_broken="fail")


def test_no_usable_folder_is_one_sentence(tmp_path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        FolderSources(str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match="holds no images"):
        FolderSources(str(tmp_path))
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(SourceError, match="none of the 1 image files"):
        FolderSources(str(tmp_path))
    with pytest.raises(SourceError, match="is a file"):
        FolderSources(str(tmp_path / "text.png"))
    save(tmp_path / "a.png")
    with pytest.raises(SourceError, match=r"source\.legal"):
        FolderSources(str(tmp_path), legal=str(tmp_path / "masks"))


def test_groups(tmp_path) -> None:
    for name in ("p1/cam_a.png", "p1/cam_b.png", "p2/cam_a.png"):
        save(tmp_path / name)

    def groups(group_by: str) -> list[str]:
        return [entry.group for entry in FolderSources(str(tmp_path), group_by=group_by).entries]

    assert groups("file") == ["p1_cam_a", "p1_cam_b", "p2_cam_a"]
    assert groups("folder") == ["p1", "p1", "p2"]
    assert groups(r"cam_(\w)") == ["a", "b", "a"]
    with pytest.raises(ConfigError, match=r"source\.group_by"):
        groups("(")
    with pytest.raises(ConfigError, match="one group"):
        groups("cam")


def test_groups_by_a_table(tmp_path) -> None:
    for name in ("set/a.png", "set/b.png", "set/deep/b.png", "photos/own.png"):
        save(tmp_path / name)
    (tmp_path / "photos" / "copy.png").write_bytes((tmp_path / "set" / "a.png").read_bytes())
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "set" / "b.png")
    table = tmp_path / "parts.csv"
    rows = ["set/a.png,p1", "set/b.png,p2", "set/deep/b.png,p3", "elsewhere/copy.png,p4"]
    table.write_text("\n".join(["image,group", *rows, "photos/own.png,p5"]), encoding="utf-8")

    def groups(folder: str) -> list[str]:
        entries = FolderSources(str(tmp_path / folder), group_by=str(table)).entries
        return [entry.group for entry in entries]

    assert groups("set") == ["p1", "p2", "p3"]
    assert groups("photos") == ["p4", "p2", "p5"]  # by name, where the link leads, by place
    save(tmp_path / "photos" / "new.png")
    with pytest.raises(SourceError, match=r"new\.png has no group"):
        groups("photos")
    table.write_text("photo,group\na.png,p1", encoding="utf-8")
    with pytest.raises(ConfigError, match="no column 'image'"):
        groups("set")
    table.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        groups("set")


def test_the_part_is_found_on_an_even_background() -> None:
    image = np.full((120, 160, 3), 30, np.uint8)
    cv2.circle(image, (80, 60), 40, (150, 140, 160), -1)
    image = cv2.add(image, np.random.default_rng(0).integers(0, 8, image.shape, np.uint8))
    truth = np.zeros((120, 160), np.uint8)
    cv2.circle(truth, (80, 60), 40, 1, -1)
    part = find_part(image)
    assert (part & (truth > 0)).sum() / (part | (truth > 0)).sum() > 0.95


def test_a_part_is_found_on_a_grained_tray_in_uneven_light_with_a_bright_rim() -> None:
    rng = np.random.default_rng(0)
    tray = np.linspace(80, 55, 200)[:, None, None] + rng.normal(0, 6, (200, 150, 1))
    image = np.clip(np.broadcast_to(tray, (200, 150, 3)), 0, 255).astype(np.uint8)
    image[:6] = 200
    truth = np.zeros((200, 150), np.uint8)
    cv2.ellipse(truth, (75, 110), (50, 40), 0, 0, 360, 1, -1)
    image[truth > 0] = (190, 150, 90)
    part = find_part(image)
    assert (part & (truth > 0)).sum() / (part | (truth > 0)).sum() > 0.95


def test_one_of_many_pieces_is_no_part() -> None:
    image = np.full((200, 200, 3), 40, np.uint8)
    for place in range(20, 200, 40):
        image[10:190, place - 13 : place + 13] = 180
    assert find_part(image).all()


def test_no_part_means_everywhere() -> None:
    texture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert find_part(texture).all()
    assert find_part(np.full((64, 64, 3), 90, np.uint8)).all()


def test_illegal_regions_are_taken_away(tmp_path) -> None:
    save(tmp_path / "photos" / "a.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :20] = 255
    (tmp_path / "no").mkdir()
    cv2.imwrite(str(tmp_path / "no" / "a.png"), mask)
    sources = FolderSources(str(tmp_path / "photos"), illegal=str(tmp_path / "no"))
    assert np.array_equal(sources.region(sources.read("a")), mask == 0)


def test_only_the_named_kinds_are_drawn_in_turn() -> None:
    sources = ProceduralSources(5, (64, 64), ["wood", "cast"], 0)
    ids = [entry.source_id for entry in sources.entries]
    assert ids == ["cast-000001", "cast-000003", "wood-000000", "wood-000002", "wood-000004"]
    assert sources.read("cast-000001").surface == "cast metal"
    assert sources.entries[0].path is None
    assert sources.entries[0].group == "cast-000001"


def test_a_source_is_the_same_in_any_order_and_count() -> None:
    few, many = (
        ProceduralSources(2, (64, 64), ["wood"], 3),
        ProceduralSources(9, (64, 64), ["wood"], 3),
    )
    many.read("wood-000008")
    assert np.array_equal(few.read("wood-000001").pixels, many.read("wood-000001").pixels)
    assert not np.array_equal(few.read("wood-000000").pixels, few.read("wood-000001").pixels)


@pytest.mark.parametrize("name", ["b.png", "b.tif", "b.jpg"])
def test_truncated_files_are_refused_when_built_or_when_read(tmp_path, name) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    sources = FolderSources(str(tmp_path))
    if sources.skipped:
        assert name in sources.skipped[0]
        assert [entry.source_id for entry in sources.entries] == ["a"]
    else:  # a JPEG shows it only when it is decoded
        with pytest.raises(SourceError, match=name):
            sources.read("b")


def test_ids_stay_unique_where_safe_names_meet(tmp_path) -> None:
    names = ("a_b.png", "a/b.png", "a b.png", "a-b.png", "x.png", "x.jpg", "x-png.bmp", "%.png")
    for name in names:
        save(tmp_path / name)
    ids = [entry.source_id for entry in FolderSources(str(tmp_path)).entries]
    assert len(set(ids)) == len(names)
    assert not [source_id for source_id in ids if {"/", " ", "%"} & set(source_id)]


def test_group_falls_back_to_the_image_where_the_pattern_is_silent(tmp_path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "p7_a.png")
    entries = FolderSources(str(tmp_path), group_by=r"(p\d)?_?a").entries
    assert [entry.group for entry in entries] == ["a", "p7"]


def test_legal_illegal_and_foreground_are_combined(tmp_path) -> None:
    photo = np.full((100, 100, 3), 20, np.uint8)
    photo[20:80, 20:80] = 200
    legal, illegal = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    legal[:, :50], illegal[:40] = 255, 255
    for folder, pixels in (("photos", photo), ("legal", legal), ("illegal", illegal)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), pixels)
    cv2.imwrite(str(tmp_path / "photos" / "b.png"), photo)
    folders = {name: str(tmp_path / name) for name in ("legal", "illegal")}
    sources = FolderSources(str(tmp_path / "photos"), foreground="auto", **folders)
    region = sources.region(sources.read("a"))
    assert region[45:75, 25:45].all()
    assert not region[:40].any()
    assert not region[:, 50:].any()
    assert not region[:, :15].any()
    sources = FolderSources(str(tmp_path / "photos"), **folders)
    assert sources.region(sources.read("b")).all()


def test_a_mask_of_another_size_names_both_files(tmp_path) -> None:
    save(tmp_path / "photos" / "a.png")
    save(tmp_path / "masks" / "a.png", (10, 12))
    sources = FolderSources(str(tmp_path / "photos"), legal=str(tmp_path / "masks"))
    with pytest.raises(ShapeError, match=r"masks/a\.png is 10 x 12 .*48 x 64.*photos/a\.png"):
        sources.region(sources.read("a"))


def test_noise_is_no_part() -> None:
    noise = np.random.default_rng(0).integers(90, 94, (200, 200, 3), np.uint8)
    assert find_part(noise).all()


@pytest.mark.parametrize("radius", [8, 140])
def test_a_part_of_no_plausible_size_means_everywhere(radius) -> None:
    image = np.full((200, 200, 3), 40, np.uint8)
    cv2.circle(image, (100, 100), radius, (200, 200, 200), -1)
    image[0], image[-1], image[:, 0], image[:, -1] = 40, 40, 40, 40
    assert find_part(image).all()
