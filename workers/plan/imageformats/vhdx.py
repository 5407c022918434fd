"""A Hyper-V disk (MS-VHDX 2.0): its region and metadata tables; never one with a parent or with an unfinished log."""

from __future__ import annotations

import struct
from uuid import UUID

from workers.plan.imageformats.reading import (
    DiskFacts,
    ImageFormat,
    ImageRefused,
    Source,
    exactly,
    inside,
    sane_size,
)

MAGIC = b"vhdxfile"
_KIB = 1024
_MIB = 1024 * _KIB
_HEADERS_AT = (64 * _KIB, 128 * _KIB)
_REGIONS_AT = (192 * _KIB, 256 * _KIB)
_MOST_ENTRIES = 2047
_BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
_METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_VIRTUAL_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_PARENT_LOCATOR = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
_HAS_PARENT = 2


def read(source: Source) -> DiskFacts:
    """What the image is. Raises ImageRefused."""
    _closed_in_order(source)
    regions = _regions(source)
    if _BAT not in regions or _METADATA not in regions:
        raise ImageRefused("The Hyper-V disk's table of regions is damaged: a region is missing.")
    for at, length in regions.values():
        inside(source, at, length, "region")
    items = _metadata(source, *regions[_METADATA])
    if _PARENT_LOCATOR in items:
        raise ImageRefused("It stands on another disk (it names a parent). Merge it in Hyper-V first.")
    if _FILE_PARAMETERS not in items or _VIRTUAL_SIZE not in items:
        raise ImageRefused("The Hyper-V disk does not say how large it is.")
    block, flags = struct.unpack("<II", exactly(source, items[_FILE_PARAMETERS], 8, "metadata"))
    if flags & _HAS_PARENT:
        raise ImageRefused("It stands on another disk (it has a parent). Merge it in Hyper-V first.")
    if not _MIB <= block <= 256 * _MIB or block & (block - 1):
        raise ImageRefused(f"Its blocks have {block} bytes; 1 MB to 256 MB are possible.")
    (size,) = struct.unpack("<Q", exactly(source, items[_VIRTUAL_SIZE], 8, "metadata"))
    sane_size(size)
    if regions[_BAT][1] < -(-size // block) * 8:
        raise ImageRefused("Its table of blocks is smaller than the disk in it needs.")
    return DiskFacts(ImageFormat.VHDX, size, 0, source.size)


def _closed_in_order(source: Source) -> None:
    """The newer of the two headers has no log left to be carried out."""
    newest, log = -1, bytes(16)
    for at in _HEADERS_AT:
        header = source.read(at, 80)
        if len(header) == 80 and header[:4] == b"head":
            (sequence,) = struct.unpack_from("<Q", header, 8)
            if sequence > newest:
                newest, log = sequence, header[48:64]
    if newest < 0:
        raise ImageRefused("The Hyper-V disk's header is damaged or missing.")
    if any(log):
        raise ImageRefused(
            "It was not closed in an orderly way. Start and shut down its machine in Hyper-V first."
        )


def _regions(source: Source) -> dict[UUID, tuple[int, int]]:
    for table_at in _REGIONS_AT:
        table = source.read(table_at, 64 * _KIB)
        if table[:4] != b"regi" or len(table) < 64 * _KIB:
            continue
        (count,) = struct.unpack_from("<I", table, 8)
        if count > _MOST_ENTRIES:
            raise ImageRefused(f"Its table of regions claims {count} entries.")
        found: dict[UUID, tuple[int, int]] = {}
        for number in range(count):
            kind, at, length, required = struct.unpack_from("<16sQII", table, 16 + 32 * number)
            name = UUID(bytes_le=kind)
            if name in (_BAT, _METADATA):
                if name in found or at < _MIB or at % _MIB:
                    raise ImageRefused("Its table of regions is damaged.")
                found[name] = at, length
            elif required & 1:
                raise ImageRefused(f"It needs a part that is not known here ({name}).")
        return found
    raise ImageRefused("The Hyper-V disk's table of regions is damaged or missing.")


def _metadata(source: Source, at: int, length: int) -> dict[UUID, int]:
    """Where each item lies, by its kind."""
    table = exactly(source, at, 64 * _KIB, "metadata")
    if table[:8] != b"metadata":
        raise ImageRefused("The Hyper-V disk's metadata are damaged.")
    (count,) = struct.unpack_from("<H", table, 10)
    if count > _MOST_ENTRIES:
        raise ImageRefused(f"Its metadata claim {count} entries.")
    found = {}
    for number in range(count):
        kind, offset, item_bytes = struct.unpack_from("<16sII", table, 32 + 32 * number)
        if item_bytes and (offset < 64 * _KIB or offset + item_bytes > length):
            raise ImageRefused("The Hyper-V disk's metadata lie outside their region.")
        found[UUID(bytes_le=kind)] = at + offset
    return found
