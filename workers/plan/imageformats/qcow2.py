"""The header of a qcow2 image (qemu: docs/interop/qcow2.txt), versions 2 and 3. Nothing outside the file itself is taken."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from workers.plan.imageformats.reading import (
    DiskFacts,
    ImageFormat,
    ImageRefused,
    Source,
    exactly,
    inside,
    numbers,
    sane_size,
    shown,
)

MAGIC = b"QFI\xfb"
_HEADER = ">4sIQIIQIIQQIIQ"
_HEADER_V2_BYTES = 72
_LARGEST_L1_BYTES = 32 * 1024 * 1024
_LARGEST_REFCOUNT_TABLE_BYTES = 8 * 1024 * 1024
_MOST_SNAPSHOTS = 256
_OFFSET = 0x00FF_FFFF_FFFF_FE00
"""The bits of an entry of the first table that say where the second one lies."""

_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = 1, 2, 4, 8, 16
_END, _BACKING_FORMAT, _LUKS, _DATA_FILE_NAME = 0x0000_0000, 0xE279_2ACA, 0x0537_BE77, 0x4441_5441


@dataclass(frozen=True)
class _Header:
    version: int
    backing_at: int
    backing_bytes: int
    cluster_bits: int
    virtual_bytes: int
    crypt_method: int
    l1_entries: int
    l1_at: int
    refcounts_at: int
    refcount_clusters: int
    snapshots: int
    snapshots_at: int

    @property
    def cluster_bytes(self) -> int:
        return 1 << self.cluster_bits


def backing_name(source: Source) -> str | None:
    """The file that a qcow2 image stands on; None for one that stands alone, or that is no qcow2. Raises ImageRefused."""
    if source.read(0, 4) != MAGIC:
        return None
    at, length = numbers(">QI", source, 8, "header")
    return exactly(source, at, min(length, 1023), "header").decode("utf-8", "replace") if at else None


def read(source: Source) -> DiskFacts:
    """What the image is. Raises ImageRefused."""
    header = _header(source)
    if header.version not in (2, 3):
        raise ImageRefused(f"It is a qcow2 image of version {header.version}; versions 2 and 3 are known.")
    if header.backing_at:
        name = source.read(header.backing_at, min(header.backing_bytes, 1023))
        raise ImageRefused(
            f"It stands on another file, its backing file “{shown(name)}”, and is nothing without it."
        )
    _whole_in_itself(source, header)
    size = sane_size(header.virtual_bytes)
    _tables(source, header, extended=_features(source, header) & _EXTENDED_L2 != 0)
    return DiskFacts(ImageFormat.QCOW2, size, 0, source.size)


def _header(source: Source) -> _Header:
    fields = struct.unpack(_HEADER, exactly(source, 0, struct.calcsize(_HEADER), "header"))
    return _Header(*fields[1:])


def _features(source: Source, header: _Header) -> int:
    return numbers(">Q", source, 72, "header")[0] if header.version == 3 else 0


def _whole_in_itself(source: Source, header: _Header) -> None:
    """No secret, no second file, nothing that is unknown."""
    if header.crypt_method:
        kind = {1: "AES", 2: "LUKS"}.get(header.crypt_method, "an unknown method")
        raise ImageRefused(f"It is encrypted ({kind}): without its secret it cannot be read.")
    if not 9 <= header.cluster_bits <= 21:
        raise ImageRefused(f"Its clusters have 2^{header.cluster_bits} bytes; 2^9 to 2^21 are possible.")
    extensions = _extensions(source, header)
    features = _features(source, header)
    if features & _DATA_FILE or _DATA_FILE_NAME in extensions:
        name = shown(extensions.get(_DATA_FILE_NAME, b""))
        raise ImageRefused(
            f"Its content lies in another file, its data file “{name}”, and is not in this one."
        )
    if _LUKS in extensions:
        raise ImageRefused("It is encrypted (LUKS): without its secret it cannot be read.")
    if _BACKING_FORMAT in extensions:
        raise ImageRefused(
            f"It names the format of a backing file (“{shown(extensions[_BACKING_FORMAT])}”), although it has none."
        )
    if features & _CORRUPT:
        raise ImageRefused("It is marked as damaged. Repair it first: qemu-img check -r all.")
    if features & _DIRTY:
        raise ImageRefused("It was not closed in an orderly way. Repair it first: qemu-img check -r all.")
    unknown = features & ~(_COMPRESSION | _EXTENDED_L2)
    if unknown:
        raise ImageRefused(f"It uses features that are not known here (bits {unknown:#x}).")


def _extensions(source: Source, header: _Header) -> dict[int, bytes]:
    """The header's extensions by their kind, all of them within the first cluster."""
    at = _HEADER_V2_BYTES
    if header.version == 3:
        (at,) = numbers(">I", source, 100, "header")
        if at < 104 or at % 8 or at > header.cluster_bytes:
            raise ImageRefused(f"Its header claims a length of {at} bytes, which cannot be.")
    found: dict[int, bytes] = {}
    while at + 8 <= header.cluster_bytes:
        kind, length = numbers(">II", source, at, "header")
        if kind == _END:
            break
        if length > header.cluster_bytes - at - 8:
            raise ImageRefused("A part of its header claims to be longer than the header.")
        found[kind] = exactly(source, at + 8, length, "header")
        at += 8 + (length + 7) // 8 * 8
    return found


def _tables(source: Source, header: _Header, *, extended: bool) -> None:
    """The tables lie in the file, are no larger than the disk needs, and no two entries are the same table."""
    cluster = header.cluster_bytes
    mapped_by_one = cluster * (cluster // (16 if extended else 8))
    needed = -(-header.virtual_bytes // mapped_by_one)
    length = header.l1_entries * 8
    if length > _LARGEST_L1_BYTES:
        raise ImageRefused(
            f"Its first table claims {header.l1_entries} entries; the disk in it needs {needed}."
        )
    if header.l1_entries < needed:
        raise ImageRefused(f"Its first table has {header.l1_entries} entries; the disk in it needs {needed}.")
    if header.l1_at % cluster or (length and header.l1_at < cluster):
        raise ImageRefused(f"Its first table is at byte {header.l1_at}, where none can be.")
    inside(source, header.l1_at, length, "first table")
    refcounts = header.refcount_clusters * cluster
    if not 0 < refcounts <= _LARGEST_REFCOUNT_TABLE_BYTES or header.refcounts_at % cluster:
        raise ImageRefused(f"Its table of used clusters claims {refcounts} bytes at {header.refcounts_at}.")
    inside(source, header.refcounts_at, refcounts, "table of used clusters")
    if header.snapshots > _MOST_SNAPSHOTS:
        raise ImageRefused(f"It claims {header.snapshots} snapshots; at most {_MOST_SNAPSHOTS} are taken.")
    if header.snapshots:
        inside(source, header.snapshots_at, header.snapshots * 40, "list of snapshots")
    entries = struct.unpack(f">{header.l1_entries}Q", exactly(source, header.l1_at, length, "first table"))
    used = [entry & _OFFSET for entry in entries if entry & _OFFSET]
    if len(set(used)) != len(used):
        raise ImageRefused("Its tables point to the same place again and again, as no real disk's do.")
    for at in used:
        if at % cluster:
            raise ImageRefused(f"Its first table points to byte {at}, where no table can be.")
        inside(source, at, cluster, "second table")
