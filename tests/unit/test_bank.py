"""The bank of real defects: cut out, kept, deformed, and lent only where nothing leaks."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from synthgen.backends.backend import SketchBackend
from synthgen.commands.cli import main
from synthgen.conditioning.conditioner import Conditioner
from synthgen.conditioning.control.edges import canny_control
from synthgen.conditioning.placement import Room, place
from synthgen.config.advice import (
    find_faint_references,
    find_other_names,
    find_own_lines,
    find_references_elsewhere,
)
from synthgen.config.build import add_references
from synthgen.config.objects import check_value
from synthgen.defects import Scene, lay_on, zoom
from synthgen.errors import ConfigError, SourceError
from synthgen.generation.generate import Stages, generate
from synthgen.imaging.geometry import grow_mask
from synthgen.imaging.images import read_image, write_png
from synthgen.imaging.optics import Optics
from synthgen.planning.missed import near_place
from synthgen.planning.plan import draw_plan
from synthgen.quality.bank import away_from_reference, measure_visible
from synthgen.quality.limits import Limits
from synthgen.realdata.read import read_real
from synthgen.realdata.records import RealImage
from synthgen.realdata.settings import RealSettings
from synthgen.references.deform import Deformation, deform
from synthgen.references.items import (
    BankItem,
    BuildSettings,
    build_bank,
    read_bank,
    write_bank,
)
from synthgen.references.lending import BankSettings, References, load_references
from synthgen.references.removal import to_fractions
from synthgen.references.skeleton import line_length, thin
from synthgen.references.together import find_neighbours, join
from synthgen.report.bank import MAX_SHOWN, _views, write_bank_page
from synthgen.report.sheet import LABEL
from synthgen.sources import FolderSources, ProceduralSources
from tests.samples import draw_classes

SPLITS = {"train": 0.6, "val": 0.2, "test": 0.2}
SIZE = 128


def draw_part(folder: Path, number: int) -> None:
    """Write a photo with a dark bent line (crack) or a dark spot (pore), and its mask."""
    rng = np.random.default_rng(number)
    photo = np.clip(cv2.GaussianBlur(rng.normal(140, 40, (SIZE, SIZE)), (0, 0), 1.5), 0, 255)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    if number % 2:
        points = np.array([[20, 30 + number], [50, 45], [80, 40 + number]], np.int32)
        cv2.polylines(mask, [points], False, 255, 3)
    else:
        cv2.circle(mask, (30 + 4 * number, 60), 6, 255, -1)
    photo[mask > 0] -= 70
    name = f"{'crack' if number % 2 else 'pore'}-{number}.png"
    write_png(folder / "photos" / name, np.clip(photo, 0, 255).astype(np.uint8))
    write_png(folder / "masks" / name, mask)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 12 parts with a defect each (2 of them of the split val) and 3 good photos."""
    folder = tmp_path_factory.mktemp("real")
    rows = []
    for number in range(12):
        draw_part(folder, number)
        name = f"{'crack' if number % 2 else 'pore'}-{number}.png"
        split = "val" if number >= 10 else "train"
        rows.append([f"photos/{name}", f"masks/{name}", name[: name.index("-")], split])
    for number in range(3):
        surface = np.random.default_rng(99 + number).normal(140, 15, (SIZE, SIZE))
        write_png(folder / "photos" / f"good-{number}.png", surface.clip(0, 255).astype(np.uint8))
        rows.append([f"photos/good-{number}.png", "", "good", "train"])
    frame = pd.DataFrame(rows, columns=["image", "mask", "class", "split"])
    frame["group"] = [f"part{number}" for number in range(len(frame))]
    frame.to_csv(folder / "parts.csv", index=False)
    return folder / "parts.csv"


def read(table: Path, split: str | None = "train") -> list[RealImage]:
    return read_real(RealSettings(format="table", path=str(table), split=split))


@pytest.fixture(scope="module")
def bank(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    items = build_bank(read(table))
    write_bank(folder, items)
    write_bank_page(folder, items)
    return folder


def load(bank: Path, **settings: object) -> References:
    references = load_references(BankSettings(path=str(bank), **settings))  # type: ignore[arg-type]
    assert references is not None
    return references


def test_two_defects_of_one_name_are_refused(table: Path, tmp_path: Path) -> None:
    item = build_bank(read(table))[0]
    with pytest.raises(SourceError, match=f"would both be called {item.item_id}; rename"):
        write_bank(tmp_path / "b", [item, item])
    assert not (tmp_path / "b").exists()


def test_what_is_written_is_read_back(table: Path, bank: Path) -> None:
    made, found = build_bank(read(table)), read_bank(bank)
    assert [item.item_id for item in found] == [item.item_id for item in made]
    for one, other in zip(made, found, strict=True):
        for name in ("crop", "clean", "mask"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
        assert one.group == other.group
        assert one.place_xy == other.place_xy
    assert Counter(item.defect_class for item in found) == {"crack": 5, "pore": 5}


def test_the_change_is_where_the_defect_is(bank: Path) -> None:
    for item in read_bank(bank):
        change = np.abs(item.change).mean(axis=2)
        assert change[item.mask].mean() > 30
        near = cv2.dilate(item.mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        assert not change[~near].any()


def test_the_measures_of_a_spot_and_of_a_line(bank: Path) -> None:
    for item in read_bank(bank):
        if item.defect_class == "pore":
            assert 90 <= item.area_px <= 140
            assert 9 <= item.width_px <= 12
            assert item.length_px >= item.width_px - 0.1
        else:
            assert 55 <= item.length_px <= 90
            assert 2 <= item.width_px <= 6


def test_the_page_shows_every_defect(bank: Path) -> None:
    page = (bank / "bank.html").read_text(encoding="utf-8")
    assert page.count('<figure class="tile item"') == 10
    assert "crack: 5 on 5 parts" in page
    assert page.count('data-visible="1.00"') == page.count(", 1.00 visible<") == 10
    assert "<option>visible</option>" in page
    assert ">nan" not in page
    assert "contrast nan" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert (bank / "bank.png").stat().st_size > 1000


def test_of_very_many_defects_some_are_shown(bank: Path, tmp_path: Path) -> None:
    [first, *_] = read_bank(bank)
    many = [
        replace(
            first,
            item_id=f"item-{n}",
            defect_class=f"class-{n % 25}",
            area_px=9 + n,
            contrast_delta_e=np.nan,
        )
        for n in range(5000)
    ]
    page = write_bank_page(tmp_path / "mine", many, ["groups were guessed from the names"])
    text = page.read_text(encoding="utf-8")
    assert text.count('<figure class="tile item"') == MAX_SHOWN
    assert text.count(f"{MAX_SHOWN // 25} of them are shown, evenly over their sizes") == 25
    assert "groups were guessed from the names" in text
    assert "contrast nan" not in text
    assert "<h1>mine</h1>" in text
    assert str(tmp_path) not in text
    assert page.stat().st_size < 8e6


def test_only_the_defect_is_outlined() -> None:
    """Nothing else, and the view keeps its shape."""
    view = np.full((40, 20, 3), 90, np.uint8)
    mask = np.zeros((40, 20), np.bool_)
    mask[5:35, 8:12] = True
    item = BankItem("crack", "a", "a", view, view, mask, 120, 5.0, 90.0, (0.5, 0.5))
    marked = _views(item)[1]
    assert marked.shape == (160, 80, 3)
    assert (marked == LABEL).all(axis=2).any()
    assert not (marked[:, 60:] == LABEL).all(axis=2).any()


def test_what_is_scored_on_lends_nothing(table: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="split val: what is scored on must not lend"):
        build_bank(read(table, split=None))
    everything = build_bank(read(table, None), BuildSettings(splits=("train", "val")))
    assert len(everything) == 12
    write_bank(tmp_path, everything)
    with pytest.raises(SourceError, match=r"bank.splits=\[train,val\]"):
        load(tmp_path)
    assert load(tmp_path, splits=("train", "val")).groups


def test_no_bank_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="make one with synthgen bank"):
        load(tmp_path)


@pytest.mark.parametrize("what", ["nothing", "no table"])
def test_a_bad_bank_stops_a_run_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    if what == "no table":
        (tmp_path / "bank").mkdir()
        (tmp_path / "bank" / "bank.parquet").write_bytes(b"this is not a parquet file")
    with pytest.raises(SystemExit) as stopped:
        run("generate", f"run.folder={tmp_path}/r", f"bank.path={tmp_path}/bank", capsys=capsys)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert "bank" in told
    assert "Traceback" not in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("seed", range(20))
def test_a_deformed_shape_is_whole_and_inside_its_frame(bank: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    items = read_bank(bank)
    item = items[seed % len(items)]
    change, mask, at = deform(rng, item.change, item.mask, Deformation(), (False, True))
    assert change.shape == (*mask.shape, 3)
    assert mask.any()
    assert not (mask[0].any())
    assert not (mask[-1].any())
    assert not (mask[:, 0].any())
    assert not (mask[:, -1].any())
    assert 0.3 < mask.sum() / item.area_px < 2.6  # scaled by 0.7 to 1.4
    count, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert count == 2  # one defect, the surface
    assert np.abs(change)[mask].mean() > 20  # its look went along
    rows, columns = np.rint(at[mask]).astype(int).T
    assert item.mask[rows, columns].mean() > 0.9  # each pixel says where it comes from


def test_deforming_nothing_turns_nothing(bank: Path) -> None:
    item = read_bank(bank)[0]
    still = Deformation(turn_deg=0, scale=(1.0, 1.0), bend=0, elastic=0)
    shapes = {
        deform(np.random.default_rng(s), item.change, item.mask, still, (False, False))[1].sum()
        for s in (0, 1)
    }
    assert all(abs(int(area) - item.area_px) <= 0.1 * item.area_px for area in shapes)


def test_a_reference_is_laid_on_at_the_surfaces_own_level(bank: Path) -> None:
    references = load(bank)
    item_id = next(iter(references.items))
    for level in (60, 120):
        image = np.full((200, 200, 3), level, np.uint8)
        drawing = references.draw(np.random.default_rng(0), item_id, 0.5)
        laid, mask = lay_on(image, drawing, (40, 40), Optics())
        lost = level - laid[mask].mean()
        assert 0.3 * level < lost < 0.7 * level  # half of 140, as on its own surface
        near = cv2.dilate(mask.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        assert (laid[~near] == level).all()


WIDE = Scene(short_side_px=400)
STILL = BankSettings(deform=Deformation(turn_deg=0, scale=(1.0, 1.0), bend=0, elastic=0))


def test_in_the_dark_of_a_reference_the_surface_is_dimmed() -> None:
    rng = np.random.default_rng(0)
    rough = [np.repeat(rng.normal(150, 25, (160, 160, 1)).clip(40, 255), 3, 2) for _ in range(3)]
    clean, own, surface = (one.astype(np.uint8) for one in rough)
    mask = np.zeros((160, 160), bool)
    mask[40:120, 30:130] = True
    clean[70:80] = 40  # a line of the piece that the reference defect was removed with
    crop = np.where(mask[..., None], (own * 0.3).astype(np.uint8), clean)
    item = BankItem("dark", "a", "a", crop, clean, mask, 8000, 40.0, 0.0, (0.5, 0.5), item_id="d-1")
    drawing = References([item], replace(STILL, own_texture=0)).draw(rng, "d-1", 0.5)
    laid, where = lay_on(surface, drawing, (0, 0), Optics())
    assert abs(laid[where].mean() - 0.3 * 150) < 6
    assert laid[where].std() < 0.6 * surface[where].std()
    assert laid[where].max() < 140  # that line makes nothing bright


@pytest.mark.parametrize("covers", [True, False])
def test_nothing_shows_through_a_reference_with_its_own_texture(covers: bool) -> None:
    stripes = np.where(np.arange(160) % 6 < 3, -25, 25)
    clean = np.repeat((120 + stripes)[None, :, None], 160, 0).repeat(3, 2).astype(np.uint8)
    light = np.linspace(80, 180, 160)[:, None, None]  # brighter downward
    surface = (light + stripes[:, None]).repeat(3, 2).astype(np.uint8)
    mask = cv2.circle(np.zeros((160, 160), np.uint8), (80, 80), 50, 1, -1) > 0
    crop = np.where(mask[..., None], np.uint8(60), clean)  # smooth, half as bright
    item = BankItem("chip", "a", "a", crop, clean, mask, 7800, 40.0, 0.0, (0.5, 0.5), item_id="d-1")
    references = References([item], replace(STILL, own_texture=float(covers)))
    drawing = references.draw(np.random.default_rng(1), "d-1", 0.5)
    laid, where = lay_on(surface, drawing, (30, 30), Optics())
    deep = cv2.erode(where.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    rows = np.flatnonzero(deep.sum(axis=1) > 30)
    grain = np.mean([laid[row, deep[row], 0].std() for row in rows])
    assert grain < 3 if covers else grain > 8
    for row in (rows[5], rows[-5]):  # in the new light
        assert laid[row, deep[row], 0].mean() == pytest.approx(0.5 * light[row, 0, 0], rel=0.12)
    far = cv2.dilate(where.astype(np.uint8), np.ones((13, 13), np.uint8)) == 0
    assert (laid[far] == surface[far]).all()


def test_a_dark_reference_makes_no_bright_rim() -> None:
    clean = np.full((60, 60, 3), 100, np.uint8)
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    change = np.where(mask[..., None], -60, 0).astype(np.float32)
    change[10:13, 10:50] = 40  # a label that reaches into surface brighter than what filled it
    fractions = to_fractions(np.repeat(change, 3, 2), clean, mask)
    assert fractions[mask].max() == 0
    assert fractions[20:40, 20:40].max() == pytest.approx(-0.6)


def test_a_reference_that_is_dark_and_bright_keeps_both() -> None:
    rng = np.random.default_rng(0)
    clean = np.repeat(rng.integers(100, 200, (60, 60, 1)), 3, 2).astype(np.uint8)
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    signs = np.repeat(rng.choice([-1, 1], (60, 60, 1)), 3, 2)
    change = np.where(mask[..., None], 40 * signs, 0).astype(np.float32)
    assert np.allclose(to_fractions(change, clean, mask), change / clean, atol=1e-3)


def chip(side: str) -> BankItem:
    """Return a dark half disc at one border of a grey image of 90 px."""
    clean = np.full((90, 90, 3), 120, np.uint8)
    row, column = {"top": (0, 30), "bottom": (89, 60), "left": (60, 0), "right": (30, 89)}[side]
    mask = cv2.circle(np.zeros((90, 90), np.uint8), (column, row), 20, 1, -1) > 0
    crop = np.where(mask[..., None], np.uint8(50), clean)
    place = (column / 90, row / 90)
    area = int(mask.sum())
    return BankItem("chip", "a", "a", crop, clean, mask, area, 20.0, 0.0, place, item_id="chip-a-1")


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_reference_at_a_border_lies_at_that_border_again(side: str, is_mirrored: bool) -> None:
    item = chip(side)
    assert item.cut_sides == (side,)
    other = {"top": "bottom", "bottom": "top", "left": "right", "right": "left"}[side]
    expected = other if is_mirrored else side
    x, y = ((1 - at) if is_mirrored else at for at in item.place_xy)
    references, free = References([item], BankSettings()), np.ones((200, 200), bool)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        drawing = references.draw(rng, item.item_id, 0.5, (x, y))
        assert list(drawing.cut_at) == [expected]
        near = near_place(free, x, y, 0.1)
        corner = place(
            rng,
            drawing.mask,
            Room(free=free, near=near, on_image_fraction=0.3, cut_at=drawing.cut_at),
            "x",
        )
        image = np.full((200, 200, 3), 120, np.uint8)
        _, mask = lay_on(image, drawing, corner, Optics())
        rims = {"top": mask[0], "bottom": mask[-1], "left": mask[:, 0], "right": mask[:, -1]}
        touched = {name: int(rim.sum()) for name, rim in rims.items()}
        assert (
            touched.pop(expected) > 20
        )  # 40 px of the reference defect's border, scaled by 0.7 to 1.4
        assert not any(touched.values())
        assert 0.3 < mask.sum() / item.area_px < 2.6


def test_a_reference_that_is_hardly_visible_lends_nothing(tmp_path: Path) -> None:
    plain = chip("left")
    crop = plain.crop.copy()
    crop[:, 6:] = plain.clean[:, 6:]  # the dark of its first columns is all that is left
    other = replace(plain, crop=crop, item_id="chip-b-1", image_id="b", group="b")
    plain, faint = measure_visible(plain), measure_visible(other)
    assert plain.visible_fraction > 0.9
    assert 0.1 < faint.visible_fraction < 0.4
    references = References([plain, faint], BankSettings())
    assert references.faint == [faint]
    assert references.groups == ["a"]
    (told,) = find_faint_references(references)
    assert "1 of the bank's 2 defects lend nothing (chip 1): under 40%" in told
    assert References([plain, faint], BankSettings(min_visible_fraction=0)).groups == ["a", "b"]
    assert References([faint], BankSettings()).groups == ["b"]  # all of its class are like that
    assert find_faint_references(None) == []
    write_bank(tmp_path, [plain, faint])
    assert [item.item_id for item in load(tmp_path).faint] == ["chip-b-1"]  # the file knows it


def test_a_mask_that_was_drawn_loosely_is_told() -> None:
    tight = measure_visible(chip("left"))
    assert tight.label_iou > 0.95
    box = np.zeros_like(tight.mask)
    rows, columns = np.nonzero(tight.mask)
    box[rows.min() - 8 : rows.max() + 9, : columns.max() + 9] = True
    loose = measure_visible(replace(tight, mask=box, area_px=int(box.sum())))
    assert loose.label_iou == pytest.approx(tight.area_px / loose.area_px, abs=0.03)


def test_a_reference_inside_the_image_reaches_no_border(bank: Path) -> None:
    item = next(one for one in read_bank(bank) if not one.cut_sides)
    assert (
        not References([item], BankSettings())
        .draw(np.random.default_rng(0), item.item_id, 0.5)
        .cut_at
    )


def plan_with(references: References, count: int = 200, **splits: float) -> list:
    sources = ProceduralSources(20, (96, 96), (), 0)
    classes = add_references(draw_classes("crack"), references)
    return draw_plan(sources, classes, count, 10, splits or SPLITS, 0, references=references)


def test_a_references_part_never_meets_another_split(bank: Path) -> None:
    specs = plan_with(load(bank))
    split_of: dict[str, set[str]] = {}
    for spec in specs:
        split_of.setdefault(spec.group, set()).add(spec.split)
        if spec.reference:
            split_of.setdefault(spec.reference_group, set()).add(spec.split)
    assert all(len(splits) == 1 for splits in split_of.values())
    assert all(spec.reference for spec in specs if spec.defect_class == "pore")
    assert len({spec.reference for spec in specs if spec.reference}) >= 8
    assert not any(spec.reference for spec in specs if spec.is_defect_free)


def test_a_part_with_references_and_good_photos_has_one_split(bank: Path) -> None:
    references = load(bank)
    sources = ProceduralSources(20, (96, 96), (), 0)
    entries = [replace(entry, group=f"part{n}") for n, entry in enumerate(sources.entries)]
    sources.entries = entries  # type: ignore[misc]
    specs = draw_plan(
        sources, add_references({}, references), 200, 0, SPLITS, 0, references=references
    )
    split_of = {spec.group: spec.split for spec in specs}
    assert all(split_of.get(spec.reference_group, spec.split) == spec.split for spec in specs)


def test_parts_that_do_not_lend_to_the_largest_split_are_told(bank: Path) -> None:
    references = load(bank)
    (told,) = find_references_elsewhere(plan_with(references, train=0.6, val=0.4), references)
    assert "the split train" in told
    assert "'splits={train: 1}'" in told
    for name in ("crack", "pore"):
        few, every = map(int, re.search(rf"{name} (\d) of (\d)", told).groups())
        assert 0 < few < every == 5  # parts of the bank, also of splits without a source
    assert find_references_elsewhere(plan_with(references, train=1), references) == []
    assert find_references_elsewhere([], references) == []


def test_parts_that_no_photo_is_named_like_are_told(bank: Path, tmp_path: Path) -> None:
    for name in ("part0", "other"):
        write_png(tmp_path / f"{name}.png", np.full((64, 64), 120, np.uint8))
    both = FolderSources(str(tmp_path))
    assert find_other_names(load(bank), both, SPLITS) == []
    (tmp_path / "part0.png").unlink()
    other = FolderSources(str(tmp_path))
    (told,) = find_other_names(load(bank), other, SPLITS)
    assert "the source's (other, ...)" in told
    assert find_other_names(load(bank), other, {"train": 1, "val": 0}) == []
    assert find_other_names(None, other, SPLITS) == []
    assert find_other_names(load(bank), ProceduralSources(2, (96, 96), (), 0), SPLITS) == []


def test_the_banks_classes_alone(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["run.count=4", "run.good_fraction=0", "source.size_hw=[128,128]", "defect=[]"]
    asked += ["splits={train: 1}", f"run.folder={tmp_path / 'run'}"]
    run("generate", *asked, f"bank.path={bank}", capsys=capsys)
    rows = pd.read_parquet(tmp_path / "run" / "manifest.parquet")
    assert set(rows["defect_class"]) == {"crack", "pore"}
    assert (rows["reference"] != "").all()
    asked[-1] = f"run.folder={tmp_path / 'none'}"
    with pytest.raises(SystemExit) as stopped:
        run("generate", *asked, capsys=capsys)
    assert stopped.value.code == 2
    assert "defect names no class" in capsys.readouterr().err


def test_words_and_classes_that_the_bank_lacks(bank: Path) -> None:
    with pytest.raises(ConfigError, match=r"bank\.words names 'foo'; the bank has crack, pore"):
        load(bank, words={"foo": "pit"})


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        (
            BankSettings,
            {"classes": []},
            r"^bank\.classes=\[\] is not .*it needs 1 or more entries$",
        ),
        (BankSettings, {"splits": []}, r"^bank\.splits=\[\] is not .*it needs 1 or more entries$"),
        (BuildSettings, {"splits": []}, r"^bank\.splits=\[\] is not .*it needs 1 or more entries$"),
        (
            BankSettings,
            {"deform": {"scale": [2, 1]}},
            r"^bank\.deform\.scale=\[2, 1\] is not possible: it must run upward between 0",
        ),
    ],
)
def test_what_the_bank_cannot_be_given(kind: type, given: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_value(kind, given, "bank")


def test_a_bank_made_anew_keeps_no_pictures_of_before(table: Path, tmp_path: Path) -> None:
    items = build_bank(read(table))
    write_bank(tmp_path, items)
    (tmp_path / "crops" / "mine.png").write_bytes(b"not the bank's")
    write_bank(tmp_path, items[:2])
    left = sorted(path.stem for path in (tmp_path / "crops").iterdir())
    assert left == sorted([*(item.item_id for item in items[:2]), "mine"])


def test_a_bank_made_anew_leaves_alone_what_is_no_banks(table: Path, tmp_path: Path) -> None:
    items, folder = build_bank(read(table))[:1], tmp_path / "bank"
    write_bank(folder, items)
    (tmp_path / "mine.png").write_bytes(b"not the bank's")
    rows = pd.read_parquet(folder / "bank.parquet")
    rows["crops"] = "crops/../../mine.png"
    rows.to_parquet(folder / "bank.parquet")
    write_bank(folder, items)
    assert (tmp_path / "mine.png").exists()
    (folder / "bank.parquet").write_bytes(b"another's file")
    with pytest.raises(SourceError, match="is not a bank's table; give another folder"):
        write_bank(folder, items)


def test_the_fraction_of_a_class_that_is_drawn_too(bank: Path) -> None:
    cracks = [s for s in plan_with(load(bank, fraction=0.25), train=1) if s.defect_class == "crack"]
    for count in (4, 8, 20):  # spread evenly, in short runs too
        assert sum(bool(spec.reference) for spec in cracks[:count]) == count / 4
    none = plan_with(load(bank, fraction=0, classes=("crack",)), train=1)
    assert not any(spec.reference for spec in none)


def test_drawn_lines_are_as_wide_as_those_of_the_bank(bank: Path) -> None:
    references, alone = (
        load(bank, fraction=0, own_lines=True),
        load(bank, fraction=0, own_lines=False),
    )
    lines = [item for item in references.items.values() if item.defect_class == "crack"]
    assert {item.is_line for item in lines} == {True}
    widths = [item.width_px for item in lines]
    assert not any(item.is_line for item in references.items.values() if item not in lines)
    sources = ProceduralSources(20, (SIZE, SIZE), ("painted",), 0)
    for name in ("crack", "fibre", "scratch", "dent"):
        classes = draw_classes(name)
        found = []
        for lent in (references, alone, None):
            draw = Conditioner(sources, classes, {}, references=lent)
            specs = draw_plan(sources, classes, 12, 0, {"train": 1}, 0)
            masks = [draw(spec).defect_mask for spec in specs]
            found.append([mask.sum() / line_length(thin(mask)) for mask in masks])
        assert found[1] == found[2]
        if name == "dent":
            assert found[0] == found[1]
        else:
            assert min(widths) * 0.8 < np.median(found[0]) < max(widths) * 1.2
            assert np.median(found[0]) != np.median(found[1])


def line_item(number: int, length_px: int, levels: int = 60) -> BankItem:
    """A level dark line of 4 px, one of those of its image."""
    clean = np.full((60, length_px + 20, 3), 150, np.uint8)
    mask = np.zeros(clean.shape[:2], bool)
    mask[28:32, 10:-10] = True
    crop = clean - (levels * mask[..., None]).astype(np.uint8)
    item = BankItem("line", "a", "a", crop, clean, mask, 4 * length_px, 4.0, 0.0, (0.5, 0.5))
    return replace(item, length_px=float(length_px), item_id=f"line-{number}")


def zigzag_item(length_px: int) -> BankItem:
    """A dark line of 4 px that goes up and down."""
    mask = np.zeros((80, length_px), np.uint8)
    places = [(x, 20 if number % 2 else 60) for number, x in enumerate(range(5, length_px, 20))]
    cv2.polylines(mask, [np.array(places)], isClosed=False, color=1, thickness=4)
    clean = np.full((*mask.shape, 3), 150, np.uint8)
    length = line_length(thin(mask > 0))
    item = BankItem(
        *("line", "a", "a", clean - 60 * mask[..., None], clean, mask > 0, int(mask.sum())),
        *(4.0, 0.0, (0.5, 0.5), length),
    )
    return replace(item, item_id="zigzag")


@pytest.mark.parametrize("name", ["crack", "fibre", "scratch"])
@pytest.mark.parametrize("levels", [15, 60])
def test_drawn_lines_stand_out_as_those_of_the_bank(name: str, levels: int) -> None:
    references = References([line_item(1, 100, levels)], BankSettings(own_lines=True))
    kind = draw_classes(name)[name].shape
    surface = np.full((400, 400, 3), 150, np.uint8)
    for severity, gain in ((0.0, 0.6), (1.0, 1.4)):
        strengths = []
        for seed in range(8):
            rng = np.random.default_rng(seed)
            drawing = references.draw_line(rng, kind, name, severity, WIDE)
            sketch, where = lay_on(surface, drawing, (0, 0), Optics())
            strengths.append(np.abs(sketch.astype(float) - surface)[where].mean())
        assert 0.7 * gain * levels < np.median(strengths) < 1.3 * gain * levels


@pytest.mark.parametrize("name", ["crack", "fibre", "scratch"])
def test_drawn_lines_are_as_long_as_those_of_the_bank(name: str) -> None:
    kind = draw_classes(name)[name].shape
    spans = {}
    for length in (50, 250, 900):
        references, sides = References([line_item(1, length)], BankSettings(own_lines=True)), []
        for seed in range(7):
            mask = references.draw_line(np.random.default_rng(seed), kind, name, 0.5, WIDE).mask
            rows, columns = np.nonzero(mask)
            sides.append(np.hypot(np.ptp(rows), np.ptp(columns)))
        spans[length] = np.median(sides)
    for length, longest in ((50, 50), (250, 250), (900, 0.7 * 400)):
        assert 0.5 * longest < spans[length] < 1.5 * longest


@pytest.mark.parametrize("name", ["crack", "fibre"])
def test_drawn_lines_are_as_straight_as_those_of_the_bank(name: str) -> None:
    straight, bent = line_item(1, 200), zigzag_item(200)
    assert straight.straightness > 0.97
    assert bent.straightness < 0.75
    kind, spans = draw_classes(name)[name].shape, {}
    for item in (straight, bent):
        references, fractions = References([item], BankSettings(own_lines=True)), []
        for seed in range(7):
            mask = references.draw_line(np.random.default_rng(seed), kind, name, 0.5, WIDE).mask
            rows, columns = np.nonzero(mask)
            fractions.append(np.hypot(np.ptp(rows), np.ptp(columns)) / line_length(thin(mask)))
        spans[item.item_id] = np.median(fractions)
    assert spans[straight.item_id] > spans[bent.item_id] + 0.05


@pytest.mark.parametrize("name", ["fibre", "scratch"])
def test_drawn_lines_are_dark_where_those_of_the_bank_are(name: str) -> None:
    surface, fractions = np.full((400, 400, 3), 150, np.uint8), {}
    for own_lines in (True, False):
        references, kind = References([line_item(1, 100)], BankSettings(own_lines=own_lines)), name
        dark = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            shape = draw_classes(kind)[kind].shape
            drawing = references.draw_line(rng, shape, kind, 0.5, WIDE)
            sketch, where = lay_on(surface, drawing, (0, 0), Optics())
            dark.append(sketch[where].mean() < 150)
        fractions[own_lines] = np.mean(dark)
    assert fractions[False] < 0.8
    assert fractions[True] == 1.0


def test_a_drawn_line_is_like_those_of_its_own_class() -> None:
    lines = [line_item(1, 60), replace(line_item(2, 260), defect_class="crack")]
    references = References(lines, BankSettings(own_lines=True))
    kind, spans = draw_classes("crack")["crack"].shape, {}
    for name in ("crack", "line"):
        masks = [
            references.draw_line(np.random.default_rng(seed), kind, name, 0.5, WIDE).mask
            for seed in range(8)
        ]
        spans[name] = np.median([max(mask.shape) for mask in masks])
    assert spans["crack"] > 2 * spans["line"]


def test_drawn_lines_are_as_many_as_those_of_the_bank() -> None:
    sources, classes = ProceduralSources(20, (96, 96), (), 0), draw_classes("crack", "dent")
    for count, own_lines in ((3, True), (12, True), (3, False)):
        lines = [line_item(number, 100) for number in range(count)]
        references = References(lines, BankSettings(own_lines=own_lines))
        specs = draw_plan(sources, classes, 12, 0, {"train": 1}, 0, references=references)
        found = {spec.instances for spec in specs if spec.defect_class == "crack"}
        assert found == ({min(count, 8)} if own_lines else {1})
        assert {spec.instances for spec in specs if spec.defect_class == "dent"} == {1}


def test_drawn_lines_are_like_the_banks_by_themselves_where_most_of_its_images_hold_lines() -> None:
    classes = draw_classes("crack", "scratch", "dent")
    for with_lines, count in ((2, None), (3, 1)):
        lines = [replace(line_item(n, 100), image_id=f"line{n}") for n in range(with_lines)]
        chips = [replace(chip("top"), image_id=f"c{n}", item_id=f"chip-{n}") for n in range(2)]
        references = References([*lines, *chips], BankSettings())
        assert references.count_lines(np.random.default_rng(0)) == count
        assert References(lines, BankSettings(own_lines=False)).line_fraction == 0
        told = find_own_lines(references, classes)
        assert bool(told) == bool(count)
        assert find_own_lines(references, draw_classes("dent")) == []
    assert "3 of the bank's 5 images hold lines: drawn ones (crack, scratch) are as many" in told[0]
    assert find_own_lines(References(lines, BankSettings(own_lines=True)), classes) == []
    assert find_own_lines(None, classes) == []


def test_as_many_drawn_defects_are_lines_as_of_the_banks(bank: Path) -> None:
    references = load(bank, own_lines=True)
    fraction = np.mean([item.is_line for item in references.items.values()])
    own = draw_classes("scratch", "fibre", "dent", "pit", "stain")
    weights = {name: kind.weight for name, kind in add_references(own, references).items()}
    assert sum(weights[name] for name in own) == pytest.approx(5)
    assert weights["scratch"] == weights["fibre"] == pytest.approx(5 * fraction / 2)
    assert (weights["crack"], weights["pore"]) == (1, 1)  # what the bank lends is bank.weight's
    for names, own_lines in ((("scratch", "dent"), False), (("dent", "pit"), True)):
        kept = add_references(draw_classes(*names), load(bank, own_lines=own_lines))
        assert [kept[name].weight for name in names] == [1, 1]


def test_a_bank_that_lends_nothing_changes_no_draw(bank: Path) -> None:
    sources, classes = ProceduralSources(20, (96, 96), (), 0), draw_classes("crack")
    references = load(bank, fraction=0, classes=("crack",))
    lent = draw_plan(sources, classes, 60, 4, {"train": 1}, 0, references=references)
    assert lent == draw_plan(sources, classes, 60, 4, {"train": 1}, 0)


def test_classes_of_the_bank_get_free_ids_and_weights(bank: Path) -> None:
    own = draw_classes("crack")
    classes = add_references(own, load(bank, weight=3, words={"pore": "pinhole"}))
    assert classes["pore"].class_id == own["crack"].class_id + 1
    assert classes["pore"].noun == "pinhole"
    assert classes["pore"].weight == 3
    assert classes["crack"].shape is not None
    assert classes["crack"].weight == 3
    with pytest.raises(ConfigError, match=r"bank.classes names 'dent'; the bank has crack, pore"):
        load(bank, classes=("dent",))


def test_no_source_where_the_references_are(bank: Path) -> None:
    references = load(bank, classes=("pore",))
    only = References(
        [i for i in references.items.values() if i.group == "part0"], references.settings
    )
    sources = ProceduralSources(1, (96, 96), (), 0)
    halves, classes = {"train": 0.5, "val": 0.5}, add_references({}, only)  # one group in each
    with pytest.raises(ConfigError, match=r"'pore' are in the split .* splits=\{train: 1\}"):
        draw_plan(sources, classes, 4, 0, halves, 0, references=only)


def test_a_reference_lies_near_its_own_place(bank: Path) -> None:
    references = load(bank)
    for spec in plan_with(references, train=1):
        if spec.reference:
            x, y = references.items[spec.reference].place_xy
            away = (
                min(abs(spec.asked_x - x), abs(spec.asked_x - 1 + x)),
                min(abs(spec.asked_y - y), abs(spec.asked_y - 1 + y)),
            )
            assert max(away) < 0.4
    assert all(s.asked_xy is None for s in plan_with(load(bank, own_place=False)))


def test_a_condition_draws_the_reference(bank: Path) -> None:
    references = load(bank)
    sources = ProceduralSources(20, (128, 128), (), 0)
    classes = add_references({}, references)
    conditioner = Conditioner(sources, classes, {"canny": canny_control()}, references=references)
    specs = draw_plan(sources, classes, 6, 0, {"train": 1}, 0, references=references)
    for spec in specs:
        condition = conditioner(spec)
        assert condition.defect_mask.any()
        assert np.array_equal(condition.sketch, conditioner(spec).sketch)
        changed = (condition.sketch != condition.image).any(axis=2)
        assert changed[condition.defect_mask].mean() > 0.9


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    import sys

    before = sys.argv
    sys.argv = ["synthgen", *arguments]
    try:
        main()
    finally:
        sys.argv = before
    return capsys.readouterr().out


def test_from_photos_to_painted_defects(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, made = tmp_path / "bank", tmp_path / "run"
    out = run(
        "bank",
        f"out={folder}",
        "real.format=table",
        f"real.path={table}",
        "real.split=train",
        capsys=capsys,
    )
    assert "bank.html" in out
    assert "pore" in out
    run(
        "generate",
        f"run.folder={made}",
        "run.count=6",
        "run.good_fraction=0",
        "splits={train: 1}",
        "defect=[crack]",
        "source.size_hw=[128,128]",
        f"bank.path={folder}",
        capsys=capsys,
    )
    rows = pd.read_parquet(made / "manifest.parquet")
    lent = rows[rows["reference"] != ""]
    assert set(rows["defect_class"]) == {"crack", "pore"}
    assert set(rows["split"]) == {"train"}  # not merged with the shares that are the default
    assert len(lent) >= 3
    assert (lent["reference_group"].str.startswith("part")).all()
    painted = lent[lent["image"] != ""]
    assert len(painted)
    assert painted["real_bits"].notna().all()
    assert (painted["reference_delta_e"] > 0.5).all()
    record = yaml.safe_load((made / "run.yaml").read_text(encoding="utf-8"))
    assert set(record["bank_classes"]) == {"pore"}
    from synthgen.exporting.labels import read_labels

    assert set(read_labels(str(made)).classes) == {"crack", "pore"}


def test_the_bank_says_how_visible_a_defect_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_part(tmp_path, 0)
    draw_part(tmp_path, 2)
    name = "pore-2.png"
    surface = np.random.default_rng(2).normal(140, 3, (SIZE, SIZE)).clip(0, 255)
    write_png(tmp_path / "photos" / name, surface.astype(np.uint8))  # its mask marks nothing
    asked = [f"real.path={tmp_path / 'photos'}", f"real.masks={tmp_path / 'masks'}"]
    told = run("bank", f"out={tmp_path / 'bank'}", *asked, capsys=capsys)
    assert "label IoU" in told
    rows = pd.read_parquet(tmp_path / "bank" / "bank.parquet").set_index("image_id")
    assert rows.loc["pore-0", "visible_fraction"] > 0.9
    assert rows.loc["pore-0", "label_iou"] > 0.8
    assert rows.loc["pore-2", "visible_fraction"] < 0.2


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 2 parts: a pore on a crack, and a second pore far from both; values 1 and 2."""
    folder = tmp_path_factory.mktemp("crossed")
    rows = []
    for number in range(2):
        rng = np.random.default_rng(number)
        photo = cv2.GaussianBlur(rng.normal(140, 40, (SIZE, SIZE)), (0, 0), 1.5)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.line(mask, (15, 30 + number), (60, 40), 1, 3)
        cv2.circle(mask, (40, 36), 6, 2, -1)
        cv2.circle(mask, (78, 80), 5, 2, -1)
        photo[mask == 1] -= 60
        photo[mask == 2] -= 90
        write_png(folder / f"part-{number}.png", np.clip(photo, 0, 255).astype(np.uint8))
        write_png(folder / f"mask-{number}.png", mask)
        rows.append([f"part-{number}.png", f"mask-{number}.png", "", "train", str(number)])
    columns = ["image", "mask", "class", "split", "group"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "parts.csv", index=False)
    return folder / "parts.csv"


def cut_crossed(table: Path) -> list[BankItem]:
    classes = {"crack": 1, "pore": 2}
    return build_bank(read_real(RealSettings(format="table", path=str(table), classes=classes)))


def test_what_lies_together_lends_together(crossed: Path) -> None:
    items = [item for item in cut_crossed(crossed) if item.image_id == "part-0"]
    assert sorted(item.defect_class for item in items) == ["crack", "crack", "pore", "pore"]
    near = find_neighbours(items, 8)
    alone = [item for item in items if len(near[item.item_id]) == 1]
    assert [item.defect_class for item in alone] == ["pore"]  # the one far away
    own = next(item for item in items if item.defect_class == "pore" and item not in alone)
    assert [one.defect_class for one in near[own.item_id]] == ["pore", "crack", "crack"]
    lot = join(near[own.item_id])
    assert lot.classes == ("pore", "crack", "crack")
    assert lot.item.item_id == own.item_id
    photo = read_image(crossed.parent / "part-0.png")
    mask = read_image(crossed.parent / "mask-0.png")
    top, left = lot.item.corner or (-1, -1)
    window = np.s_[top : top + lot.parts.shape[0], left : left + lot.parts.shape[1]]
    ids = np.array([0, 2, 1, 1])[lot.parts]  # the numbers of pore, crack, crack in the mask
    assert (mask[window][lot.item.mask] == ids[lot.item.mask]).all()
    assert (photo[window][lot.item.mask] == lot.item.crop[..., 0][lot.item.mask]).all()
    assert len(find_neighbours(items, 0)[own.item_id]) == 3  # they touch


def test_a_drawing_after_several_names_each(crossed: Path) -> None:
    items = [measure_visible(item) for item in cut_crossed(crossed)]
    references = References(items, BankSettings(deform=Deformation(0, (1, 1), 0, 0)))
    crack = next(one for one in items if one.defect_class == "crack")
    drawing = references.draw(np.random.default_rng(0), crack.item_id, 0.5)
    assert sorted(drawing.classes) == ["crack", "crack", "pore"]
    assert drawing.parts is not None
    assert ((drawing.parts > 0) == drawing.mask).all()
    areas = {drawing.classes[n - 1]: (drawing.parts == n).sum() for n in (1, 2, 3)}
    assert abs(areas["pore"] - 113) < 15
    larger = zoom(drawing, 2.0)
    assert larger.parts is not None
    assert set(np.unique(larger.parts[larger.mask])) == {1, 2, 3}
    alone = references.draw(np.random.default_rng(0), crack.item_id, 0.5, is_alone=True)
    assert alone.classes == ("crack",)
    apart = References(items, BankSettings(together_px=None))
    assert apart.draw(np.random.default_rng(0), crack.item_id, 0.5).classes == ("crack",)
    assert references.joined()
    assert not apart.joined()
    with pytest.raises(ValidationError):
        BankSettings(together_px=-1)


def test_a_bank_of_before_knows_no_neighbours(crossed: Path, tmp_path: Path) -> None:
    write_bank(tmp_path, cut_crossed(crossed))
    again = read_bank(tmp_path)
    assert any(len(own) > 1 for own in find_neighbours(again, 8).values())  # the file knows places
    rows = pd.read_parquet(tmp_path / "bank.parquet")
    rows.drop(columns=["crop_top", "crop_left"]).to_parquet(tmp_path / "bank.parquet")
    old = read_bank(tmp_path)
    assert all(own == [item] for item in old for own in [find_neighbours(old, 8)[item.item_id]])


def test_each_of_several_has_its_label(
    crossed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, made = tmp_path / "bank", tmp_path / "run"
    table = ["real.format=table", f"real.path={crossed}", "real.classes={crack: 1, pore: 2}"]
    run("bank", f"out={folder}", *table, capsys=capsys)
    asked = ["run.count=8", "run.good_fraction=0", "splits={train: 1}", "source.size_hw=[128,128]"]
    asked += ["defect=[pit]", f"bank.path={folder}", "bank.weight=50"]
    run("generate", f"run.folder={made}", *asked, capsys=capsys)
    from synthgen.exporting.labels import read_labels

    rows = pd.read_parquet(made / "manifest.parquet").set_index("sample_id")
    found = pd.read_parquet(made / "instances.parquet")
    kinds = found.groupby("sample_id")["defect_class"].agg(set)
    mixed = rows.loc[kinds[kinds.map(len) == 2].index]
    mixed = mixed[mixed["status"] == "accepted"]
    assert len(mixed) >= 2
    labels = read_labels(str(made))
    ids = labels.classes
    for name, row in mixed.iterrows():
        label = read_image(made / row["mask"])
        assert {ids["crack"], ids["pore"]} <= set(np.unique(label))
        own = found[(found["sample_id"] == name) & (found["defect_class"] == row["defect_class"])]
        assert row["own_px"] == own["area_px"].sum() >= 6
    assert any(len(labels.kinds(image)) == 2 for image in labels)
    told = run("reproduce", f"run.folder={made}", f"sample_id={mixed.index[0]}", capsys=capsys)
    assert "0 grey levels at most, the label in 0 pixels" in told


def test_neighbours_alone_are_no_sample_of_the_class(crossed: Path) -> None:
    references = References(cut_crossed(crossed), BankSettings())
    classes = add_references({}, references)
    sources = ProceduralSources(1, (128, 128), (), 0)
    (spec,) = draw_plan(
        sources, {"pore": classes["pore"]}, 1, 0, {"train": 1}, 0, references=references
    )
    lots = {item_id: references.gather(item_id).classes for item_id in references.items}
    near = next(one for one, names in lots.items() if names == ("pore", "crack", "crack"))
    spec = replace(spec, reference=near, asked_x=None, asked_y=None)
    whole = Conditioner(sources, classes, {}, references=references)(spec)
    assert [name for name, _ in whole.classes] == ["pore", "crack", "crack"]
    hidden = grow_mask(whole.instance_map == 1, 6)[..., None]
    without = replace(whole, sketch=np.where(hidden, whole.image, whole.sketch))
    limits = Limits({"own_px": (6, None)})
    for condition, kinds in ((whole, {"pore", "crack"}), (without, {"crack"})):
        stages = Stages(
            condition=lambda _, __, given=condition: given,
            backend=SketchBackend(),
            limits=limits,
            retries=(),
        )
        (sample,) = generate([spec], stages)
        assert {one.defect_class for one in sample.annotations} == kinds
        assert sample.reasons == (() if condition is whole else ("own_px 0 is below 6",))


def test_a_pasted_reference_is_at_no_distance(bank: Path) -> None:
    from synthgen.generation.generate import build_candidate

    references = load(bank)
    sources = ProceduralSources(4, (128, 128), (), 0)
    classes = add_references({}, references)
    conditioner = Conditioner(sources, classes, {"canny": canny_control()}, references=references)
    [spec] = draw_plan(sources, classes, 1, 0, {"train": 1}, 0, references=references)
    condition = conditioner(spec)
    [painted] = SketchBackend().paint([condition])
    assert away_from_reference(build_candidate(condition, painted)) < 0.2


def test_a_taught_word_that_no_class_is_called_is_told(bank: Path) -> None:
    from synthgen.config.advice import find_unused_words

    taught = {"pore": "pore"}
    [note] = find_unused_words(taught, draw_classes("crack"))
    assert note.startswith("the adapter has learned pore, which no class of this run is called")
    assert "defect.crack.noun='pore'" in note
    classes = add_references(draw_classes("crack"), load(bank))
    assert find_unused_words(taught, classes) == []
