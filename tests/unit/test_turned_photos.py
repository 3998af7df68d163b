"""Real photos that EXIF turns, with upright labels: an export holds both in one frame."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from synthgen.exporting.formats.semantic import Semantic
from synthgen.exporting.formats.voc import Voc
from synthgen.exporting.formats.web_dataset import WebDataset
from synthgen.exporting.gather import ExportSettings, MixSettings, gather, make_media
from synthgen.exporting.write import export
from tests.hard_set import make_hard_run

UPRIGHT = (140, 100)  # height, width
SPOT = np.zeros(UPRIGHT, bool)
SPOT[20:50, 10:30] = True
STORED = {3: lambda a: a[::-1, ::-1], 6: lambda a: np.rot90(a, 1), 2: lambda a: a[:, ::-1]}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_hard_run(tmp_path_factory.mktemp("hard") / "run")


def write_real(root: Path, orientation: int, name: str = "a.jpg") -> np.ndarray:
    """Write COCO with one photo of a dark spot, turned by EXIF; return it upright."""
    picture = np.random.default_rng(0).normal(120, 4, UPRIGHT).clip(0, 255).astype(np.uint8)
    picture[SPOT] = 50
    exif = Image.Exif()
    exif[0x0112] = orientation
    (root / "train").mkdir(parents=True)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](picture)))
    stored.save(root / "train" / name, exif=exif.tobytes())
    corners = [[10, 20, 30, 20, 30, 50, 10, 50]]
    mark = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": corners, "iscrowd": 0}
    sheet = {
        "images": [{"id": 1, "file_name": name, "width": 100, "height": 140}],
        "annotations": [mark | {"bbox": [10, 20, 20, 30], "area": 600}],
        "categories": [{"id": 1, "name": "spot"}],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_train.json").write_text(json.dumps(sheet))
    return picture


@pytest.mark.parametrize("mode", ["copy", "link"])
@pytest.mark.parametrize(("orientation", "name"), [(6, "a.jpg"), (3, "a.jpg"), (2, "a.png")])
def test_image_and_label_lie_in_one_frame_for_who_ignores_exif(
    tmp_path, run, orientation, name, mode
) -> None:
    write_real(tmp_path / "real", orientation, name)
    settings = ExportSettings(
        out=str(tmp_path / "set"), real=MixSettings(path=str(tmp_path / "real")), media=mode
    )
    found = gather(run, settings)
    assert "1 real images that EXIF turns are written upright, as PNG" in found.notes
    formats = {"semantic": Semantic(), "voc": Voc(), "web": WebDataset()}
    export(found.labels, formats, tmp_path / "set", make_media(settings))
    (image,) = (tmp_path / "set" / "semantic").rglob("images/*/real-train_a.png")
    (label,) = (tmp_path / "set" / "semantic").rglob("masks/*/real-train_a.png")
    check(image, label)
    voc = tmp_path / "set" / "voc"
    (image,) = voc.rglob("JPEGImages/real-train_a.png")
    check(image, voc / "SegmentationClass" / "real-train_a.png")
    text = (voc / "Annotations" / "real-train_a.xml").read_text()
    assert "<filename>real-train_a.png</filename>" in text
    assert "<width>100</width>" in text


def check(image: Path, label: Path) -> None:
    """Look at both as a reader that ignores EXIF does."""
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imread(str(image), flags)
    marked = np.asarray(Image.open(label)) > 0
    assert pixels.shape == marked.shape == UPRIGHT
    assert np.array_equal(marked, SPOT)
    assert pixels[marked].max() < 90 < pixels[~marked].min()
    assert Image.open(image).getexif().get(0x0112, 1) == 1


def test_images_that_are_referred_to_stay_and_the_note_says_so(tmp_path, run) -> None:
    write_real(tmp_path / "real", 6)
    real = MixSettings(path=str(tmp_path / "real"))
    found = gather(run, ExportSettings(out="x", real=real, media="refer"))
    assert any("media=copy writes them upright" in note for note in found.notes)


def test_a_photo_that_is_not_turned_is_copied_as_it_is(tmp_path, run) -> None:
    write_real(tmp_path / "real", 6)
    photo = tmp_path / "real" / "train" / "a.jpg"
    Image.fromarray(np.full(UPRIGHT, 99, np.uint8)).save(photo)
    settings = ExportSettings(
        out=str(tmp_path / "set"), real=MixSettings(path=str(tmp_path / "real"))
    )
    found = gather(run, settings)
    export(found.labels, {"semantic": Semantic()}, tmp_path / "set", make_media(settings))
    (image,) = (tmp_path / "set").rglob("real-train_a.jpg")
    assert image.read_bytes() == photo.read_bytes()
    assert not any("EXIF" in note for note in found.notes)
