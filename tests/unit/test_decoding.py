"""Image files as cameras and tools write them: the file's own pixels, or a sentence."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngImageFile

from synthgen.errors import SourceError
from synthgen.imaging import decoding, headers
from synthgen.imaging.decoding import read_opaque
from synthgen.imaging.headers import check_image, read_orientation, read_size
from synthgen.imaging.images import composite, grey_window, read_image, to_rgb8
from synthgen.imaging.levels import find_levels
from synthgen.realdata.read import load_real
from synthgen.sources import FolderSources
from tests.pngs import with_chunk

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (40, 56), np.uint8)
RGB8 = RNG.integers(0, 256, (40, 56, 3), np.uint8)
GREY16 = RNG.integers(900, 60000, (40, 56), np.uint16)
RGB16 = RNG.integers(900, 60000, (40, 56, 3), np.uint16)
ALPHA8 = RNG.integers(0, 256, (40, 56), np.uint8)
ALL = {"grey8": GREY8, "rgb8": RGB8, "grey16": GREY16, "rgb16": RGB16}
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}


def write_tiff(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(path, pixels, **{"photometric": kind} | options)
    return path


def same(path: Path, pixels: np.ndarray) -> bool:
    read = read_image(path)
    return read.dtype == pixels.dtype and np.array_equal(read, pixels)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "options",
    [
        {"byteorder": ">"},
        {"bigtiff": True},
        {"tile": (16, 16)},
        {"compression": "lzw"},
        {"compression": "lzw", "predictor": True},
        {"compression": "deflate", "predictor": True, "tile": (16, 16)},
        {"compression": "packbits"},
        {"compression": "zstd"},
        {"compression": "lzma"},
    ],
    ids=str,
)
def test_every_layout_of_a_tiff_gives_the_same_pixels(tmp_path, name, options) -> None:
    path = write_tiff(tmp_path / "x.tif", ALL[name], **options)
    assert same(path, ALL[name])
    assert read_size(path) == (40, 56)


@pytest.mark.parametrize("compression", [None, "lzw", "deflate"])
@pytest.mark.parametrize("pixels", [RGB8, RGB16], ids=["8", "16"])
def test_planes_that_lie_apart(tmp_path, pixels, compression) -> None:
    planes = pixels.transpose(2, 0, 1)
    options = {"planarconfig": "separate", "compression": compression}
    assert same(write_tiff(tmp_path / "x.tif", planes, **options), pixels)
    four = np.concatenate([planes, planes[:1]])
    options["extrasamples"] = ["unassalpha"]
    assert same(write_tiff(tmp_path / "y.tif", four, **options), pixels)


@pytest.mark.parametrize("compression", [None, "lzw", "zstd"])
def test_white_is_zero_has_one_polarity_in_all_depths(tmp_path, compression) -> None:
    options = {"photometric": "miniswhite", "compression": compression}
    for pixels in (GREY8, GREY16):
        path = write_tiff(tmp_path / "x.tif", pixels, **options)
        assert same(path, np.iinfo(pixels.dtype).max - pixels)
    write_tiff(tmp_path / "x.tif", GREY8 > 99, photometric="miniswhite")
    assert same(tmp_path / "x.tif", (GREY8 <= 99) * np.uint8(255))


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("pixels", [GREY16, RGB16], ids=["grey", "rgb"])
def test_packed_bits_come_as_tifffile_gives_them(tmp_path, bits, pixels) -> None:
    pytest.importorskip("imagecodecs")
    levels = pixels >> (16 - bits)
    assert same(write_tiff(tmp_path / "x.tif", levels, bitspersample=bits), levels)
    path = write_tiff(
        tmp_path / "y.tif", levels, bitspersample=bits, extratags=[(274, 3, 1, 6, True)]
    )
    assert same(path, TURNS[6](levels))
    assert read_size(path) == (56, 40)


def test_a_tiff_that_needs_a_codec_says_which(tmp_path, monkeypatch) -> None:
    pytest.importorskip("imagecodecs")
    path = write_tiff(tmp_path / "x.tif", GREY16 >> 6, bitspersample=10)

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("packints_decode of 10-bit integers requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", refuse)  # as where it is not installed
    with pytest.raises(SourceError, match=r"x\.tif .*pip install imagecodecs, or save it"):
        read_image(path)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (GREY8.astype(np.int8), "signed"),
        (GREY16.astype(np.int16), "signed"),
        (RGB16.astype(np.int16), "signed"),
        (GREY16.astype(np.int32), "signed"),
        (GREY16.astype(np.uint32), "32 bit"),
        (GREY8.astype(np.float16), "floating point"),
        (GREY8.astype(np.float32), "floating point"),
        (RGB8.astype(np.float32), "floating point"),
        (GREY8.astype(np.float64), "floating point"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype}{value.ndim}",
)
def test_levels_that_are_not_8_or_16_bit_integers_are_refused(tmp_path, pixels, said) -> None:
    path = write_tiff(tmp_path / "x.tif", pixels)
    for read in (read_image, read_size, check_image):  # the header alone says so
        with pytest.raises(SourceError, match=rf"x\.tif holds {said} pixels; save it as PNG"):
            read(path)


def test_colours_that_are_neither_grey_nor_rgb(tmp_path) -> None:
    inks = RNG.integers(0, 65536, (40, 56, 4), np.uint16)
    write_tiff(tmp_path / "ink.tif", inks, photometric="separated")
    write_tiff(tmp_path / "lab.tif", RGB16, photometric="cielab")
    for name in ("ink.tif", "lab.tif"):
        with pytest.raises(SourceError, match=rf"{name} .*neither grey nor RGB"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["x.jpg", "x.tif"])
def test_cmyk_comes_as_pillow_gives_it(tmp_path, name) -> None:
    Image.fromarray(RGB8).convert("CMYK").save(tmp_path / name)  # a JPEG's are Adobe's, inverted
    wanted = np.asarray(Image.open(tmp_path / name).convert("RGB"))
    assert same(tmp_path / name, wanted)
    if name == "x.tif":  # without loss, and without black ink
        assert np.abs(wanted.astype(int) - RGB8).max() <= 1


def test_ycbcr_and_jpeg_in_a_tiff_come_as_pillow_gives_them(tmp_path) -> None:
    Image.fromarray(RGB8).save(tmp_path / "x.tif", compression="jpeg")
    assert same(tmp_path / "x.tif", np.asarray(Image.open(tmp_path / "x.tif").convert("RGB")))
    Image.fromarray(RGB8).convert("YCbCr").save(tmp_path / "y.tif")
    assert np.abs(read_image(tmp_path / "y.tif").astype(int) - RGB8).max() <= 3


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif"])
def test_a_colour_profile_changes_no_level(tmp_path, name) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.fromarray(RGB8).save(tmp_path / name, quality=95)
    plain = read_image(tmp_path / name)
    Image.fromarray(RGB8).save(tmp_path / name, quality=95, icc_profile=profile)
    assert same(tmp_path / name, plain)


@pytest.mark.parametrize("pixels", ALL.values(), ids=ALL)
def test_alpha_is_dropped_and_pixels_under_it_are_the_files_own(tmp_path, pixels) -> None:
    alpha = ALPHA8 if pixels.dtype == np.uint8 else ALPHA8.astype(np.uint16) * 257
    layers = np.dstack([pixels, alpha])
    write_tiff(
        tmp_path / "x.tif",
        layers,
        photometric="rgb" if pixels.ndim == 3 else "minisblack",
        extrasamples=["unassalpha"],
        planarconfig="contig",
    )
    assert same(tmp_path / "x.tif", pixels)
    if pixels.ndim == 3:
        cv2.imwrite(str(tmp_path / "x.png"), layers[..., [2, 1, 0, 3]])
        assert same(tmp_path / "x.png", pixels)
        assert np.array_equal(read_opaque(tmp_path / "x.png"), ALPHA8 >= 250)
    elif pixels.dtype == np.uint8:
        Image.fromarray(layers, "LA").save(tmp_path / "x.png")
        assert same(tmp_path / "x.png", pixels)


def with_exif(png: bytes, orientation: int, *, is_behind: bool = False) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return with_chunk(png, b"eXIf", exif.tobytes()[6:], is_behind=is_behind)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("pixels", ALL.values(), ids=ALL)
def test_orientations_of_png_and_tiff(tmp_path, pixels, orientation) -> None:
    wanted = TURNS[orientation](pixels)
    tags = [(274, 3, 1, orientation, True)]
    write_tiff(tmp_path / "x.tif", pixels, extratags=tags)
    write_tiff(tmp_path / "y.tif", pixels, extratags=tags, compression="zstd")
    order = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    png = cv2.imencode(".png", order)[1].tobytes()
    (tmp_path / "x.png").write_bytes(with_exif(png, orientation))
    for name in ("x.tif", "y.tif", "x.png"):
        assert same(tmp_path / name, wanted)
        assert read_size(tmp_path / name) == wanted.shape[:2]
        assert read_orientation(tmp_path / name) == orientation


@pytest.mark.parametrize("name", ["x.tif", "x.png", "x.gif", "x.webp"])
def test_several_pages_or_frames_are_refused(tmp_path, name) -> None:
    pages = [Image.fromarray(RGB8), Image.fromarray(255 - RGB8), Image.fromarray(RGB8 // 2)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    for read in (read_image, read_size, check_image):
        with pytest.raises(SourceError, match=rf"{name} holds 3 pages.*save each as a file"):
            read(tmp_path / name)
    pages[0].save(tmp_path / name)  # as advised
    assert read_image(tmp_path / name).shape == RGB8.shape


def test_volumes_and_pages_of_16_bit_are_refused(tmp_path) -> None:
    stack = np.stack([GREY16, GREY16 // 2])
    tifffile.imwrite(tmp_path / "pages.tif", stack, photometric="minisblack")
    tifffile.imwrite(
        tmp_path / "volume.tif",
        stack,
        photometric="minisblack",
        volumetric=True,
        tile=(2, 16, 16),
    )
    for name in ("pages.tif", "volume.tif"):
        with pytest.raises(SourceError, match=f"{name} holds 2 pages"):
            read_image(tmp_path / name)


def test_smaller_versions_of_a_page_are_no_pages(tmp_path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(RGB16, photometric="rgb")
        file.write(RGB16[::2, ::2], photometric="rgb", subfiletype=1)
    assert same(tmp_path / "x.tif", RGB16)


def test_a_preview_in_a_jpeg_is_no_picture_but_a_second_photo_is(tmp_path) -> None:
    first, second = Image.fromarray(RGB8), Image.fromarray(255 - RGB8)
    small = second.resize((14, 10))
    first.save(tmp_path / "alone.jpg")
    first.save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[small])
    assert same(tmp_path / "x.jpg", read_image(tmp_path / "alone.jpg"))
    first.save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[second])
    with pytest.raises(SourceError, match=r"x\.jpg holds 2 pages"):
        read_image(tmp_path / "x.jpg")


@pytest.mark.parametrize("pixels", [GREY8, RGB16], ids=["pillow", "opencv"])
def test_too_many_pixels_are_a_sentence(tmp_path, monkeypatch, pixels) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), pixels)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 40 * 56)
    headers._read_head_once.cache_clear()
    assert read_image(tmp_path / "x.png").shape[:2] == (40, 56)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 40 * 56 - 1)
    headers._read_head_once.cache_clear()
    for read in (read_image, read_size, check_image):
        with pytest.raises(SourceError, match=r"x\.png has 40 x 56 px .*cut it into tiles"):
            read(tmp_path / "x.png")


@pytest.mark.parametrize("side", [13_000, 20_000])  # Pillow itself refuses the second
def test_a_huge_png_is_told_by_its_header(tmp_path, side) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = [header, body, b"IEND"]
    png = b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks
    )
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
    with pytest.raises(SourceError, match=r"huge\.png has .* megapixels; images of up to 100"):
        read_size(tmp_path / "huge.png")
    with pytest.raises(SourceError, match=r"none of the 1 image files .*huge\.png has"):
        FolderSources(str(tmp_path))


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.98])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd"])
@pytest.mark.parametrize("pixels", [RGB8, GREY16, RGB16], ids=["rgb8", "grey16", "rgb16"])
def test_a_tiff_that_is_cut_off(tmp_path, pixels, compression, kept) -> None:
    large = np.tile(pixels, (4, 4) + (1,) * (pixels.ndim - 2))
    path = write_tiff(tmp_path / "x.tif", large, compression=compression)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(SourceError, match=r"x\.tif"):
        read_image(path)


LEFT = (GREY16 >> 4) << 4
DEPTHS: dict[str, tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]] = {
    "12 bit, left": (LEFT, lambda v: v % 16 == 0),
    "12 bit, left, in colour": ((RGB16 >> 4) << 4, lambda v: v % 16 == 0),
    "12 bit, left, dark level of 8": (LEFT | 8, lambda v: v % 16 == 8),
    "10 bit, left": ((GREY16 >> 6) << 6, lambda v: v % 64 == 0),
    "12 bit, repeated": (LEFT | (GREY16 >> 12), lambda v: v & 15 == v >> 12),
    "8 bit in 16": ((GREY16 >> 8) * 257, lambda v: v % 257 == 0),
    "12 bit, scaled": (
        np.rint((GREY16 >> 4) * (65535 / 4095)).astype(np.uint16),
        lambda v: np.rint(np.rint(v * (4095 / 65535)) * (65535 / 4095)) == v,
    ),
    "12 bit, right": (GREY16 >> 4, lambda v: v < 4096),
    "10 bit, right, saturated": (np.maximum(GREY16 >> 6, 900), lambda v: v < 1024),
    "4 bit in 8": ((GREY8 >> 4) * 17, lambda v: v % 17 == 0),
}


@pytest.mark.parametrize("depth", DEPTHS)
def test_painted_pixels_keep_to_the_levels_of_the_camera(depth) -> None:
    pixels, is_level = DEPTHS[depth]
    window = grey_window(pixels)
    image = to_rgb8(pixels, window)
    painted = RNG.integers(0, 256, image.shape, np.uint8)
    mask = RNG.random(image.shape[:2]) < 0.5
    result = composite(pixels, window, image, painted, mask)
    assert is_level(pixels).all()
    assert is_level(result).all()
    assert np.array_equal(result[~mask], pixels[~mask])
    assert (result[mask] != pixels[mask]).mean() > 0.8
    # no further from what was painted than half a step
    change = painted.astype(np.float32) - image
    if pixels.ndim == 2:
        change = change @ np.array([0.299, 0.587, 0.114], np.float32)
    wanted = pixels + change * (window[1] - window[0]) / 255
    levels = find_levels(pixels)
    step = max(levels.step, 65536 / len(levels.table) if levels.table is not None else 1)
    wanted = np.clip(wanted, levels.first, levels.last)
    assert np.abs(result - wanted)[mask].max() <= 0.51 * step + 1


def test_few_levels_show_no_step() -> None:
    drawn = np.repeat(np.arange(0, 60000, 6000, dtype=np.uint16)[None], 20, axis=0)
    assert find_levels(drawn).step == 1
    assert find_levels(np.full((4, 4), 7, np.uint8)).last == 255


def test_transparent_pixels_say_nothing_where_alpha_is_constant(tmp_path) -> None:
    for level in (0, 128, 255):
        Image.fromarray(np.dstack([RGB8, np.full_like(GREY8, level)])).save(tmp_path / "x.png")
        assert read_opaque(tmp_path / "x.png") is None
    Image.fromarray(RGB8).save(tmp_path / "x.png")
    assert read_opaque(tmp_path / "x.png") is None


@pytest.mark.parametrize("is_behind", [False, True], ids=["before pixels", "behind pixels"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_of_a_png_wherever_it_stands(tmp_path, orientation, is_behind) -> None:
    wanted = TURNS[orientation](GREY8)
    png = cv2.imencode(".png", GREY8)[1].tobytes()
    (tmp_path / "x.png").write_bytes(with_exif(png, orientation, is_behind=is_behind))
    assert same(tmp_path / "x.png", wanted)
    assert read_orientation(tmp_path / "x.png") == orientation
    for read in (read_size, check_image):
        assert read(tmp_path / "x.png") == wanted.shape


def test_the_pixels_of_a_png_are_not_decoded_for_its_size(tmp_path, monkeypatch) -> None:
    def load(self) -> None:
        raise AssertionError("decoded")

    png = cv2.imencode(".png", GREY8)[1].tobytes()
    (tmp_path / "x.png").write_bytes(with_exif(png, 6))
    monkeypatch.setattr(PngImageFile, "load", load)
    for read in (read_size, check_image):
        assert read(tmp_path / "x.png") == GREY8.shape[::-1]


@pytest.mark.parametrize("orientation", TURNS)
def test_transparent_pixels_are_turned_like_the_others(tmp_path, orientation) -> None:
    png = cv2.imencode(".png", np.dstack([RGB8, ALPHA8]))[1].tobytes()
    (tmp_path / "x.png").write_bytes(with_exif(png, orientation))
    wanted = TURNS[orientation](ALPHA8 >= 250)
    assert np.array_equal(read_opaque(tmp_path / "x.png"), wanted)


def test_a_tiff_that_only_tifffile_knows_can_be_a_source(tmp_path) -> None:
    pytest.importorskip("imagecodecs")
    levels = np.tile(GREY16 >> 6, (2, 2))
    write_tiff(tmp_path / "x.tif", levels, bitspersample=10)
    sources = FolderSources(str(tmp_path))
    assert np.array_equal(sources.read("x").pixels, levels)


def test_bytes_that_are_no_image() -> None:
    for data in (b"", b"II*\0", b"MM\0+" + b"\0" * 40, io.BytesIO(b"text").getvalue()):
        with pytest.raises(SourceError, match="odd"):
            decoding.decode_image(data, "odd")


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp", "a.tif", "lzw.tif", "a.png"])
def test_a_photo_that_is_cut_off_is_no_source_and_no_real_image(tmp_path, name) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (64, 80), np.uint8)
    path = tmp_path / "photos" / name
    path.parent.mkdir()
    Image.fromarray(photo).save(path, **({"compression": "tiff_lzw"} if "lzw" in name else {}))
    assert check_image(path) == (64, 80)
    if name == "a.jpg":
        path.write_bytes(path.read_bytes() + b"what a camera adds")
        assert check_image(path) == (64, 80)
    data = path.read_bytes()
    if name.endswith("tif"):  # with the header first
        with tifffile.TiffWriter(path) as file:
            file.write(photo, compression="lzw" if "lzw" in name else None)
        data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(SourceError, match=r"cannot be read as an image"):
        check_image(path)
    (tmp_path / "masks").mkdir()
    with pytest.raises(SourceError, match=r"cannot be read as an image"):
        load_real({"path": str(path.parent), "masks": str(tmp_path / "masks")})
