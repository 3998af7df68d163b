"""Marks images as synthetic inside the file, in the words of the IPTC.

The term stands in the XMP packet of a PNG (Iptc4xmpExt:DigitalSourceType; IPTC Photo Metadata
Standard 2023.1 and https://cv.iptc.org/newscodes/digitalsourcetype/); pixels stay as they are.
"""

from __future__ import annotations

import struct
import zlib

__all__ = ["DRAWN", "ENHANCED", "PAINTED", "PASTED", "digital_source", "is_marked", "mark_png"]

DRAWN = "algorithmicMedia"  # made by a procedure, without a trained model
PASTED = "compositeSynthetic"  # a photograph with something drawn on it
PAINTED = "compositeWithTrainedAlgorithmicMedia"  # a trained model repainted a part of it
ENHANCED = "algorithmicallyEnhanced"  # a photograph, varied as a whole; nothing was added to it
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"XML:com.adobe.xmp"
HEADER_END = len(SIGNATURE) + 25  # behind the IHDR chunk, the first of every PNG
PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'Iptc4xmpExt:DigitalSourceType="{term}"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)


def digital_source(
    is_drawn: bool, backend: str, checkpoint: str, is_augmented: bool = False
) -> str:
    """Return the IPTC term for an image; '' for a photograph that nothing was done to.

    ``is_drawn``: its source is a drawn surface. ``backend`` and ``checkpoint``: what painted its
    defect and with which trained weights, '' for none. ``is_augmented``: the photo was varied.

    >>> digital_source(False, "", ""), digital_source(False, "sketch", "")
    ('', 'compositeSynthetic')
    """
    if checkpoint:
        return PAINTED
    if is_drawn:
        return DRAWN
    if backend:
        return PASTED
    return ENHANCED if is_augmented else ""


def mark_png(data: bytes, term: str) -> bytes:
    """Return a PNG file with the term in its XMP packet; as it is where it has one, or no term."""
    if not term or not data.startswith(SIGNATURE) or is_marked(data):
        return data
    text = PACKET.format(term=VOCABULARY + term).encode("utf-8")
    body = b"iTXt" + KEYWORD + b"\0\0\0\0\0" + text  # uncompressed, without language
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:HEADER_END] + chunk + data[HEADER_END:]


def is_marked(data: bytes) -> bool:
    """Say whether a PNG file names its digital source; looks at the chunks before its pixels."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            return False
        if kind == b"iTXt" and body.startswith(KEYWORD) and b"DigitalSourceType" in body:
            return True
        at += length + 12
    return False
