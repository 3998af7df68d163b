"""Masks in every way that tools encode them: read right, or refused with advice that works."""

from __future__ import annotations

import io
import re
import shlex
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from synthgen.errors import ConfigError, ShapeError, SourceError
from synthgen.realdata.masks import MaskReader, read_mask
from synthgen.realdata.read import load_real
from synthgen.sources import FolderSources

SIZE = (100, 140)
SPOT, OTHER = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
SPOT[10:22, 10:30] = True
OTHER[50:70, 80:110] = True
BOTH = SPOT | OTHER
GREY = (SPOT * 255).astype(np.uint8)
FULL = np.full(SIZE, 255, np.uint8)
WHITE = np.full((*SIZE, 3), 255, np.uint8)
RNG = np.random.default_rng(0)


def levels(spot: int, other: int = 0, ground: int = 0) -> np.ndarray:
    return np.where(SPOT, spot, np.where(OTHER, other, ground)).astype(np.uint8)


def colours(spot: Any, other: Any = (0, 0, 0), ground: Any = (0, 0, 0)) -> np.ndarray:
    picture = np.empty((*SIZE, 3), np.uint8)
    picture[:], picture[SPOT], picture[OTHER] = ground, spot, other
    return picture


def palette(indices: np.ndarray, *entries: tuple[int, int, int], **saved: Any) -> Any:
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette([level for entry in entries for level in entry])
    return image, saved


def voc(indices: np.ndarray) -> Any:
    entries = [(0, 0, 0), (128, 0, 0), (0, 128, 0), *[(9, 9, 9)] * 252, (224, 224, 192)]
    return palette(indices, *entries)


def through_jpeg(pixels: np.ndarray, quality: int = 75) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def rimmed(rim: int, core: int) -> np.ndarray:
    """Return the spot with a soft edge of one level around it."""
    ring = cv2.dilate(SPOT.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.where(SPOT, core, np.where(ring, rim, 0)).astype(np.uint8)


def soft(sigma: float) -> np.ndarray:
    return np.rint(cv2.GaussianBlur(GREY, (0, 0), sigma)).astype(np.uint8)


def save(path: Path, drawn: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image, saved = drawn if isinstance(drawn, tuple) else (drawn, {})
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    image.save(path, **saved)
    return path


def make_folder(root: Path, drawn: Any, suffix: str = ".png") -> dict[str, Any]:
    """Write a photo with a mask and a good one; return the settings that read them."""
    for name in ("p", "q"):
        save(root / "photos" / f"{name}.png", RNG.integers(90, 150, SIZE, np.uint8))
    save(root / "masks" / f"p{suffix}", drawn)
    return {"format": "folder", "path": f"{root}/photos", "masks": f"{root}/masks"}


def read(settings: dict[str, Any], **more: Any) -> dict[str, np.ndarray]:
    image = load_real(settings | more).images[0]
    return {defect.defect_class: defect.mask for defect in image.defects}


ONE_CLASS: dict[str, Callable[[], Any]] = {
    "0 and 255": lambda: GREY,
    "0 and 1": lambda: levels(1),
    "0 and 254": lambda: levels(254),
    "a small id": lambda: levels(3),
    "1 bit": lambda: Image.fromarray(SPOT),
    "16 bit, 65535": lambda: GREY.astype(np.uint16) * 257,
    "16 bit, 1": lambda: levels(1).astype(np.uint16),
    "grey in three channels": lambda: GREY[..., None].repeat(3, 2),
    "grey with alpha that is the same everywhere": lambda: np.dstack([colours((255,) * 3), FULL]),
    "alpha on white": lambda: np.dstack([WHITE, GREY]),
    "alpha on black": lambda: np.dstack([WHITE * 0, GREY]),
    "alpha, half transparent": lambda: np.dstack([WHITE, GREY // 2]),
    "alpha on a constant grey": lambda: Image.fromarray(np.dstack([FULL, GREY]), "LA"),
    "red on transparent white": lambda: np.dstack(
        [colours((255, 0, 0), (255,) * 3, (255,) * 3), GREY]
    ),
    "white on transparent black": lambda: np.dstack([colours((255,) * 3), GREY]),
    "one colour": lambda: colours((128, 0, 0)),
    "one colour, soft": lambda: np.dstack([rimmed(85, 255), GREY * 0, GREY * 0]),
    "palette": lambda: palette(SPOT, (0, 0, 0), (255, 255, 255)),
    "palette of VOC": lambda: voc(SPOT * 2),
    "palette, black last": lambda: palette(~SPOT, (255, 255, 255), (0, 0, 0)),
    "palette, red first and black last": lambda: palette(~SPOT, (255, 0, 0), (0, 0, 0)),
    "palette, dark and bright": lambda: palette(SPOT, (40, 40, 60), (200, 200, 0)),
    "palette, first transparent": lambda: palette(
        SPOT, (255, 255, 255), (255, 0, 0), transparency=bytes([0, 255])
    ),
    "palette, last transparent": lambda: palette(
        ~SPOT, (255, 0, 0), (255, 255, 255), transparency=bytes([255, 0])
    ),
    "soft edge of one level": lambda: rimmed(85, 255),
    "soft edge of one high level": lambda: np.where(rimmed(85, 255) == 85, 100, GREY),
    "blurred": lambda: soft(0.8),
    "through JPEG": lambda: through_jpeg(GREY),
    "through JPEG, in colour": lambda: through_jpeg(GREY[..., None].repeat(3, 2)),
}


@pytest.mark.parametrize("encoding", ONE_CLASS)
def test_one_class_in_every_encoding(tmp_path, encoding) -> None:
    settings = make_folder(tmp_path, ONE_CLASS[encoding]())
    found = read(settings)
    assert list(found) == ["defect"]
    wrong = int((found["defect"] ^ SPOT).sum())
    assert wrong <= (12 if "JPEG" in encoding or encoding == "blurred" else 0)  # of 240 pixels


@pytest.mark.parametrize("name", ["m.jpg", "m.bmp", "m.tif"])
def test_one_class_in_other_files(tmp_path, name) -> None:
    path = save(tmp_path / name, GREY)
    assert np.array_equal(read_mask(path, SIZE), SPOT)


def test_tiffs_of_booleans_and_of_white_is_zero(tmp_path) -> None:
    path = tmp_path / "m.tif"
    for kind in (SPOT, GREY, GREY.astype(np.uint16) * 257):
        tifffile.imwrite(path, kind, photometric="minisblack")
        assert np.array_equal(read_mask(path, SIZE), SPOT)
        if kind is not SPOT:  # as a viewer shows it
            tifffile.imwrite(path, np.iinfo(kind.dtype).max - kind, photometric="miniswhite")
            assert np.array_equal(read_mask(path, SIZE), SPOT)


EMPTY: dict[str, Callable[[], Any]] = {
    "grey": lambda: GREY * 0,
    "1 bit": lambda: Image.fromarray(SPOT & False),
    "alpha on white": lambda: np.dstack([WHITE, GREY * 0]),
    "palette": lambda: palette(SPOT * 0, (0, 0, 0), (255, 255, 255)),
    "palette, black last": lambda: palette(SPOT * 0 + 1, (255, 255, 255), (0, 0, 0)),
    "JPEG": lambda: through_jpeg(GREY * 0),
}


@pytest.mark.parametrize("encoding", EMPTY)
def test_a_mask_without_a_defect_is_empty(tmp_path, encoding) -> None:
    assert not read_mask(save(tmp_path / "m.png", EMPTY[encoding]()), SIZE).any()
    settings = make_folder(tmp_path, EMPTY[encoding]())
    assert not read(settings)
    assert not read(settings, classes={"scratch": 1 if "last" not in encoding else "#ffffff"})


AMBIGUOUS: dict[str, tuple[Callable[[], Any], str]] = {
    "two small ids": (lambda: levels(1, 2), "values 1, 2"),
    "an id and VOC's border": (lambda: levels(1, 255), "values 1, 255"),
    "two grey classes": (lambda: levels(128, 255), "values 128, 255"),
    "16 bit ids": (lambda: levels(1, 2).astype(np.uint16), "values 1, 2"),
    "ids from 1": (lambda: levels(2, 1, 1), "values 1, 2"),
    "palette of VOC, two classes": (lambda: voc(SPOT + OTHER * 2), "values 1, 2"),
    "palette of VOC, border": (lambda: voc(SPOT + OTHER * 255), "values 1, 255"),
    "palette of VOC, border alone": (lambda: voc(SPOT * 255), "255, which PASCAL VOC"),
    "palette without black": (lambda: palette(SPOT, (255, 255, 255), (255, 0, 0)), "without black"),
    "palette, black in the middle": (
        lambda: palette(1 + SPOT - OTHER, (255, 0, 0), (0, 0, 0), (0, 0, 255)),
        "1 (#000000) is the background",
    ),
    "colours of VOC": (lambda: colours((128, 0, 0), (0, 128, 0)), "#008000, #800000"),
    "colours of CVAT": (lambda: colours((250, 50, 83), (51, 221, 255)), "#33ddff, #fa3253"),
    "a colour on white": (
        lambda: colours((255, 0, 0), ground=(255,) * 3, other=(255,) * 3),
        "no black",
    ),
    "colours on transparent": (
        lambda: np.dstack([colours((255, 0, 0), (0, 0, 255)), (BOTH * 255).astype(np.uint8)]),
        "#0000ff, #ff0000",
    ),
    "two classes through JPEG": (lambda: through_jpeg(levels(128, 255)), "most often"),
}


@pytest.mark.parametrize("encoding", AMBIGUOUS)
def test_what_can_be_meant_in_two_ways_is_refused_and_the_advice_works(tmp_path, encoding) -> None:
    draw, said = AMBIGUOUS[encoding]
    settings = make_folder(tmp_path, draw())
    with pytest.raises(SourceError, match=re.escape(said)) as refused:
        read(settings)
    assert "p.png" in str(refused.value)
    tried = 0
    for advice in advised(str(refused.value)):
        found = read(settings, **advice)
        merged = np.any(list(found.values()), axis=0)
        assert merged[SPOT].mean() > 0.98
        assert merged[~BOTH].mean() < 0.02
        tried += 1
    assert tried


def advised(message: str) -> list[dict[str, Any]]:
    """Return the settings that a message tells to give, as the command line would read them."""
    found = []
    for quoted in re.findall(r"'real\.classes=.*?}'", message):
        _, value = shlex.split(quoted)[0].split("=", 1)
        found.append({"classes": yaml.safe_load(value)})
    for level in re.findall(r"real\.min_mask_level=(\d+)", message):
        found.append({"min_mask_level": int(level)})
    return found


def test_a_heatmap_is_refused_until_a_level_is_given(tmp_path) -> None:
    heat = soft(25).astype(float)
    heat = np.rint(heat * 255 / heat.max()).astype(np.uint8)
    settings = make_folder(tmp_path, heat)
    with pytest.raises(SourceError, match="most often") as refused:
        read(settings)
    (advice,) = advised(str(refused.value))
    assert np.array_equal(read(settings, **advice)["defect"], heat >= advice["min_mask_level"])
    assert 0 < read(settings, **advice)["defect"].mean() < 0.5


def test_advice_survives_the_command_line() -> None:
    from synthgen.config.compose import compose

    config = compose("bank", ["out=x", "real.path=y", 'real.classes={a: "#800000", b: 2}'])
    assert config.real.classes == {"a": "#800000", "b": 2}


@pytest.mark.parametrize(
    "drawn",
    [
        np.dstack([colours((255,) * 3, ground=(9, 9, 9)), (OTHER * 255).astype(np.uint8)]),
        np.dstack([GREY, GREY, GREY, GREY * 0]),
    ],
    ids=["grey and alpha differ", "transparent all over"],
)
def test_alpha_against_the_picture_is_refused(tmp_path, drawn) -> None:
    settings = make_folder(tmp_path, drawn)
    with pytest.raises(SourceError, match=r"p\.png holds .*transparent.*save it with 0"):
        read(settings)
    save(tmp_path / "masks" / "p.png", GREY)  # as advised
    assert np.array_equal(read(settings)["defect"], SPOT)


def test_several_pages_are_refused(tmp_path) -> None:
    second = Image.fromarray((OTHER * 255).astype(np.uint8))
    drawn = Image.fromarray(GREY), {"save_all": True, "append_images": [second]}
    for suffix in (".tif", ".png"):
        root = tmp_path / suffix
        with pytest.raises(SourceError, match=rf"the mask .*p\{suffix} holds 2 pages"):
            read(make_folder(root, drawn, suffix))


CLASSES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "ids": (lambda: levels(1, 2), {"a": 1, "b": 2}),
    "16 bit ids": (lambda: levels(1, 2).astype(np.uint16) * 300, {"a": 300, "b": 600}),
    "indices": (lambda: voc(SPOT + OTHER * 2), {"a": 1, "b": 2}),
    "colours of a palette": (lambda: voc(SPOT + OTHER * 2), {"a": "#800000", "b": "#008000"}),
    "colours": (lambda: colours((250, 50, 83), (51, 221, 255)), {"a": "#fa3253", "b": "#33DDFF"}),
    "greys by colour": (lambda: levels(128, 255), {"a": "#808080", "b": "#ffffff"}),
    "greys of a palette": (
        lambda: palette(SPOT + OTHER * 2, (0, 0, 0), (128,) * 3, (255,) * 3),
        {"a": 128, "b": 255},
    ),
}


@pytest.mark.parametrize("encoding", CLASSES)
def test_classes_by_value_and_by_colour(tmp_path, encoding) -> None:
    draw, classes = CLASSES[encoding]
    found = read(make_folder(tmp_path, draw()), classes=classes)
    assert np.array_equal(found["a"], SPOT)
    assert np.array_equal(found["b"], OTHER)


@pytest.mark.parametrize("value", [1, 255])
def test_the_ones_of_1_bit_are_1_and_255(tmp_path, value) -> None:
    settings = make_folder(tmp_path, Image.fromarray(SPOT))
    assert np.array_equal(read(settings, classes={"scratch": value})["scratch"], SPOT)


def test_2_bit_values_are_those_of_the_file_or_as_they_are_shown(tmp_path) -> None:
    settings = make_folder(tmp_path, GREY)
    indices = (SPOT + OTHER * 2).astype(np.uint8)
    rows = np.packbits(np.unpackbits(indices[..., None], axis=2)[..., 6:].reshape(SIZE[0], -1), 1)
    packed = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 2, 0, 0, 0, 0)  # 2 bits of grey
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(packed)), (b"IEND", b"")]
    png = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    (tmp_path / "masks" / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
    for classes in ({"a": 1, "b": 2}, {"a": 85, "b": 170}):
        found = read(settings, classes=classes)
        assert np.array_equal(found["a"], SPOT)
        assert np.array_equal(found["b"], OTHER)


def test_no_value_of_a_mask_is_named(tmp_path) -> None:
    settings = make_folder(tmp_path, levels(1, 2))
    with pytest.raises(
        SourceError, match=r"no mask holds a value of real\.classes; .*1 in 1 masks"
    ):
        read(settings, classes={"scratch": 7})
    save(tmp_path / "masks" / "p.png", GREY)
    with pytest.raises(SourceError, match=r"255 alone, which real\.classes does not name"):
        read(settings, classes={"scratch": 1})


def test_values_that_are_not_named_are_told(tmp_path) -> None:
    settings = make_folder(tmp_path, levels(1, 4)) | {"classes": {"scratch": 1}}
    assert any("no defect: 4 in 1 masks" in note for note in load_real(settings).notes)
    assert list(read(settings)) == ["scratch"]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_classes_that_jpeg_has_mixed_are_refused(tmp_path, suffix) -> None:
    settings = make_folder(tmp_path, through_jpeg(levels(128, 255)), suffix)
    with pytest.raises(SourceError, match="cannot be told apart; save it as PNG"):
        read(settings, classes={"a": 128, "b": 255})
    save(tmp_path / "masks" / f"p{suffix}", through_jpeg(levels(0, 255)))
    found = read(settings, classes={"b": 255})  # one class has nothing to be mixed with
    assert (found["b"] ^ OTHER).sum() <= 12


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_colours_that_jpeg_has_blended_are_refused(tmp_path, suffix) -> None:
    settings = make_folder(tmp_path, through_jpeg(colours((128, 0, 0), (0, 128, 0))), suffix)
    for classes in ({"a": "#800000", "b": "#008000"}, {"a": "#800000"}, None):
        with pytest.raises(SourceError, match=r"the mask .* holds "):
            read(settings, classes=classes)


def test_a_class_that_is_nothing_but_a_soft_edge_is_refused(tmp_path) -> None:
    settings = make_folder(tmp_path, rimmed(85, 255))
    with pytest.raises(SourceError, match=r"only as the soft edge .*\{scratch: 255\}"):
        read(settings, classes={"scratch": 85})
    assert np.array_equal(read(settings, classes={"scratch": 255})["scratch"], SPOT)


def test_a_value_that_the_palette_shows_as_background_is_refused(tmp_path) -> None:
    settings = make_folder(tmp_path, palette(~SPOT, (255, 255, 255), (0, 0, 0)))
    with pytest.raises(SourceError, match="value 1 as background") as refused:
        read(settings, classes={"scratch": 1})
    (advice,) = advised(str(refused.value))
    assert np.array_equal(read(settings, **advice)["scratch"], SPOT)


@pytest.mark.parametrize(
    ("first", "second"),
    [(levels(1), levels(0, 2)), (colours((128, 0, 0)), colours((0, 0, 0), (0, 128, 0)))],
    ids=["ids", "colours"],
)
def test_one_class_in_one_file_and_another_in_the_next(tmp_path, first, second) -> None:
    settings = make_folder(tmp_path, first)
    save(tmp_path / "masks" / "q.png", second)
    with pytest.raises(SourceError, match=r"p\.png holds .*q\.png holds") as refused:
        read(settings)
    for advice in advised(str(refused.value)):
        read(settings, **advice)
    save(tmp_path / "masks" / "p.png", levels(255))
    save(tmp_path / "masks" / "q.png", levels(0, 254))
    assert all(len(image.defects) == 1 for image in load_real(settings).images)


def test_min_mask_level_decides_for_one_class(tmp_path) -> None:
    settings = make_folder(tmp_path, levels(1, 2))
    assert np.array_equal(read(settings, min_mask_level=1)["defect"], BOTH)
    assert np.array_equal(read(settings, min_mask_level=2)["defect"], OTHER)
    with pytest.raises(ConfigError, match="exclude each other"):
        read(settings, min_mask_level=1, classes={"a": 1})


@pytest.mark.parametrize("value", [0, -1, 70000, "red", "#12345", "#gggggg"])
def test_values_that_no_mask_can_hold(value) -> None:
    with pytest.raises(ConfigError, match=r"real\.classes\.scratch"):
        MaskReader({"scratch": value})


def test_a_mask_that_lies_as_its_photo_is_stored(tmp_path) -> None:
    settings = make_folder(tmp_path, GREY)
    (tmp_path / "photos" / "p.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = RNG.integers(90, 150, SIZE, np.uint8)
    photo = tmp_path / "photos" / "p.jpg"
    save(photo, (Image.fromarray(stored), {"exif": exif.tobytes()}))
    with pytest.raises(ShapeError, match="take the orientation out of the image"):
        read(settings)
    save(photo, stored)  # as advised
    assert np.array_equal(read(settings)["defect"], SPOT)


def test_a_mask_that_is_turned_like_its_photo(tmp_path) -> None:
    settings = make_folder(tmp_path, GREY)
    (tmp_path / "photos" / "p.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = {"exif": exif.tobytes()}
    save(tmp_path / "photos" / "p.jpg", (Image.fromarray(GREY), turned))
    for drawn in (Image.fromarray(GREY), palette(SPOT, (0, 0, 0), (255, 255, 255))[0]):
        save(tmp_path / "masks" / "p.png", (drawn, turned))
        assert np.array_equal(read(settings)["defect"], np.rot90(SPOT, -1))


def test_a_mask_that_fits_either_way_is_told(tmp_path) -> None:
    settings = make_folder(tmp_path, GREY)
    (tmp_path / "photos" / "p.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 3
    save(tmp_path / "photos" / "p.jpg", (Image.fromarray(GREY), {"exif": exif.tobytes()}))
    assert any("1 photos are turned by EXIF" in note for note in load_real(settings).notes)


@pytest.mark.parametrize("kind", ["legal", "illegal"])
def test_masks_of_sources_are_read_alike(tmp_path, kind) -> None:
    save(tmp_path / "photos" / "a.png", RNG.integers(0, 256, SIZE, np.uint8))
    for drawn in (
        np.dstack([WHITE, GREY]),
        palette(~SPOT, (255, 255, 255), (0, 0, 0)),
        levels(1),
        Image.fromarray(SPOT),
    ):
        save(tmp_path / kind / "a.png", drawn)
        sources = FolderSources(
            str(tmp_path / "photos"), foreground="all", **{kind: str(tmp_path / kind)}
        )
        allowed = sources.part(sources.read("a")).allowed
        assert np.array_equal(allowed, SPOT if kind == "legal" else ~SPOT)
    save(tmp_path / kind / "a.png", levels(1, 2))
    with pytest.raises(ConfigError, match=r"values 1, 2; save it with 0 for background and 255"):
        FolderSources(
            str(tmp_path / "photos"), foreground="all", **{kind: str(tmp_path / kind)}
        ).part(sources.read("a"))


def test_masks_of_mvtec_are_read_alike(tmp_path) -> None:
    save(tmp_path / "train" / "good" / "0.png", GREY)
    save(tmp_path / "test" / "scratch" / "0.png", GREY)
    mask = tmp_path / "ground_truth" / "scratch" / "0_mask.png"
    settings = {"format": "mvtec", "path": str(tmp_path)}
    save(mask, np.dstack([WHITE, GREY]))
    image = next(image for image in load_real(settings).images if image.defects)
    assert np.array_equal(image.defects[0].mask, SPOT)
    save(mask, levels(1, 2))
    with pytest.raises(SourceError, match="values 1, 2"):
        load_real(settings)
    image = next(i for i in load_real(settings | {"min_mask_level": 1}).images if i.defects)
    assert np.array_equal(image.defects[0].mask, BOTH)


def advised_level(message: object) -> int:
    """Return the min_mask_level that a message advises."""
    level = re.search(r"min_mask_level=(\d+)", str(message))
    assert level is not None
    return int(level[1])


@pytest.mark.parametrize("drawn", [255 - GREY, FULL, Image.fromarray(~SPOT), levels(0, 0, 1)])
def test_an_inverted_mask_is_refused_and_the_advice_works(tmp_path, drawn) -> None:
    save(tmp_path / "photos" / "a.png", GREY)
    save(tmp_path / "masks" / "a.png", drawn)
    settings = {"path": str(tmp_path / "photos"), "masks": str(tmp_path / "masks")}
    with pytest.raises(SourceError, match="up to the border: invert it") as raised:
        load_real(settings)
    (found,) = load_real({**settings, "min_mask_level": advised_level(raised.value)}).images
    assert np.array_equal(found.defects[0].mask, np.asarray(drawn) > 0)


def test_a_white_is_zero_mask_that_is_inverted(tmp_path) -> None:
    save(tmp_path / "photos" / "a.png", GREY)
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(tmp_path / "masks" / "a.tif", GREY, photometric="miniswhite")
    with pytest.raises(SourceError, match="marks 98% of its image"):
        load_real({"path": str(tmp_path / "photos"), "masks": str(tmp_path / "masks")})


def instances(count: int, first: int = 1, side: int = 3) -> np.ndarray:
    """Return parts that have a number each, as tools for cells and grains write them."""
    mask = np.zeros(SIZE, np.uint16)
    for number in range(count):
        row, column = divmod(number, 15)
        mask[9 * row + 2 : 9 * row + 2 + side, 9 * column + 2 : 9 * column + 2 + side] = (
            first + number
        )
    return mask


@pytest.mark.parametrize("drawn", [instances(100), instances(30, 200), instances(5, 90)])
def test_numbered_instances_are_refused_and_the_advice_keeps_them_all(tmp_path, drawn) -> None:
    save(tmp_path / "photos" / "a.png", GREY)
    save(tmp_path / "masks" / "a.png", drawn)
    settings = {"path": str(tmp_path / "photos"), "masks": str(tmp_path / "masks")}
    with pytest.raises(SourceError, match="min_mask_level") as raised:
        load_real(settings)
    (found,) = load_real({**settings, "min_mask_level": advised_level(raised.value)}).images
    assert np.array_equal(found.defects[0].mask, drawn > 0)


def test_a_part_that_is_weak_all_over_is_not_lost(tmp_path) -> None:
    drawn = levels(255)
    drawn[60, 40:120] = 255  # a scratch
    weak = cv2.GaussianBlur(drawn, (0, 0), 1.5)
    save(tmp_path / "m.png", weak)
    with pytest.raises(SourceError, match=r"1 would be lost .* real\.min_mask_level=") as raised:
        read_mask(tmp_path / "m.png", SIZE)
    assert read_mask(tmp_path / "m.png", SIZE, min_level=advised_level(raised.value))[
        60, 45:115
    ].all()


def test_the_border_that_voc_draws_around_a_small_object(tmp_path) -> None:
    ring = cv2.dilate(SPOT.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    image, _ = voc(np.where(SPOT, 1, np.where(ring, 255, 0)))
    save(tmp_path / "m.png", image)
    found = MaskReader({"dent": 1}).read(tmp_path / "m.png", SIZE, "x", save_photo(tmp_path))
    assert np.array_equal(found["dent"], SPOT)


def test_colours_of_16_bit_are_told_apart(tmp_path) -> None:
    picture = colours((255, 0, 0), (0, 255, 0)).astype(np.uint16) * 257
    path = tmp_path / "m.png"
    cv2.imwrite(str(path), picture[..., ::-1])
    classes = {"dent": "#ff0000", "crack": "#00ff00"}
    found = MaskReader(classes).read(path, SIZE, "x", save_photo(tmp_path))
    assert np.array_equal(found["dent"], SPOT)
    assert np.array_equal(found["crack"], OTHER)
    picture[OTHER] = (65534, 0, 0)
    cv2.imwrite(str(path), picture[..., ::-1])
    with pytest.raises(SourceError, match="8 bits a channel"):
        read_mask(path, SIZE)


def save_photo(folder: Path) -> Path:
    save(folder / "photo.png", GREY)
    return folder / "photo.png"
