"""A VMware disk in one file: a sparse or streamOptimized VMDK ("Virtual Disk Format 5.0", as qemu's block/vmdk.c reads it)."""

from __future__ import annotations

import re
import struct
from typing import NoReturn

from workers.plan.imageformats.reading import (
    DiskFacts,
    ImageFormat,
    ImageRefused,
    Source,
    exactly,
    inside,
    sane_size,
    shown,
)

MAGIC = b"KDMV"
DESCRIPTOR_MAGIC = b"# Disk DescriptorFile"
_HEADER = "<4sIIQQQQIQQQB4sH"
_SECTOR = 512
_DESCRIPTOR_SECTOR = 1
"""Where qemu looks for the name of a parent, whatever the header says."""

_DESCRIPTOR_BYTES = 20 * _SECTOR
_TABLE_AT_THE_END = 0xFFFF_FFFF_FFFF_FFFF
_TABLES_OF_A_GRAIN_TABLE = 512
_ONE_FILE = ("monolithicSparse", "streamOptimized")
_NO_PARENT = "ffffffff"


def refuse_descriptor(source: Source) -> NoReturn:
    """A descriptor alone has its content in other files. Always raises ImageRefused."""
    text = source.read(0, _DESCRIPTOR_BYTES).split(b"\x00", 1)[0]
    names = re.findall(rb'"([^"\n]*)"', b"\n".join(_extents(text)))
    which = ", ".join(f"“{shown(name)}”" for name in names[:5]) or "none that could be read"
    raise ImageRefused(
        f"It is only the description of a VMware disk; its content lies in other files ({which}). "
        "Export the disk as one file (streamOptimized), or as an OVA."
    )


def read(source: Source) -> DiskFacts:
    """What the image is. Raises ImageRefused."""
    fields = struct.unpack(_HEADER, exactly(source, 0, struct.calcsize(_HEADER), "header"))
    _, version, _flags, capacity, grain, described_at, described, entries, _, tables_at, _, _, _, _ = fields
    if version not in (1, 2, 3):
        raise ImageRefused(f"It is a VMware disk of version {version}; versions 1 to 3 are known.")
    if capacity == 0:
        raise ImageRefused(
            "The VMware disk in it has no size of its own; its content would lie in other files."
        )
    if described_at != _DESCRIPTOR_SECTOR or not 0 < described * _SECTOR <= _DESCRIPTOR_BYTES:
        raise ImageRefused(f"Its description is said to be at sector {described_at}, where none can be.")
    if (
        not (0 < grain <= 128 * 1024 and grain & (grain - 1) == 0)
        or not 0 < entries <= _TABLES_OF_A_GRAIN_TABLE
    ):
        raise ImageRefused(f"Its pieces have {grain} sectors, {entries} to a table, which cannot be.")
    size = sane_size(capacity * _SECTOR)
    if tables_at != _TABLE_AT_THE_END:
        directory = -(-capacity // (grain * entries)) * 4
        inside(source, tables_at * _SECTOR, directory, "table")
    else:
        _ends_as_it_should(source)
    _describes_itself_alone(source, described * _SECTOR)
    return DiskFacts(ImageFormat.VMDK, size, 0, source.size)


def _ends_as_it_should(source: Source) -> None:
    """A streamed disk ends with its header once more and an end marker; a cut-off one does not."""
    footer = source.read(source.size - 2 * _SECTOR, 4) if source.size > 4 * _SECTOR else b""
    if footer != MAGIC:
        raise ImageRefused("The file is cut off: the end of the VMware disk is missing.")


def _describes_itself_alone(source: Source, length: int) -> None:
    region = source.read(_DESCRIPTOR_SECTOR * _SECTOR, _DESCRIPTOR_BYTES)
    if b"parentFileNameHint" in region:
        name = re.search(rb'parentFileNameHint\s*=\s*"?([^"\n]*)', region)
        found = shown(name.group(1)) if name else "(no name)"
        raise ImageRefused(f"It stands on another file, its parent “{found}”, and is nothing without it.")
    text = region[:length].split(b"\x00", 1)[0]
    parent = _value(text, "parentCID")
    if parent.lower() != _NO_PARENT:
        raise ImageRefused(
            f"It stands on another disk (parent {shown(parent.encode())}), and is nothing without it."
        )
    kind = _value(text, "createType")
    if kind not in _ONE_FILE:
        raise ImageRefused(
            f"It is a VMware disk of the kind “{shown(kind.encode())}”; taken are {' and '.join(_ONE_FILE)}, which are one file."
        )
    extents = _extents(text)
    if len(extents) != 1:
        raise ImageRefused(f"Its content lies in {len(extents)} files instead of this one.")


def _extents(text: bytes) -> list[bytes]:
    return [line for line in text.splitlines() if re.match(rb"\s*(RW|RDONLY|NOACCESS)\s", line)]


def _value(text: bytes, key: str) -> str:
    """The value of a line `key=value`; empty where there is none."""
    found = re.search(rf'^\s*{key}\s*=\s*"?([^"\r\n]*)'.encode(), text, re.MULTILINE | re.IGNORECASE)
    return found.group(1).decode("utf-8", "replace").strip() if found else ""
