"""Datasets that are damaged, of another kind or laid elsewhere: the sentence names the fault."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthgen.errors import ConfigError, SourceError
from synthgen.imaging.geometry import mask_to_rle
from synthgen.realdata.read import load_real
from synthgen.sources import FolderSources
from tests.cli import run_here

SIZE = (40, 60)
SPOT = np.zeros(SIZE, bool)
SPOT[5:15, 10:30] = True
POLYGON = [10, 5, 30, 5, 30, 15, 10, 15]
ENTRY = {"id": 1, "file_name": "a.png", "width": 60, "height": 40}
NOTE = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [POLYGON]}


def save(path: Path, pixels: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    photo = np.random.default_rng(0).integers(80, 120, SIZE, np.uint8)
    Image.fromarray(photo if pixels is None else pixels).save(path)
    return path


def read(path: Path, **settings: Any) -> dict[str, dict[str, int]]:
    """Return the marked pixels of each class of each image."""
    images = load_real({"path": str(path), **settings}).images
    return {
        one.image_id: {d.defect_class: int(d.mask.sum()) for d in one.defects} for one in images
    }


def write_coco(root: Path, sheet: Any) -> Path:
    save(root / "train" / "a.png")
    (root / "annotations").mkdir()
    path = root / "annotations" / "instances_train.json"
    path.write_text(json.dumps(sheet), encoding="utf-8")
    return root


def sheet(entry: dict[str, Any] = ENTRY, note: dict[str, Any] = NOTE) -> dict[str, Any]:
    names = [{"id": 1, "name": "scratch"}]
    return {"images": [entry], "annotations": [note], "categories": names}


def run_lengths() -> list[int]:
    """Return the spot as COCO's uncompressed run lengths, columns first."""
    flat = SPOT.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    return [int(run) for run in np.diff([0, *edges, flat.size])]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "is not COCO instances: it has no images, annotations, categories; export it"),
        ({"version": "5.0", "shapes": []}, "is not COCO instances: it has no images, annotations"),
        ({"images": [ENTRY], "categories": []}, "it has no annotations;"),
        (sheet({"id": 1, "file_name": "a.png"}), "an entry in images without height, width: "),
        (sheet(ENTRY | {"width": None}), "an entry in images without width: "),
        (sheet(ENTRY | {"id": "f3-a"}), "'f3-a' is not an id: a whole number is"),
    ],
)
def test_a_json_that_is_not_coco_says_what_is_missing(tmp_path, data, sentence) -> None:
    with pytest.raises(SourceError, match=sentence):
        read(write_coco(tmp_path, data))


@pytest.mark.parametrize("is_text", [False, True])
def test_run_lengths_that_end_early_are_refused(tmp_path, is_text) -> None:
    own: dict[str, Any] = {"size": list(SIZE), "counts": run_lengths()}
    if is_text:
        own = dict(mask_to_rle(SPOT))
    assert read(write_coco(tmp_path / "whole", sheet(note=NOTE | {"segmentation": own}))) == {
        "train_a": {"scratch": 200}
    }
    own["counts"] = own["counts"][:-1]
    with pytest.raises(SourceError, match=r"annotation 1 .* run lengths of [0-9]+ px in all"):
        read(write_coco(tmp_path / "cut", sheet(note=NOTE | {"segmentation": own})))


@pytest.mark.parametrize("name", ["a.xlsx", "a.xml", "a.png", "a.zip", "data.yaml"])
def test_a_file_that_is_no_dataset_is_told_so(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04\xff")
    with pytest.raises(SourceError, match=r"neither a COCO JSON nor a table \(\.csv\)"):
        read(tmp_path / name)


def test_a_table_as_a_spreadsheet_saves_it(tmp_path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "m.png", SPOT)
    table = tmp_path / "t.csv"
    table.write_text(
        "Image,Mask,CLASS\r\na.png,m.png,scratch\r\n,,\r\n  ,\t,\r\n", encoding="utf-8"
    )
    assert read(table) == {"a": {"scratch": 200}}


def test_masks_of_another_kind_leave_no_photo_good(tmp_path) -> None:
    photo = save(tmp_path / "photos" / "a.png")
    masks = tmp_path / "masks"
    masks.mkdir()
    assert any(
        "all 1 photos count as good" in note
        for note in load_real({"path": str(photo.parent), "masks": str(masks)}).notes
    )
    (masks / "a.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SourceError, match=r"holds no masks, but a\.json: all photos would pass"):
        read(photo.parent, masks=str(masks))


def test_a_mask_whose_photo_is_of_a_kind_that_is_not_read(tmp_path) -> None:
    save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.webp").write_bytes(b"RIFF")
    save(tmp_path / "masks" / "b.png", SPOT)
    with pytest.raises(SourceError, match=r"that of b\.webp, of a kind that is not read"):
        read(tmp_path / "photos", masks=str(tmp_path / "masks"))


def test_yolo_images_outside_of_a_split_are_told(tmp_path) -> None:
    save(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .2 .2 .4 .2 .4 .4 .2 .4\n", encoding="utf-8")
    data = tmp_path / "data.yaml"
    data.write_text("names: [scratch]\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"that data\.yaml names, as in train: images"):
        read(tmp_path)
    data.write_text("train: images\nnames: [scratch]\n", encoding="utf-8")
    assert set(read(tmp_path)["images_a"]) == {"scratch"}


def test_a_name_with_a_line_break_costs_no_other_photo_its_samples(tmp_path) -> None:
    photos = tmp_path / "photos"
    for name in ("a.png", "b\nc.png", "wide\u3000name.png"):
        photo = np.random.default_rng(len(name)).integers(80, 120, (64, 64), np.uint8)
        save(photos / name, photo)
    done = run_here(
        *("generate", "debug=smoke", "backend=sketch", "source=folder", "defect=[stain]"),
        *(f"source.path={photos}", f"run.folder={tmp_path / 'run'}", "splits={train: 1}"),
    )
    assert done.returncode == 0, done.stderr
    assert [one.source_id for one in FolderSources(str(photos)).entries] == ["a", "wide-name"]
    with pytest.raises(SourceError, match=r"b\\nc\.png.* has a line break .* rename it"):
        FolderSources(str(photos), on_broken="fail")
    save(tmp_path / "masks" / "a.png", SPOT)
    with pytest.raises(SourceError, match="has a line break"):
        read(photos, masks=str(tmp_path / "masks"))


@pytest.mark.parametrize("kind", ["legal", "illegal"])
def test_masks_of_sources_that_cannot_be_used_stop_the_run(tmp_path, kind) -> None:
    photos, masks = tmp_path / "photos", tmp_path / kind
    save(photos / "a.png")
    masks.mkdir()
    own = {kind: str(masks)}
    with pytest.raises(SourceError, match=f"source.{kind}=.* holds no mask of any photo; lay"):
        FolderSources(str(photos), **own)
    save(masks / "x.png", SPOT)
    with pytest.raises(SourceError, match=r"no mask of any photo \(the first mask: x\.png\)"):
        FolderSources(str(photos), **own)
    (masks / "x.png").rename(masks / "a.png")
    (masks / "a.webp").write_bytes(b"RIFF")
    with pytest.raises(SourceError, match=r"a\.webp is of a kind that is not read"):
        FolderSources(str(photos), **own)
    os.remove(masks / "a.webp")
    (masks / "a.png").write_bytes((masks / "a.png").read_bytes()[:60])
    sources = FolderSources(str(photos), foreground="all", **own)
    with pytest.raises(ConfigError, match=f"source.{kind}=.*a.png cannot be read as an image"):
        sources.part(sources.read("a"))


def test_a_json_in_the_stored_frame_names_exif_and_the_advice_works(tmp_path) -> None:
    write_coco(tmp_path, sheet(ENTRY | {"file_name": "a.jpg"}))
    photo, exif = Image.open(tmp_path / "train" / "a.png"), Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "train" / "a.jpg", exif=exif)
    with pytest.raises(SourceError, match=r"EXIF orientation, which exiftool -Orientation= IMAGE"):
        read(tmp_path)
    photo.save(tmp_path / "train" / "a.jpg")  # as exiftool leaves it
    assert read(tmp_path) == {"train_a": {"scratch": 200}}
