from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from synthgen.errors import RunError, ShapeError, SourceError
from synthgen.imaging.images import composite, grey_window, read_image, to_rgb8, write_png
from synthgen.realdata.masks import read_mask
from tests.pngs import with_chunk

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (40, 56), np.uint8)
RGB8 = RNG.integers(0, 256, (40, 56, 3), np.uint8)
GREY16 = RNG.integers(900, 9000, (40, 56), np.uint16)
RGB16 = RNG.integers(900, 9000, (40, 56, 3), np.uint16)
ALL = [GREY8, RGB8, GREY16, RGB16]


def save(path: Path, pixels: np.ndarray) -> Path:
    cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("pixels", ALL, ids=["grey8", "rgb8", "grey16", "rgb16"])
def test_lossless_formats_come_back_exactly(tmp_path, suffix, pixels) -> None:
    read = read_image(save(tmp_path / f"x{suffix}", pixels))
    assert read.dtype == pixels.dtype
    assert np.array_equal(read, pixels)


@pytest.mark.parametrize("pixels", [GREY8, RGB8], ids=["grey", "rgb"])
def test_bmp(tmp_path, pixels) -> None:
    assert np.array_equal(read_image(save(tmp_path / "x.bmp", pixels)), pixels)


def test_jpeg_orientation_is_applied(tmp_path) -> None:
    image = Image.new("RGB", (60, 40), (10, 10, 10))
    image.paste((250, 0, 0), (0, 0, 30, 40))
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees clockwise
    image.save(tmp_path / "x.jpg", exif=exif, quality=95)
    read = read_image(tmp_path / "x.jpg")
    assert read.shape == (60, 40, 3)
    assert read[5, 20, 0] > 200
    assert read[55, 20, 0] < 60


def test_palette_alpha_and_one_bit(tmp_path) -> None:
    Image.fromarray(RGB8).quantize(16).save(tmp_path / "p.png")
    Image.fromarray(np.dstack([RGB8, GREY8])).save(tmp_path / "a.png")
    Image.fromarray(GREY8 > 99).save(tmp_path / "b.png")
    assert read_image(tmp_path / "p.png").shape == (40, 56, 3)
    assert np.array_equal(read_image(tmp_path / "a.png"), RGB8)
    assert np.array_equal(read_image(tmp_path / "b.png"), (GREY8 > 99) * np.uint8(255))


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif"])
def test_a_broken_file_is_one_sentence(tmp_path, name) -> None:
    whole = save(tmp_path / name, RGB8).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=name):
        read_image(tmp_path / name)
    (tmp_path / name).write_text("no image")
    with pytest.raises(SourceError, match="cannot be read"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("pixels", ALL, ids=["grey8", "rgb8", "grey16", "rgb16"])
def test_composite_changes_nothing_outside(pixels) -> None:
    window = grey_window(pixels)
    image = to_rgb8(pixels, window)
    painted = RNG.integers(0, 256, image.shape, np.uint8)
    mask = RNG.random(image.shape[:2]) < 0.3
    result = composite(pixels, window, image, painted, mask)
    assert result.dtype == pixels.dtype
    assert result.shape == pixels.shape
    assert np.array_equal(result[~mask], pixels[~mask])
    if pixels.dtype == np.uint8 and pixels.ndim == 3:
        assert np.array_equal(result[mask], painted[mask])
    assert np.array_equal(composite(pixels, window, image, image, mask), pixels)


def test_composite_in_16_bit_keeps_the_step() -> None:
    pixels = np.full((8, 8), 2000, np.uint16)
    pixels[0] = 1000
    pixels[1] = 3000
    window = (1000.0, 3000.0)
    image = to_rgb8(pixels, window)
    painted = image.copy()
    painted[4, 4] = image[4, 4] + 51
    mask = np.zeros((8, 8), bool)
    mask[4, 4] = True
    assert composite(pixels, window, image, painted, mask)[4, 4] == 2400


def test_composite_refuses_another_size() -> None:
    with pytest.raises(ShapeError):
        composite(RGB8, (0, 255), RGB8, RGB8[:10], RGB8[..., 0] > 0)


@pytest.mark.parametrize("pixels", ALL, ids=["grey8", "rgb8", "grey16", "rgb16"])
def test_written_and_read_are_equal(tmp_path, pixels) -> None:
    write_png(tmp_path / "new" / "x.png", pixels)
    assert np.array_equal(read_image(tmp_path / "new" / "x.png"), pixels)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["x.png"]


def test_where_nothing_can_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*x\.png"):
        write_png(tmp_path / "file" / "x.png", GREY8)


def test_mask_of_another_size(tmp_path) -> None:
    save(tmp_path / "m.png", (GREY8 > 99) * np.uint8(255))
    assert np.array_equal(read_mask(tmp_path / "m.png", (40, 56)), GREY8 > 99)
    with pytest.raises(ShapeError, match=r"40 x 56 px .* 80 x 56"):
        read_mask(tmp_path / "m.png", (80, 56))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_alpha_is_dropped(tmp_path, suffix) -> None:
    bgra = np.dstack([RGB16[..., ::-1], GREY16])
    cv2.imwrite(str(tmp_path / f"x{suffix}"), bgra)
    assert np.array_equal(read_image(tmp_path / f"x{suffix}"), RGB16)


def test_16_bit_grey_with_alpha_stays_grey(tmp_path) -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in np.dstack([GREY16, GREY16]).astype(">u2"))
    png = b"\x89PNG\r\n\x1a\n" + bytes(25)
    for kind, body in (
        (b"IEND", b""),
        (b"IDAT", zlib.compress(rows)),
        (b"IHDR", struct.pack(">IIBBBBB", 56, 40, 16, 4, 0, 0, 0)),
    ):
        png = with_chunk(png, kind, body)
    (tmp_path / "x.png").write_bytes(png[:8] + png[33:])
    assert np.array_equal(read_image(tmp_path / "x.png"), GREY16)


def test_16_bit_under_another_formats_name_is_not_cut_to_8(tmp_path) -> None:
    save(tmp_path / "x.png", RGB16).rename(tmp_path / "x.tif")
    assert np.array_equal(read_image(tmp_path / "x.tif"), RGB16)


def test_grey_jpeg_stays_grey(tmp_path) -> None:
    Image.fromarray(np.full((40, 56), 77, np.uint8)).save(tmp_path / "x.jpg")
    assert np.array_equal(read_image(tmp_path / "x.jpg"), np.full((40, 56), 77))


def test_palette_with_transparency_keeps_its_colours(tmp_path) -> None:
    palette = Image.fromarray(RGB8).quantize(8)
    palette.save(tmp_path / "x.png", transparency=bytes([0, 128, 255]))
    assert np.array_equal(read_image(tmp_path / "x.png"), np.asarray(palette.convert("RGB")))


def test_a_bad_exif_block_does_not_cost_the_photo(tmp_path) -> None:
    Image.fromarray(RGB8).save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert read_image(tmp_path / "x.jpg").shape == RGB8.shape


@pytest.mark.parametrize("pixels", [GREY8, RGB8], ids=["grey", "rgb"])
def test_floating_point_tiff_says_what_is_accepted(tmp_path, pixels) -> None:
    path = save(tmp_path / "x.tif", pixels.astype(np.float32))
    with pytest.raises(SourceError, match=r"x\.tif .*8 or 16 bit integers"):
        read_image(path)


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
@pytest.mark.parametrize("pixels", [GREY16, RGB16], ids=["grey", "rgb"])
def test_a_truncated_16_bit_file_is_one_sentence(tmp_path, name, pixels, capfd) -> None:
    whole = save(tmp_path / name, pixels).read_bytes()
    for kept in (0.3, 0.6, 0.95):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * kept)])
        with pytest.raises(SourceError, match=name):
            read_image(tmp_path / name)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("pixels", ALL, ids=["grey8", "rgb8", "grey16", "rgb16"])
def test_composite_adds_the_change_in_native_units(pixels) -> None:
    window = grey_window(pixels)
    image = to_rgb8(pixels, window)
    everywhere = np.ones(image.shape[:2], bool)
    painted = RNG.integers(0, 256, image.shape, np.uint8)
    change = (painted.astype(float) - image) * (window[1] - window[0]) / 255
    if pixels.ndim == 2:
        change = change @ [0.299, 0.587, 0.114]
    wanted = np.clip(pixels + change, 0, np.iinfo(pixels.dtype).max)
    result = composite(pixels, window, image, painted, everywhere)
    assert np.abs(result - wanted).max() <= 0.51  # rounding, once


@pytest.mark.parametrize("pixels", [GREY8, GREY16], ids=["8", "16"])
def test_composite_keeps_a_grey_photo_of_three_channels_grey(pixels) -> None:
    three = np.repeat(pixels[..., None], 3, axis=2)
    window = grey_window(pixels)
    painted = RNG.integers(0, 256, three.shape, np.uint8)
    mask = RNG.random(pixels.shape) < 0.3
    grey = composite(pixels, window, to_rgb8(pixels, window), painted, mask)
    result = composite(three, window, to_rgb8(three, window), painted, mask)
    assert np.array_equal(result, np.repeat(grey[..., None], 3, axis=2))
    assert not np.array_equal(grey, pixels)


def test_composite_refuses_a_mask_of_another_size() -> None:
    with pytest.raises(ShapeError, match="one height and width"):
        composite(RGB8, (0, 255), RGB8, RGB8, np.ones((40, 57), bool))


def test_windows() -> None:
    assert grey_window(GREY8) == (0, 255)
    low, high = grey_window(GREY16)
    assert 900 <= low < 1000
    assert 8900 < high <= 9000
    assert grey_window(np.full((9, 9), 7, np.uint16)) == (7, 8)


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch) -> None:
    write_png(tmp_path / "x.png", GREY8)

    def refuse(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("synthgen.storage.files.os.replace", refuse)
    with pytest.raises(RunError, match=r"x\.png: No space left on device"):
        write_png(tmp_path / "x.png", RGB16)
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
    assert np.array_equal(read_image(tmp_path / "x.png"), GREY8)


def test_an_unreadable_mask_names_its_file(tmp_path) -> None:
    (tmp_path / "m.png").write_text("no image")
    with pytest.raises(SourceError, match=r"m\.png"):
        read_mask(tmp_path / "m.png", (40, 56))


def test_a_mask_of_0_and_1_is_a_mask(tmp_path) -> None:
    save(tmp_path / "m.png", (GREY8 > 99).astype(np.uint8))
    assert np.array_equal(read_mask(tmp_path / "m.png", (40, 56)), GREY8 > 99)
    save(tmp_path / "empty.png", np.zeros_like(GREY8))
    assert not read_mask(tmp_path / "empty.png", (40, 56)).any()
