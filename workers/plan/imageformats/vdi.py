"""A VirtualBox disk (VDI 1.1, as qemu's block/vdi.c reads it): growing or fixed, never one that stands on another."""

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

MAGIC_AT = 64
MAGIC = b"\x7f\x10\xda\xbe"
_HEADER = "<IIII"
_LAYOUT = "<II12xI4xQIIII16s16s16s16s"
_LAYOUT_AT = 340
_MIB = 1024 * 1024
_KINDS = {3: "an undo image", 4: "a differencing image"}


def read(source: Source) -> DiskFacts:
    """What the image is. Raises ImageRefused."""
    _, version, _, kind = struct.unpack(_HEADER, exactly(source, MAGIC_AT, 16, "header"))
    if version != 0x0001_0001:
        raise ImageRefused(
            f"It is a VirtualBox disk of version {version >> 16}.{version & 0xFFFF}; 1.1 is known."
        )
    if kind not in (1, 2):
        raise ImageRefused(
            f"It is {_KINDS.get(kind, f'of the unknown kind {kind}')}: it stands on another disk. Clone it in VirtualBox first."
        )
    fields = struct.unpack(_LAYOUT, exactly(source, _LAYOUT_AT, struct.calcsize(_LAYOUT), "header"))
    map_at, data_at, sector, size, block, extra, blocks, allocated, _, _, link, parent = fields
    if any(link) or any(parent):
        raise ImageRefused("It stands on another disk (it names a parent). Clone it in VirtualBox first.")
    sane_size(size)
    if sector != 512 or block != _MIB or extra or size % 512:
        raise ImageRefused(f"Its sectors have {sector} and its blocks {block} bytes; 512 and 1 MB are taken.")
    if blocks != -(-size // block) or allocated > blocks:
        raise ImageRefused(f"It claims {allocated} of {blocks} blocks; its size makes {-(-size // block)}.")
    if map_at % 512 or data_at % 512 or map_at < 512 or data_at < map_at + blocks * 4:
        raise ImageRefused("Its table of blocks lies where none can be.")
    inside(source, map_at, blocks * 4, "table of blocks")
    inside(source, data_at, allocated * block, "content")
    return DiskFacts(ImageFormat.VDI, size, 0, source.size)
