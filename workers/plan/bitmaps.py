"""Records of changes in a growing disk's file, read from its header (qemu: docs/interop/qcow2.txt). Pure: bytes in, names out."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER_BYTES = 64 * 1024
MOST_DIRECTORY_BYTES = 1024 * 1024
_EXTENSION, _END = 0x23852875, 0
_HEADER = struct.Struct(">4sI")
_LENGTH = struct.Struct(">I")
_WORD = struct.Struct(">II")
_BITMAPS = struct.Struct(">IIQQ")
_ENTRY = struct.Struct(">QIIBBHI")
_IN_USE = 1


@dataclass(frozen=True)
class Directory:
    """Where the file lists its records, in bytes."""

    offset: int
    size: int


def directory_in(header: bytes) -> Directory | None:
    """Where the list is; None for a file without one, or that makes no sense."""
    try:
        magic, version = _HEADER.unpack_from(header)
        if magic != b"QFI\xfb" or version != 3:
            return None
        (at,) = _LENGTH.unpack_from(header, 100)
        while True:
            kind, length = _WORD.unpack_from(header, at)
            if kind == _END:
                return None
            if kind == _EXTENSION:
                _count, _reserved, size, offset = _BITMAPS.unpack_from(header, at + _WORD.size)
                return Directory(offset, size) if size <= MOST_DIRECTORY_BYTES else None
            at += _WORD.size + (length + 7) // 8 * 8
    except struct.error:
        return None


def bitmaps_in(directory: bytes) -> dict[str, bool]:
    """The records by name; False for one that was not closed, so that it may say too little."""
    found: dict[str, bool] = {}
    at = 0
    while at + _ENTRY.size <= len(directory):
        _table, _size, flags, _type, _granularity, name_length, extra = _ENTRY.unpack_from(directory, at)
        name_at = at + _ENTRY.size + extra
        name = directory[name_at : name_at + name_length].decode(errors="replace")
        found[name] = not flags & _IN_USE
        at = name_at + (name_length + 7) // 8 * 8
    return found
