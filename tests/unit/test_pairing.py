"""Which mask is whose, which photo is which: nothing is guessed, and nothing is lost silently."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synthgen.errors import ConfigError, SourceError
from synthgen.realdata.read import load_real, read_real
from synthgen.realdata.records import RealImage
from synthgen.sources import FolderSources
from synthgen.storage.pairing import pair_masks
from tests.cli import run_here

SIZE = (40, 60)
SPOT, OTHER = (10, 5, 20, 10), (40, 25, 10, 8)  # x, y, width, height


def draw_mask(*spots: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    for x, y, width, height in spots:
        mask[y : y + height, x : x + width] = 255
    return mask


def save(path: Path, pixels: np.ndarray | None = None) -> Path:
    """Write an image; without pixels a photo, another one for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        seed = sum(os.fsencode(path.name) + os.fsencode(path.parent.name))
        pixels = np.random.default_rng(seed).integers(80, 120, SIZE, np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def outline(spot: tuple[int, int, int, int]) -> str:
    x, y, width, height = spot
    points = [(x, y), (x + width - 1, y), (x + width - 1, y + height - 1), (x, y + height - 1)]
    fractions = [f"{(a + 0.25) / SIZE[1]:.6f} {(b + 0.25) / SIZE[0]:.6f}" for a, b in points]
    return f"0 {' '.join(fractions)}\n"


def entry(number: int, name: str, **changed: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": SIZE[1], "height": SIZE[0]} | changed


def note(number: int, image: int, spot: Sequence[int] = SPOT, category: int = 1) -> dict[str, Any]:
    x, y, width, height = spot
    polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
    own = {"id": number, "image_id": image, "category_id": category}
    return own | {"segmentation": [polygon]}


def write_coco(
    root: Path,
    images: Sequence[dict[str, Any]],
    notes: Sequence[dict[str, Any]] = (),
    names: Sequence[str] = ("scratch",),
    split: str = "train",
) -> Path:
    sheet = {
        "images": list(images),
        "annotations": list(notes),
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
    }
    path = root / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(sheet), encoding="utf-8")
    return path


def areas(images: Sequence[RealImage]) -> dict[str, dict[str, int]]:
    """Return the pixels of each class, by image id."""
    return {i.image_id: {d.defect_class: int(d.mask.sum()) for d in i.defects} for i in images}


def read(path: Path, **keys: Any) -> dict[str, dict[str, int]]:
    return areas(read_real({"path": str(path), **keys}))


def read_folder(root: Path, **keys: Any) -> dict[str, dict[str, int]]:
    return read(root / "photos", masks=str(root / "masks"), defect_class="scratch", **keys)


def refuse(sentence: str, path: Path, **keys: Any) -> None:
    with pytest.raises(SourceError, match=sentence):
        read_real({"path": str(path), **keys})


# --- masks of a folder ---


def test_one_stem_in_two_folders_gets_its_own_mask(tmp_path) -> None:
    for camera, suffix, spot in (("cam1", "_mask.PNG", SPOT), ("cam2", ".png", OTHER)):
        save(tmp_path / "photos" / camera / "0001.JPG")
        save(tmp_path / "masks" / camera / f"0001{suffix}", draw_mask(spot))
    assert read_folder(tmp_path) == {"cam1_0001": {"scratch": 200}, "cam2_0001": {"scratch": 80}}


def test_a_mask_elsewhere_is_not_taken_by_its_bare_name(tmp_path) -> None:
    save(tmp_path / "photos" / "cam1" / "a.png")
    save(tmp_path / "masks" / "a.png", draw_mask(SPOT))
    with pytest.raises(SourceError, match=r"masks/a.png has no image .*cam1/a.png lies elsewhere"):
        read_folder(tmp_path)


def test_one_stem_of_two_suffixes_needs_whole_names(tmp_path) -> None:
    save(tmp_path / "photos" / "a.png")
    save(tmp_path / "photos" / "a.jpg")
    save(tmp_path / "masks" / "a.png", draw_mask(SPOT))
    with pytest.raises(SourceError, match=r"the mask a\.png fits 2 photos"):
        read_folder(tmp_path)
    (tmp_path / "masks" / "a.png").unlink()
    save(tmp_path / "masks" / "a_mask.tif", draw_mask(SPOT))
    with pytest.raises(SourceError, match=r"the mask a_mask\.tif fits 2 photos"):
        read_folder(tmp_path)
    (tmp_path / "masks" / "a_mask.tif").unlink()
    save(tmp_path / "masks" / "a.jpg.png", draw_mask(SPOT))
    save(tmp_path / "masks" / "a.png_mask.png", draw_mask(OTHER))
    assert read_folder(tmp_path) == {"a-jpg": {"scratch": 200}, "a-png": {"scratch": 80}}


def test_two_masks_of_one_photo_are_refused(tmp_path) -> None:
    save(tmp_path / "photos" / "a.png")
    save(tmp_path / "masks" / "a.png", draw_mask(SPOT))
    save(tmp_path / "masks" / "a_mask.png", draw_mask(OTHER))
    with pytest.raises(SourceError, match=r"a\.png has two masks, a\.png and a_mask\.png"):
        read_folder(tmp_path)


def test_masks_of_a_kind_that_is_not_read_leave_no_photo_good(tmp_path) -> None:
    save(tmp_path / "photos" / "a.png")
    save(tmp_path / "masks" / "a.webp", draw_mask(SPOT))
    with pytest.raises(SourceError, match=r"a\.webp is of a kind that is not read"):
        read_folder(tmp_path)


def test_a_photo_whose_mask_is_empty_counts_as_good_with_a_note(tmp_path) -> None:
    for name in ("a", "b"):
        save(tmp_path / "photos" / f"{name}.png")
    save(tmp_path / "masks" / "a.png", draw_mask(SPOT))
    save(tmp_path / "masks" / "b.png", draw_mask())
    keys = {"path": str(tmp_path / "photos"), "masks": str(tmp_path / "masks")}
    found = load_real(keys)
    assert [len(image.defects) for image in found.images] == [1, 0]
    assert any("1 photos whose mask shows no defect" in note for note in found.notes)


def test_umlauts_are_one_name_however_they_are_encoded() -> None:
    photo, mask = (unicodedata.normalize(form, "prüf/Fühler") for form in ("NFC", "NFD"))
    pairs = pair_masks([Path(f"{photo}.png")], [Path(f"{mask}_MASK.png")])
    assert pairs.masks == {Path(f"{photo}.png"): Path(f"{mask}_MASK.png")}


def test_legal_masks_are_paired_alike(tmp_path) -> None:
    for name in ("cam1/a.png", "cam2/a.png"):
        save(tmp_path / "photos" / name)
    save(tmp_path / "legal" / "cam1" / "a_mask.png", draw_mask(SPOT))
    save(tmp_path / "legal" / "a.png", draw_mask(OTHER))
    sources = FolderSources(str(tmp_path / "photos"), legal=str(tmp_path / "legal"))
    one, other = (sources.part(sources.read(name)) for name in ("cam1_a", "cam2_a"))
    assert np.array_equal(one.mask, draw_mask(SPOT) > 0)
    assert other.finding != "given"
    assert f"{tmp_path / 'legal' / 'a.png'} has no photo" in sources.skipped[0]
    save(tmp_path / "legal" / "cam1" / "a.png", draw_mask(OTHER))
    with pytest.raises(SourceError, match=r"cam1/a\.png has two masks"):
        FolderSources(str(tmp_path / "photos"), legal=str(tmp_path / "legal"))


def test_masks_inside_of_the_photos_folder_are_no_photos(tmp_path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "legal" / "a.png", draw_mask(SPOT))
    sources = FolderSources(str(tmp_path), legal=str(tmp_path / "legal"))
    assert [one.source_id for one in sources.entries] == ["a"]
    refuse("real.path and real.masks are one folder", tmp_path, masks=str(tmp_path))
    assert read(tmp_path, masks=str(tmp_path / "legal")) == {"a": {"defect": 200}}


# --- COCO ---


@pytest.mark.parametrize(
    ("images", "notes", "names", "sentence"),
    [
        ([entry(1, "a.png"), entry(1, "b.png")], [], ["x"], "two images of the id 1, a.png and b"),
        ([entry(1, "a.png"), entry("1", "b.png")], [], ["x"], "two images of the id 1"),
        ([entry(1, "a.png"), entry(1.5, "b.png")], [], ["x"], "1.5 is not an id"),
        ([entry(1, "a.png"), entry(2, "a.png")], [], ["x"], "2 images of the file name a.png"),
        ([entry(1, "a.png")], [note(3, 1), note(3, 1, OTHER)], ["x"], "two annotations of the id"),
        ([entry(1, "a.png")], [note(1, 1, category=1)], [None], "a class whose name is None"),
        ([entry(1, "a.png")], [note(1, 1, category=1)], [False], "a class whose name is False"),
        ([entry(1, "c.png")], [], ["x"], "c.png is named by .*instances_train.json but missing"),
        ([entry(1, "A.png")], [], ["x"], r"but missing \(a.png is there: names must be equal\)"),
        ([entry(1, 7)], [], ["x"], "names a file 7"),
        ([entry(1, "a.png", width=30)], [], ["x"], r"is 40 x 30 px .* but it is 40 x 60: label"),
        ([entry(1, "a.png", width=40, height=60)], [], ["x"], "turned by 90 degrees since"),
    ],
)
def test_what_contradicts_itself_in_coco_is_refused(
    tmp_path, images, notes, names, sentence
) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / "train" / name)
    write_coco(tmp_path, images, notes, names)
    refuse(sentence, tmp_path)


def test_two_categories_of_one_id_are_refused(tmp_path) -> None:
    save(tmp_path / "train" / "a.png")
    path = write_coco(tmp_path, [entry(1, "a.png")], [note(1, 1)])
    sheet = json.loads(path.read_text(encoding="utf-8"))
    sheet["categories"].append({"id": 1, "name": "dent"})
    path.write_text(json.dumps(sheet), encoding="utf-8")
    refuse("two categories of the id 1, 'scratch' and 'dent'", tmp_path)


def test_one_photo_in_two_splits_is_refused(tmp_path) -> None:
    save(tmp_path / "images" / "a.png")
    write_coco(tmp_path, [entry(1, "a.png")], [note(1, 1)])
    write_coco(tmp_path, [entry(7, "a.png")], split="val")
    refuse(r"names .*a\.png twice \(split train and val\)", tmp_path)


def test_one_name_in_two_splits_or_cameras_is_two_photos(tmp_path) -> None:
    images = [entry(1, "cam1/0001.png"), entry(2, "cam2\\0001.png")]
    for name in ("train/cam1/0001.png", "train/cam2/0001.png", "val/0001.png"):
        save(tmp_path / name)
    write_coco(tmp_path, images, [note(1, 1), note(2, 2, OTHER)])
    write_coco(tmp_path, [entry(1, "0001.png")], [note(1, 1, OTHER)], split="val")
    assert read(tmp_path) == {
        "train_cam1_0001": {"scratch": 200},
        "train_cam2_0001": {"scratch": 80},
        "val_0001": {"scratch": 80},
    }


def test_a_name_of_a_mac_is_found(tmp_path) -> None:
    save(tmp_path / "train" / unicodedata.normalize("NFD", "Fühler.png"))
    write_coco(tmp_path, [entry(1, unicodedata.normalize("NFC", "Fühler.png"))], [note(1, 1)])
    assert list(read(tmp_path).values()) == [{"scratch": 200}]


def test_photos_that_no_annotations_name_are_told(tmp_path) -> None:
    save(tmp_path / "train" / "a.png")
    save(tmp_path / "train" / "b.png")
    write_coco(tmp_path, [entry(1, "a.png")], [note(1, 1)])
    notes = load_real({"path": str(tmp_path)}).notes
    assert any("1 images in" in note and "b.png" in note for note in notes)


# --- the tree of MVTec AD ---


def write_tree(root: Path, mask: np.ndarray) -> None:
    save(root / "train" / "good" / "000.png")
    save(root / "test" / "scratch" / "000.png")
    save(root / "ground_truth" / "scratch" / "000_mask.png", mask)


def test_an_empty_mask_in_a_folder_of_defects_is_refused(tmp_path) -> None:
    write_tree(tmp_path, draw_mask())
    refuse(r"000_mask\.png is empty, but .*test/scratch/000\.png lies in a folder", tmp_path)


def test_a_tree_is_read_deep_and_in_any_case_of_letters(tmp_path) -> None:
    write_tree(tmp_path, draw_mask(SPOT))
    save(tmp_path / "test" / "scratch" / "lot2" / "000.PNG")
    save(tmp_path / "ground_truth" / "scratch" / "lot2" / "000.PNG", draw_mask(OTHER))
    save(tmp_path / "test" / "Good" / "001.bmp")
    save(tmp_path / "ground_truth" / "good" / "001_mask.png", draw_mask())
    assert read(tmp_path) == {
        "train_good_000": {},
        "test_Good_001": {},
        "test_scratch_000": {"scratch": 200},
        "test_scratch_lot2_000": {"scratch": 80},
    }


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("train/scratch/000.png", "scratch/000.png in two splits, but one mask for both"),
        ("test/scratch/000.jpg", "fits 2 photos"),
        ("test/000.png", "lies in no folder of a class"),
        ("ground_truth/scratch/009_mask.png", "009_mask.png has no image"),
        ("ground_truth/scratch/000.png", "has two masks"),
        ("test/dent/000.png", "has no mask"),
    ],
)
def test_what_is_not_clear_in_a_tree_is_refused(tmp_path, name, sentence) -> None:
    write_tree(tmp_path, draw_mask(SPOT))
    save(tmp_path / name, draw_mask(OTHER))
    refuse(sentence, tmp_path)


# --- YOLO ---


def write_yolo(root: Path, texts: dict[str, str], names: str = "[scratch]") -> None:
    for name, text in texts.items():
        path = root / "labels" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if name.lower().endswith("txt"):
            save(root / "images" / Path(name).with_suffix(".png"))
    (root / "data.yaml").write_text(f"names: {names}\n", encoding="utf-8")


def test_yolo_is_read_in_folders_and_any_case_of_letters(tmp_path) -> None:
    texts = {"train/a/1.txt": outline(SPOT), "train/b/1.TXT": outline(OTHER), "val/1.txt": ""}
    write_yolo(tmp_path, texts | {"train/classes.names": "scratch"})
    assert read(tmp_path) == {
        "images_train_a_1": {"scratch": 200},
        "images_train_b_1": {"scratch": 80},
        "images_val_1": {},
    }


def test_yolo_of_two_suffixes_is_refused_and_bare_images_are_told(tmp_path) -> None:
    write_yolo(tmp_path, {"train/a.txt": outline(SPOT)})
    save(tmp_path / "images" / "train" / "b.png")
    notes = load_real({"path": str(tmp_path)}).notes
    assert any("1 images without a text file count as good" in note for note in notes)
    save(tmp_path / "images" / "train" / "a.jpg")
    refuse(r"a\.jpg and a\.png have one label file", tmp_path)


def test_splits_of_data_yaml_count(tmp_path) -> None:
    write_yolo(tmp_path, {"cam1/a.txt": outline(SPOT), "cam2/b.txt": outline(OTHER)})
    (tmp_path / "list.txt").write_text("./images/cam2/b.png\n", encoding="utf-8-sig")
    text = "names: [scratch]\ntrain: ../images/cam1\nval: list.txt\ntest: images/none\n"
    (tmp_path / "data.yaml").write_text(text, encoding="utf-8-sig")
    found = load_real({"path": str(tmp_path)})
    assert [(i.image_id, i.split) for i in found.images] == [
        ("images_cam1_a", "train"),
        ("images_cam2_b", "val"),
    ]
    assert areas(found.images)["images_cam2_b"] == {"scratch": 80}
    assert any("images/none, which is not there" in note for note in found.notes)


@pytest.mark.parametrize("line", ["../other/b.png", "/etc/passwd", "C:\\data\\b.png", "images"])
def test_a_list_names_files_of_the_dataset(tmp_path, line) -> None:
    write_yolo(tmp_path, {"train/a.txt": outline(SPOT)})
    (tmp_path / "list.txt").write_text(f"{line}\n", encoding="utf-8")
    (tmp_path / "data.yaml").write_text("names: [scratch]\ntrain: list.txt\n", encoding="utf-8")
    refuse("leads out of|is a folder", tmp_path)


@pytest.mark.parametrize(
    ("names", "known"),
    [
        ("[no, on]", "no"),
        ("{0: yes, 1: dent}", "yes"),
        ("[007]", "007"),
        ("[1e3]", "1e3"),
        ("[null]", "null"),
        ("[' scratch ']", "scratch"),
    ],
)
def test_names_in_yaml_are_the_text_that_stands_there(tmp_path, names, known) -> None:
    write_yolo(tmp_path, {"train/a.txt": outline(SPOT)}, names)
    assert read(tmp_path) == {"images_train_a": {known: 200}}


def test_an_id_that_stands_twice_in_yaml_is_refused(tmp_path) -> None:
    write_yolo(tmp_path, {"train/a.txt": outline(SPOT)}, "{0: scratch, 0: dent}")
    refuse("the key 0 stands there twice", tmp_path)
    write_yolo(tmp_path, {"train/b.txt": outline(SPOT)}, "{0: scratch, 00: dent}")
    refuse("two classes of the id 00, scratch and dent", tmp_path)


@pytest.mark.parametrize(("fraction", "is_read"), [("1.0000001", True), ("1.002", False)])
def test_rounded_fractions_are_read(tmp_path, fraction, is_read) -> None:
    write_yolo(
        tmp_path, {"train/a.txt": f"\ufeff0 0.5 0.5 {fraction} 0.5 {fraction} 0.9 0.5 0.9\n"}
    )
    if is_read:
        assert read(tmp_path)["images_train_a"]["scratch"] > 400
    else:
        refuse("outside of 0..1", tmp_path)


# --- tables ---


def write_table(root: Path, *rows: str, head: str = "image,mask,class") -> Path:
    save(root / "part.png")
    save(root / "one.png", draw_mask(SPOT))
    save(root / "two.png", draw_mask(OTHER))
    path = root / "list.csv"
    path.write_text("\n".join([head, *rows]), encoding="utf-8-sig")
    return path


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (["part.png,one.png,scratch", "part.png,two.png,scratch"], {"scratch": 280}),
        (["part.png,one.png,scratch", "./part.png,two.png,dent"], {"scratch": 200, "dent": 80}),
        (["part.png,one.png,scratch", "part.png,one.png,scratch"], {"scratch": 200}),
        (["part.png, one.png, scratch ", '"part.png",two.png,"scratch"'], {"scratch": 280}),
    ],
)
def test_rows_of_one_photo_are_its_defects(tmp_path, rows, found) -> None:
    assert read(write_table(tmp_path, *rows)) == {"part": found}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["part.png,one.png,scratch,a,train", "part.png,,good,a,train"], "scratch and good at"),
        (["part.png,,,a,train", "part.png,two.png,dent,a,train"], "good and dent at once"),
        (["part.png,one.png,dent,a,train", "part.png,two.png,dent,a,val"], "the splits 'train' a"),
        (["part.png,one.png,dent,a,train", "part.png,two.png,dent,b,train"], "the groups 'a' and"),
        (["part.png,one.png,dent,a,train", "one.png,two.png,dent,b,"], "line 3 .* has no split"),
        (["part.png,one.png,dent,a"], "line 2 of .* has 4 cells, its first line 5"),
        (["part.png,one.png,Good,a,train"], "line 2 .* no class of defects, but its mask .* shows"),
        (["part.png,one.png,,a,train"], "line 2 .* no class of defects, but its mask .* shows one"),
        (["part.png,gone.png,dent,a,train"], "gone.png is named by line 2 of .* but missing"),
        (["../part.png,one.png,dent,a,train"], r"line 2 .* names \.\./part\.png, which leads out"),
        (["/etc/hosts.png,one.png,dent,a,train"], "leads out of .* real.images="),
    ],
)
def test_rows_that_contradict_each_other_are_refused(tmp_path, rows, sentence) -> None:
    refuse(sentence, write_table(tmp_path, *rows, head="image,mask,class,group,split"))


def test_absolute_names_are_read_below_real_images(tmp_path) -> None:
    table = write_table(tmp_path / "set", f"{tmp_path}/set/part.png,set/one.png,scratch")
    refuse("set/set/one.png is named", table)
    assert read(table, images=str(tmp_path)) == {"set_part": {"scratch": 200}}
    refuse("real.images='none' is not a folder", table, images="none")


def test_a_table_that_is_none_is_told(tmp_path) -> None:
    path = write_table(tmp_path, "part.png;one.png;scratch", head="image;mask;class")
    refuse("has no column class, image, mask", path)
    path.write_bytes("image,mask,class\n".encode("utf-16"))
    refuse(r"list\.csv is not UTF-8 text", path)
    path.write_text("", encoding="utf-8")
    refuse(r"list\.csv is empty", path)


# --- classes ---


@pytest.mark.parametrize("pair", [("Scratch", "scratch"), ("cross crack", "cross_crack")])
def test_classes_that_differ_by_their_writing_alone_are_refused(tmp_path, pair) -> None:
    save(tmp_path / "train" / "a.png")
    notes = [note(1, 1), note(2, 1, OTHER, category=2)]
    write_coco(tmp_path, [entry(1, "a.png")], notes, pair)
    refuse("differ by case, spaces, - or _ alone", tmp_path)
    rows = [f"part.png,one.png,{pair[0]}", f"part.png,two.png,{pair[1]}"]
    refuse("differ by case, spaces, - or _ alone", write_table(tmp_path / "t", *rows))


@pytest.mark.parametrize("name", ["Good", "BACKGROUND"])
def test_good_is_no_defect_however_it_is_written(tmp_path, name) -> None:
    save(tmp_path / "train" / "a.png")
    write_coco(tmp_path, [entry(1, "a.png")], [note(1, 1)], [name])
    refuse("cannot be a defect's name", tmp_path)


def test_truth_values_are_no_names_and_numbers_are(tmp_path) -> None:
    table = write_table(tmp_path, "part.png,one.png,7")
    assert read(table, only=[7]) == {"part": {"7": 200}}
    with pytest.raises(ConfigError, match=r"real\.defect_class is not possible: YAML reads no, "):
        read_real({"path": str(table), "defect_class": False})


# --- what lies in folders, too ---


def litter(folder: Path) -> None:
    """Lay hidden files, thumbnails and trash into a folder."""
    for name in (".ipynb_checkpoints/a-checkpoint.png", ".Trash-1000/files/b.png", "Thumbs/c.png"):
        save(folder / name)
    save(folder / "@eaDir" / "a.png" / "THUMB_M.png")
    (folder / "._a.png").write_bytes(b"\0\5\26\7")


def test_hidden_files_are_in_no_dataset(tmp_path) -> None:
    tree, yolo, coco = tmp_path / "tree", tmp_path / "yolo", tmp_path / "coco"
    write_tree(tree, draw_mask(SPOT))
    for name in ("train/good", "test", "test/scratch", "ground_truth", "ground_truth/scratch"):
        litter(tree / name)
    assert len(read(tree)) == 2
    write_yolo(yolo, {"train/a.txt": outline(SPOT)})
    litter(yolo / "images")
    litter(yolo / "images" / "train")
    assert len(read(yolo)) == 1
    save(coco / "train" / "a.png")
    path = write_coco(coco, [entry(1, "a.png")], [note(1, 1)])
    path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    litter(coco / "train")
    assert len(read(coco)) == 1
    save(tmp_path / "photos" / "a.png")
    save(tmp_path / "masks" / "a.png", draw_mask(SPOT))
    litter(tmp_path / "photos")
    litter(tmp_path / "masks")
    assert len(read_folder(tmp_path)) == 1


def test_hidden_files_are_no_sources(tmp_path) -> None:
    save(tmp_path / "a.png")
    litter(tmp_path)
    sources = FolderSources(str(tmp_path), on_broken="fail")
    assert [one.source_id for one in sources.entries] == ["a"]
    assert "5 hidden files or folders, thumbnails or trash" in sources.skipped[0]
    shown = tmp_path / ".photos"  # the folder that is asked for may itself be hidden
    save(shown / "b.png")
    assert len(FolderSources(str(shown)).entries) == 1


def test_what_cannot_be_a_source_is_told(tmp_path) -> None:
    photos = tmp_path / "photos"
    for name in ("a.png", "b.webp"):
        save(photos / name)
    os.mkfifo(photos / "pipe.png")
    (photos / "gone.png").symlink_to(tmp_path / "nowhere.png")
    save(tmp_path / "elsewhere" / "c.png")
    (photos / "cam2").symlink_to(tmp_path / "elsewhere")
    (photos / "empty.png").mkdir()
    sources = FolderSources(str(photos))
    assert [one.source_id for one in sources.entries] == ["a"]
    told = " ".join(sources.skipped)
    assert "pipe.png is a device, a pipe or a socket" in told
    assert "gone.png cannot be read: it is a link to a file that is not there" in told
    assert "1 links to folders are not followed" in told
    assert ".webp; the first: " in told


def test_a_name_that_is_not_utf8_is_left_out_and_shown(tmp_path) -> None:
    save(tmp_path / "a.png")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Pr\xfcfteil.png"))
    save(odd)
    sources = FolderSources(str(tmp_path))
    assert [one.source_id for one in sources.entries] == ["a"]
    assert sources.skipped == [
        f"{tmp_path}/Pr\\xfcfteil.png has a name that is not UTF-8; rename it, e.g. with convmv"
    ]
    with pytest.raises(SourceError, match=r"Pr.xfcfteil.*on_broken=skip"):
        FolderSources(str(tmp_path), on_broken="fail")
    save(tmp_path / "masks" / "a.png", draw_mask(SPOT))
    refuse("not UTF-8", tmp_path, masks=str(tmp_path / "masks"))


def test_links_out_of_a_dataset_and_pipes_are_refused(tmp_path) -> None:
    outside = save(tmp_path / "outside.png")
    root = tmp_path / "coco"
    write_coco(root, [entry(1, "a.png")], [note(1, 1)])
    (root / "train").mkdir()
    (root / "train" / "a.png").symlink_to(outside)
    refuse("a link that leads out of", root)
    (root / "train" / "a.png").unlink()
    os.mkfifo(root / "train" / "a.png")
    refuse("a device, a pipe or a socket", root)
    write_tree(tmp_path / "tree", draw_mask(SPOT))
    (tmp_path / "tree" / "test" / "scratch" / "001.png").symlink_to(outside)
    refuse("a link that leads out of", tmp_path / "tree")
    for name in ("../outside.png", str(outside)):
        write_coco(root, [entry(1, name)], [note(1, 1)])
        refuse("leads out of", root)


def test_one_group_a_photo(tmp_path) -> None:
    save(tmp_path / "a.png")
    table = tmp_path / "parts.csv"
    table.write_text("image,group\na.png,p1\n./a.png,p2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"names two groups for .*a\.png, 'p1' and 'p2'"):
        FolderSources(str(tmp_path), group_by=str(table))


def test_splits_are_told_apart_by_meaning_not_by_writing(tmp_path) -> None:
    table = write_table(
        tmp_path, "part.png,one.png,scratch,Validation", head="image,mask,class,split"
    )
    assert [image.split for image in read_real({"path": str(table)})] == ["val"]
    save(tmp_path / "images" / "default" / "a.png")
    write_coco(tmp_path, [entry(1, "a.png")], [note(1, 1)], split="default")
    assert [image.split for image in read_real({"path": str(tmp_path)})] == ["train"]
    own = read_real({"path": str(tmp_path), "split": "test"})
    assert [image.split for image in own] == ["test"]


def test_copies_in_two_splits_are_told(tmp_path) -> None:
    write_tree(tmp_path, draw_mask(SPOT))
    photo = tmp_path / "test" / "scratch" / "000.png"
    (tmp_path / "train" / "good" / "again.png").write_bytes(photo.read_bytes())
    notes = load_real({"path": str(tmp_path)}).notes
    assert any("1 photos are copies of others" in note for note in notes)


def test_a_format_that_is_not_clear_is_asked_for(tmp_path) -> None:
    write_tree(tmp_path, draw_mask(SPOT))
    (tmp_path / "data.yaml").write_text("names: [scratch]\n", encoding="utf-8")
    refuse("may be mvtec or yolo; give real.format", tmp_path)
    assert len(read(tmp_path, format="mvtec")) == 2
    with pytest.raises(ConfigError, match=r"real\.path must be given"):
        read_real({})


def test_a_split_is_found_in_the_name_of_a_json(tmp_path) -> None:
    for split in ("train", "val"):
        save(tmp_path / split / f"{split}.png")
        path = write_coco(tmp_path, [entry(1, f"{split}.png")], [note(1, 1)])
        path.rename(path.with_name(f"{split}_annotations.json"))
    found = {image.image_id: image.split for image in read_real({"path": str(tmp_path)})}
    assert found == {"train_train": "train", "val_val": "val"}
    write_tree(tmp_path / "tree", draw_mask(SPOT))
    save(tmp_path / "tree" / "labels" / "x" / "a.png")  # no split, though tools call files so
    assert len(read(tmp_path / "tree")) == 2


def test_an_odd_name_costs_no_other_photo_its_samples(tmp_path) -> None:
    for name in ("a", "b", "c"):
        pixels = np.random.default_rng(ord(name)).integers(80, 120, (128, 128), np.uint8)
        save(tmp_path / "photos" / f"{name}.png", pixels)
    (tmp_path / "photos" / "c.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/photos/\xfc.png"))
    settings = ["debug=smoke", "backend=sketch", "source=folder", "source.path=photos"]
    done = run_here("generate", *settings, "run.count=4", "run.folder=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "has a name that is not UTF-8" in " ".join(done.stdout.split() + done.stderr.split())
    manifest = pd.read_parquet(tmp_path / "out" / "manifest.parquet")
    assert set(manifest["source_id"]) == {"a", "b"}
    assert len(manifest) >= 4
