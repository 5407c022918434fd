"""A large picture made small: from qemu's plain format (PPM, netpbm's ppm(5)) to a PNG. Pure, in slices, without a decoder."""

from __future__ import annotations

import re
import struct
import zlib

from workers.contract.screens import PNG_SIGNATURE

WIDEST = 240
"""Points across: even one of noise stays below the most that is sent (240 x 240 x 3 = 172,800 bytes)."""


def small_png(ppm: bytes) -> bytes | None:
    """Every so many points of the picture; None where it is none."""
    head = re.match(rb"P6\n(\d{1,5}) (\d{1,5})\n255\n", ppm)
    if head is None:
        return None
    width, height = int(head[1]), int(head[2])
    if not width or not height or len(ppm) < head.end() + 3 * width * height:
        return None
    every = -(-max(width, height) // WIDEST)
    rows = []
    for line in range(0, height, every):
        start = head.end() + 3 * width * line
        row = ppm[start : start + 3 * width]
        small = bytearray(3 * len(row[:: 3 * every]))
        for colour in range(3):
            small[colour::3] = row[colour :: 3 * every]
        rows.append(b"\0" + small)  # PNG specification, 9.2: filter type None
    size = struct.pack(">IIBBBBB", len(rows[0]) // 3, len(rows), 8, 2, 0, 0, 0)
    parts = ((b"IHDR", size), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
