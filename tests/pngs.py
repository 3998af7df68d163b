"""PNG files with a chunk more."""

from __future__ import annotations

import struct
import zlib

HEAD, TAIL = 33, 12  # bytes of the signature with IHDR, and of IEND


def with_chunk(png: bytes, kind: bytes, body: bytes, *, is_behind: bool = False) -> bytes:
    """Return a PNG with a chunk before all others, or behind them."""
    at = len(png) - TAIL if is_behind else HEAD
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return png[:at] + struct.pack(">I", len(body)) + kind + body + checksum + png[at:]
