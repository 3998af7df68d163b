"""Real images with masks, in every format that is read, and what is wrong with some."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synthgen.config.compose import compose
from synthgen.config.overrides import open_keys
from synthgen.errors import ConfigError, ShapeError, SourceError
from synthgen.imaging.geometry import mask_to_rle
from synthgen.realdata.read import load_real, read_real
from synthgen.realdata.records import RealImage

DATA = Path(__file__).parents[3] / "shared" / "data"
SIZE = (40, 60)
MARK = (slice(5, 15), slice(10, 30))
OTHER = (slice(25, 32), slice(40, 50))


def draw_image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(80, 120, (*SIZE, 3), np.uint8)


def draw_mask(*places: tuple[slice, slice], value: int = 255) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    for place in places:
        mask[place] = value
    return mask


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_coco(root: Path) -> dict[str, Any]:
    for split, name in (("train", "a"), ("val", "b")):
        save(root / split / f"{name}.png", draw_image())
        mask = draw_mask(MARK) > 0
        entry = {"id": 1, "image_id": 1, "category_id": 4, "segmentation": mask_to_rle(mask)}
        sheet = {
            "images": [{"id": 1, "file_name": f"{name}.png", "width": 60, "height": 40}],
            "annotations": [entry],
            "categories": [{"id": 4, "name": "scratch"}],
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(sheet))
    return {"format": "coco", "path": str(root)}


def write_mvtec(root: Path) -> dict[str, Any]:
    save(root / "train" / "good" / "a.png", draw_image())
    save(root / "test" / "scratch" / "a.png", draw_image())
    save(root / "ground_truth" / "scratch" / "a_mask.png", draw_mask(MARK))
    return {"format": "mvtec", "path": str(root)}


def write_yolo(root: Path) -> dict[str, Any]:
    save(root / "images" / "train" / "a.png", draw_image())
    corners = np.array([[10, 5], [29, 5], [29, 14], [10, 14]]) / [60, 40]
    (root / "labels" / "train").mkdir(parents=True)
    text = "0 " + " ".join(f"{fraction:.6f}" for fraction in corners.ravel() + 0.004)
    (root / "labels" / "train" / "a.txt").write_text(text)
    (root / "data.yaml").write_text("names: [scratch]\n")
    return {"format": "yolo", "path": str(root)}


def write_folder(root: Path) -> dict[str, Any]:
    save(root / "images" / "a.png", draw_image())
    save(root / "images" / "b.png", draw_image(1))
    save(root / "masks" / "a.png", draw_mask(MARK))
    paths = {"path": str(root / "images"), "masks": str(root / "masks")}
    return {"format": "folder", "defect_class": "scratch", **paths}


def write_table(root: Path) -> dict[str, Any]:
    save(root / "a.png", draw_image())
    save(root / "b.png", draw_image(1))
    save(root / "a-mask.png", draw_mask(MARK))
    (root / "list.csv").write_text(
        "image,mask,class,split,group\na.png,a-mask.png,scratch,train,p1\nb.png,,good,val,p2\n"
    )
    return {"format": "table", "path": str(root / "list.csv")}


def marked_one(images: list[RealImage]) -> RealImage:
    return next(image for image in images if image.defects)


@pytest.mark.parametrize("write", [write_coco, write_mvtec, write_yolo, write_folder, write_table])
def test_every_format_gives_the_mask_and_the_pixels(
    write: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    image = marked_one(read_real(write(tmp_path)))
    (defect,) = image.defects
    assert defect.defect_class == "scratch"
    np.testing.assert_array_equal(defect.mask, draw_mask(MARK) > 0)
    np.testing.assert_array_equal(image.read(), draw_image())


def test_a_photo_without_a_mask_is_told_to_count_as_good(tmp_path: Path) -> None:
    settings = write_folder(tmp_path)
    notes = load_real(settings).notes
    told = f"1 photos without a mask count as good (the first: {tmp_path / 'images' / 'b.png'})"
    assert told in notes
    save(tmp_path / "masks" / "b.png", draw_mask(MARK))
    assert not any("without a mask" in note for note in load_real(settings).notes)
    for path in (tmp_path / "masks").iterdir():
        path.unlink()
    assert not any("without a mask" in note for note in load_real(settings).notes)


def test_texts_that_hydra_does_not_know_are_quoted(tmp_path: Path) -> None:
    asked = ["out=x", "real.path=d/Fötos (2)", r"real.group_by=(part\d+)_", 'real.masks="a b"']
    real = compose("bank", [*asked, "real.classes={a: 1}"]).real
    assert real.path == "d/Fötos (2)"
    assert real.group_by == r"(part\d+)_"
    assert (real.masks, real.classes) == ("a b", {"a": 1})
    assert compose("bank", ["out=x", "real.path=C:\\ö\\"]).real.path == "C:\\ö\\"
    only = compose("bank", ["out=x", "real.path=y", "real.only=[Größe 1, 'Ä, b', c d]"]).real.only
    assert only == ["Größe 1", "Ä, b", "c d"]
    assert open_keys(["--cfg=job", "-m", "seed=1,2"]) == ["--cfg=job", "-m", "seed=1,2"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("real.classes={a: 1", r"^real\.classes=\{a: 1 cannot be read: close all brackets"),
        ("real.classes={Größe: 1}", "give names before a colon without accents"),
        ("real.group_by=[a-z]+_(x)", "quote a text that looks like a list, as in 'real.group_by="),
        ('real.path="Fötos', "close all brackets and quotes"),
        ("real.classes.Größe=1", r"^real\.classes\.Größe is not a key: .* without accents"),
    ],
)
def test_what_cannot_be_quoted_is_told_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        compose("bank", ["out=x", "real.path=y", text])


def test_a_table_names_splits_and_groups(tmp_path: Path) -> None:
    found = load_real(write_table(tmp_path))
    assert [(i.split, i.group) for i in found.images] == [("train", "p1"), ("val", "p2")]
    assert not found.notes
    (only,) = read_real(write_table(tmp_path) | {"split": "val"})
    assert not only.defects


def test_values_of_a_mask_become_classes_and_others_are_no_defect(tmp_path: Path) -> None:
    settings = write_folder(tmp_path)
    values = draw_mask(MARK, value=2) + draw_mask(OTHER, value=4)
    save(tmp_path / "masks" / "a.png", values)
    (image, _) = read_real(settings | {"classes": {"dark": 1, "cross": 2}})
    assert [d.defect_class for d in image.defects] == ["cross"]
    np.testing.assert_array_equal(image.defects[0].mask, values == 2)


def test_numbers_of_a_palette_are_read_as_values(tmp_path: Path) -> None:
    settings = write_folder(tmp_path)
    pictured = Image.fromarray(draw_mask(MARK, value=3))
    pictured.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, 200, 0, 0])
    pictured.save(tmp_path / "masks" / "a.png")
    (image, _) = read_real(settings | {"classes": {"crack": 3}})
    np.testing.assert_array_equal(image.defects[0].mask, draw_mask(MARK) > 0)


def test_unnamed_values_are_asked_for(tmp_path: Path) -> None:
    settings = write_folder(tmp_path)
    save(tmp_path / "masks" / "a.png", draw_mask(MARK, value=1) + draw_mask(OTHER, value=2))
    with pytest.raises(SourceError, match=r"holds the values 1, 2; .*real.classes="):
        read_real(settings)


def test_groups_by_pattern_and_a_note_where_they_are_guessed(tmp_path: Path) -> None:
    settings = write_folder(tmp_path)
    save(tmp_path / "images" / "part7_x.png", draw_image())
    assert any("part of its own" in note for note in load_real(settings).notes)
    found = load_real(settings | {"group_by": r"(part\d+)_"})
    assert [i.group for i in found.images] == ["a", "b", "part7"]
    assert not any("part of its own" in note for note in found.notes)


def test_a_group_in_two_splits_is_refused(tmp_path: Path) -> None:
    settings = write_table(tmp_path) | {"group_by": "folder"}
    with pytest.raises(SourceError, match="lies in the splits train and val"):
        read_real(settings)


def test_images_of_unwanted_classes_are_left_out_not_taken_for_good(tmp_path: Path) -> None:
    settings = write_table(tmp_path)
    save(tmp_path / "c.png", draw_image(2))
    with (tmp_path / "list.csv").open("a") as file:
        file.write("c.png,a-mask.png,fray,train,p3\n")
    found = load_real(settings | {"only": ["scratch"]})
    assert [i.image_id for i in found.images] == ["a", "b"]
    assert "other classes" in found.notes[0]
    with pytest.raises(SourceError, match="names 'dent'; the data has fray, scratch"):
        read_real(settings | {"only": ["dent"]})


def test_class_ids_that_contradict_the_table_are_refused(tmp_path: Path) -> None:
    settings = write_table(tmp_path)
    save(tmp_path / "a-mask.png", (draw_mask(MARK) > 0).astype(np.uint8) * 2)
    right = settings | {"classes": {"dent": 1, "scratch": 2}}
    assert marked_one(read_real(right)).defects[0].defect_class == "scratch"
    with pytest.raises(SourceError, match=r"a-mask.png shows scratch, real.classes make dent of"):
        read_real(settings | {"classes": {"scratch": 1, "dent": 2}})
    with pytest.raises(SourceError, match=r"shows scratch, real.classes make nothing of"):
        read_real(settings | {"classes": {"scratch": 1, "dent": 3}})


def test_a_defect_without_a_mask_is_left_out_not_taken_for_good(tmp_path: Path) -> None:
    settings = write_table(tmp_path)
    save(tmp_path / "c.png", draw_image(2))
    with (tmp_path / "list.csv").open("a") as file:
        file.write("c.png,,fray,train,p3\n")
    found = load_real(settings)
    assert len(found.images) == 2
    assert "have no mask" in found.notes[0]


def test_what_is_broken_is_named_in_one_sentence(tmp_path: Path) -> None:
    settings = write_folder(tmp_path)
    save(tmp_path / "masks" / "lost.png", draw_mask(MARK))
    with pytest.raises(SourceError, match=r"lost.png has no image"):
        read_real(settings)
    (tmp_path / "masks" / "lost.png").unlink()
    save(tmp_path / "masks" / "a.png", draw_mask(MARK)[:20])
    with pytest.raises(ShapeError, match="20 x 60 px"):
        read_real(settings)
    with pytest.raises(ConfigError, match=r"real.format"):
        read_real({"format": "voc", "path": "x"})
    with pytest.raises(SourceError, match="does not exist"):
        read_real({"format": "coco", "path": str(tmp_path / "none")})
    table = write_table(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(SourceError, match=r"a.png is named by .* but missing"):
        read_real(table)


@pytest.mark.parametrize(
    "name",
    ["../../out/x", "a/b", "a\\b", ".", "", "good", "background", "-x", "a\n", "a\x85", "a" * 81],
)
def test_a_class_that_cannot_name_a_file_is_refused(tmp_path: Path, name: str) -> None:
    settings = write_coco(tmp_path)
    for path in (tmp_path / "annotations").glob("*.json"):
        sheet = json.loads(path.read_text(encoding="utf-8"))
        sheet["categories"][0]["name"] = name
        path.write_text(json.dumps(sheet), encoding="utf-8")
    with pytest.raises(SourceError, match="cannot be a defect's name"):
        read_real(settings)
    fine = write_folder(tmp_path) | {"defect_class": "Größe +2 Ä"}
    assert marked_one(read_real(fine)).defects[0].defect_class == "Größe +2 Ä"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"image_id": 7}, "annotation 1 .* has the image_id 7, which is not in the file"),
        ({"category_id": 9}, "annotation 1 .* has the category_id 9, which is not in the file"),
        ({"segmentation": [[1, 1, 5, 5]]}, "annotation 1 .* a polygon that is not 3 or more"),
        ({"segmentation": [[1, 1, 5, 5, 1, 5, 7]]}, "annotation 1 .* a polygon that is not"),
        ({"segmentation": [1, 1, 5, 5, 1, 5]}, "annotation 1 .* a polygon that is not"),
        ({"segmentation": [[1, 1, 5, 5, 1, float("nan")]]}, "annotation 1 .* a polygon that is"),
        (
            {"segmentation": [[1, 1, 1.1, 1, 1, 1.1]]},
            "annotation 1 .* covers no pixel of its image; draw it larger",
        ),
        ({"segmentation": [[1, 1, 5, "x", 1, 5]]}, "annotation 1 of .* cannot be read as COCO"),
        ({"segmentation": {"counts": "x"}}, "annotation 1 of .*: KeyError.'size'"),
        ({"segmentation": mask_to_rle(np.ones((2, 2), bool))}, r"a mask of \[2, 2\] .* \[40, 60\]"),
    ],
)
def test_what_is_wrong_with_coco_names_the_annotation(
    tmp_path: Path, changed: dict[str, Any], sentence: str
) -> None:
    settings = write_coco(tmp_path)
    path = tmp_path / "annotations" / "instances_train.json"
    sheet = json.loads(path.read_text(encoding="utf-8"))
    sheet["annotations"][0] |= changed
    path.write_text(json.dumps(sheet), encoding="utf-8")
    with pytest.raises(SourceError, match=sentence):
        read_real(settings)


@pytest.mark.parametrize("name", ["magnetic_tile", "pv_el_cracks", "steel_sd900", "cookies"])
def test_counts_equal_the_lists_of_real_sets(name: str) -> None:
    path = DATA / name / "MANIFEST.csv"
    if not path.is_file():
        pytest.skip("the real photos are not here")
    classes = {"dark": 1, "cross_crack": 2, "crack": 3} if name == "pv_el_cracks" else None
    found = load_real({"format": "table", "path": str(path), "classes": classes})
    rows = pd.read_csv(path)
    rows = rows[(rows["label"] == "good") | (rows["mask_px"] > 0)]
    listed = Counter((row["split"], row["class"]) for _, row in rows.iterrows())
    kinds = ("+".join(d.defect_class for d in i.defects) or "good" for i in found.images)
    assert Counter(zip((i.split for i in found.images), kinds, strict=True)) == listed
    pixels = sum(int(np.any([d.mask for d in i.defects], axis=0).sum()) for i in found.images)
    assert pixels == rows["mask_px"].sum()
    assert {i.group for i in found.images} == set(rows["group"])
