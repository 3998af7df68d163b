"""The mark of synthetic images, read by the libraries that people open images with."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from synthgen.storage.provenance import (
    DRAWN,
    PAINTED,
    PASTED,
    SIGNATURE,
    VOCABULARY,
    digital_source,
    is_marked,
    mark_png,
)

RNG = np.random.default_rng(0)
PIXELS = {
    "colour": RNG.integers(0, 256, (40, 56, 3), np.uint8),
    "grey": RNG.integers(0, 256, (40, 56), np.uint8),
    "grey_16_bit": RNG.integers(0, 65536, (40, 56), np.uint16),
    "one_pixel": np.zeros((1, 1), np.uint8),
}
TERMS = {"algorithmicMedia", "compositeSynthetic", "compositeWithTrainedAlgorithmicMedia"}


def encode(pixels: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and body of each chunk of a PNG; fails on a wrong length or checksum."""
    assert data.startswith(SIGNATURE)
    found, at = [], len(SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert checksum == zlib.crc32(name + body)
        found.append((name, body))
        at += 12 + length
    return found


@pytest.mark.parametrize("kind", PIXELS)
@pytest.mark.parametrize("term", sorted(TERMS))
def test_pillow_reads_the_term_and_the_same_pixels(kind: str, term: str) -> None:
    plain = encode(PIXELS[kind])
    with Image.open(io.BytesIO(mark_png(plain, term))) as opened:
        opened.load()
        assert f'DigitalSourceType="{VOCABULARY}{term}"' in opened.info["XML:com.adobe.xmp"]
        with Image.open(io.BytesIO(plain)) as unmarked:
            assert opened.mode == unmarked.mode
            assert np.array_equal(np.asarray(opened), np.asarray(unmarked))


@pytest.mark.parametrize("term", sorted(TERMS))
def test_pillow_parses_the_packet_as_xmp(term: str) -> None:
    pytest.importorskip("defusedxml")
    with Image.open(io.BytesIO(mark_png(encode(PIXELS["grey"]), term))) as opened:
        described = opened.getxmp()["xmpmeta"]["RDF"]["Description"]
    assert described["DigitalSourceType"] == VOCABULARY + term


@pytest.mark.parametrize("kind", PIXELS)
def test_opencv_reads_the_same_pixels(kind: str) -> None:
    marked = np.frombuffer(mark_png(encode(PIXELS[kind]), PASTED), np.uint8)
    decoded = cv2.imdecode(marked, cv2.IMREAD_UNCHANGED)
    assert decoded.dtype == PIXELS[kind].dtype
    assert np.array_equal(decoded, PIXELS[kind])


@pytest.mark.parametrize("kind", PIXELS)
def test_one_chunk_is_added_behind_the_header_and_all_others_stay(kind: str) -> None:
    plain = encode(PIXELS[kind])
    header, mark, *others = chunks_of(mark_png(plain, DRAWN))
    assert header[0] == b"IHDR"
    assert mark[0] == b"iTXt"
    assert mark[1].startswith(b"XML:com.adobe.xmp\0\0\0\0\0<?xpacket")
    mark[1].decode("utf-8")
    assert [header, *others] == chunks_of(plain)


def test_a_marked_file_is_left_as_it_is() -> None:
    plain = encode(PIXELS["colour"])
    marked = mark_png(plain, PAINTED)
    assert (is_marked(plain), is_marked(marked)) == (False, True)
    assert mark_png(marked, PAINTED) == marked
    assert mark_png(marked, DRAWN) == marked  # the first mark counts
    assert is_marked(marked[:4096])


def test_a_mark_that_pillow_wrote_is_found() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x DigitalSourceType="http://cv.iptc.org/x"/>')
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "PNG", pnginfo=info)
    assert is_marked(file.getvalue())
    assert mark_png(file.getvalue(), DRAWN) == file.getvalue()


def test_photographs_and_jpegs_are_left_as_they_are() -> None:
    png, jpeg = encode(PIXELS["colour"]), encode(PIXELS["colour"], ".jpg")
    assert mark_png(png, "") == png
    assert mark_png(jpeg, PASTED) == jpeg
    assert not is_marked(jpeg)


@pytest.mark.parametrize(
    ("is_drawn", "backend", "checkpoint", "term"),
    [
        (True, "", "", DRAWN),
        (True, "sketch", "", DRAWN),
        (True, "embedded", "embedded@0", PAINTED),
        (False, "sketch", "", PASTED),
        (False, "embedded", "embedded@0", PAINTED),
        (False, "", "", ""),
    ],
)
def test_the_term_says_what_made_the_image(
    is_drawn: bool, backend: str, checkpoint: str, term: str
) -> None:
    assert digital_source(is_drawn, backend, checkpoint) == term
    assert term in TERMS | {""}
