from __future__ import annotations

import pickle
import threading

import cv2
import numpy as np
import pytest

from synthgen.commands.worker import make_worker
from synthgen.config.compose import compose
from synthgen.config.objects import to_plain
from synthgen.errors import ConfigError, ShapeError, SourceError
from synthgen.sources import FolderSources, ProceduralSources, SourceIndex
from synthgen.sources.findings import describe_parts
from synthgen.sources.surfaces import SURFACES


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
    assert sources.part(sources.read(ids[0])).allowed is None


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


def test_illegal_regions_are_taken_away(tmp_path) -> None:
    save(tmp_path / "photos" / "a.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :20] = 255
    (tmp_path / "no").mkdir()
    cv2.imwrite(str(tmp_path / "no" / "a.png"), mask)
    sources = FolderSources(str(tmp_path / "photos"), illegal=str(tmp_path / "no"))
    part = sources.part(sources.read("a"))
    assert np.array_equal(part.allowed, mask == 0)


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
    given = sources.part(sources.read("a"))  # a mask of one's own wins over what is found
    assert given.finding == "given"
    assert np.array_equal(given.allowed, (legal > 0) & (illegal == 0))
    found = sources.part(sources.read("b"))
    assert found.finding == "part"
    assert found.allowed[25:75, 25:75].all()
    assert not found.allowed[:15].any()
    sources = FolderSources(str(tmp_path / "photos"), foreground="all", **folders)
    assert sources.part(sources.read("b")).allowed is None


@pytest.mark.parametrize("name", ["a_mask.PNG", "a-mask.bmp", "A.png", "mask_a.tif", "a.png.png"])
def test_masks_are_found_under_the_names_that_people_give_them(tmp_path, name) -> None:
    save(tmp_path / "photos" / "a.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :20] = 255
    (tmp_path / "masks").mkdir()
    suffix = "." + name.rsplit(".", 1)[1].lower()
    (tmp_path / "masks" / name).write_bytes(cv2.imencode(suffix, mask)[1].tobytes())
    sources = FolderSources(str(tmp_path / "photos"), legal=str(tmp_path / "masks"))
    assert np.array_equal(sources.part(sources.read("a")).mask, mask > 0)


def test_a_mask_of_another_size_names_both_files(tmp_path) -> None:
    save(tmp_path / "photos" / "a.png")
    save(tmp_path / "masks" / "a.png", (10, 12))
    sources = FolderSources(str(tmp_path / "photos"), legal=str(tmp_path / "masks"))
    with pytest.raises(ShapeError, match=r"masks/a\.png is 10 x 12 .*48 x 64.*photos/a\.png"):
        sources.part(sources.read("a"))


def send(sources) -> SourceIndex:
    return pickle.loads(pickle.dumps(SourceIndex(sources)))


def test_a_worker_is_sent_what_was_found_and_opens_no_photo_for_it(tmp_path) -> None:
    photos = tmp_path / "photos"
    for number in range(8):
        save(photos / f"{number}.png")
    (photos / "broken.png").write_bytes(b"no image")
    sources = FolderSources(str(photos))
    describe_parts(sources)  # the photos are looked at
    source = sources.read("3")
    part = sources.part(source)
    index = send(sources)
    photos.rename(tmp_path / "elsewhere")  # nothing can be opened now
    config = compose("generate", ["source=folder", f"source.path={photos}", "backend=sketch"])
    worker = make_worker(to_plain(config), str(tmp_path / "run"), index)
    got = worker.stages.condition.sources
    assert got is index.sources
    assert got.entries == sources.entries
    assert got.skipped == sources.skipped
    assert len(got.skipped) == 1
    assert np.array_equal(got.part(source).mask, part.mask)
    assert got.part(source).finding == part.finding


def test_masks_of_photos_seen_lately_stay_at_home(tmp_path) -> None:
    save(tmp_path / "a.png", (2000, 2000, 3))
    sources = FolderSources(str(tmp_path), foreground="auto")
    sources.part(sources.read("a"))
    assert len(pickle.dumps(SourceIndex(sources))) < 20_000
    assert len(sources._parts) == 1  # here they are still there


def test_sources_that_cannot_be_sent_are_built_by_each_worker(tmp_path) -> None:
    sources = ProceduralSources(2, (64, 64))
    assert send(sources).sources.entries == sources.entries
    sources.lock = threading.Lock()
    assert send(sources).sources is None
    config = compose("generate", ["backend=sketch", "source.count=3"])
    worker = make_worker(to_plain(config), str(tmp_path / "run"), send(sources))
    assert len(worker.stages.condition.sources.entries) == 3
