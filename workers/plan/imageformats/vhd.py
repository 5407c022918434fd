"""A Virtual PC disk (VHD 1.0): fixed or growing, never a differencing one."""

from __future__ import annotations

import struct

from workers.plan.imageformats.reading import (
    DiskFacts,
    ImageFormat,
    ImageRefused,
    Source,
    exactly,
    inside,
    sane_size,
)

MAGIC = b"conectix"
FOOTER_BYTES = 512
_FIXED, _GROWING, _DIFFERENCING = 2, 3, 4


def read(source: Source) -> DiskFacts:
    """What the image is. Raises ImageRefused."""
    footer = (
        exactly(source, source.size - FOOTER_BYTES, FOOTER_BYTES, "footer")
        if source.size > FOOTER_BYTES
        else b""
    )
    if footer[:8] != MAGIC:
        raise ImageRefused("The file is cut off: the end of the Virtual PC disk is missing.")
    data_at, size, kind = struct.unpack_from(">16xQ24xQ4xI", footer)
    if kind == _DIFFERENCING:
        raise ImageRefused("It is a differencing disk: it stands on another file, and is nothing without it.")
    sane_size(size)
    if kind == _FIXED:
        inside(source, 0, size + FOOTER_BYTES, "content")
    elif kind == _GROWING:
        _growing(source, data_at, size)
    else:
        raise ImageRefused(f"It is a Virtual PC disk of the unknown kind {kind}.")
    return DiskFacts(ImageFormat.VHD, size, 0, source.size)


def _growing(source: Source, at: int, size: int) -> None:
    header = exactly(source, at, 1024, "header")
    if header[:8] != b"cxsparse":
        raise ImageRefused("The Virtual PC disk's header is damaged.")
    table_at, _version, entries, block = struct.unpack_from(">16xQIII", header)
    if block < 512 or block & (block - 1) or entries < -(-size // block):
        raise ImageRefused(
            f"Its table claims {entries} blocks of {block} bytes, which is not the disk's size."
        )
    if any(header[40:56]):
        raise ImageRefused("It stands on another file (it names a parent), and is nothing without it.")
    inside(source, table_at, entries * 4, "table of blocks")
