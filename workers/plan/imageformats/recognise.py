"""Which format a file is, by what stands in it; one that is two formats at once, or one that is not taken, is refused."""

from __future__ import annotations

from collections.abc import Callable

from workers.plan.imageformats import ova, qcow2, vdi, vhd, vhdx, vmdk
from workers.plan.imageformats.reading import (
    DiskFacts,
    ImageFormat,
    ImageRefused,
    Source,
    sane_size,
)

_READERS: dict[str, Callable[[Source], DiskFacts]] = {
    "a qcow2 image": qcow2.read,
    "a VMware disk (VMDK)": vmdk.read,
    "the description of a VMware disk": vmdk.refuse_descriptor,
    "a VirtualBox disk (VDI)": vdi.read,
    "a Hyper-V disk (VHDX)": vhdx.read,
    "a Virtual PC disk (VHD)": vhd.read,
    "an OVA archive": ova.read,
}
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, qcow2.MAGIC, "a qcow2 image"),
    (0, vmdk.MAGIC, "a VMware disk (VMDK)"),
    (0, vmdk.DESCRIPTOR_MAGIC, "the description of a VMware disk"),
    (vdi.MAGIC_AT, vdi.MAGIC, "a VirtualBox disk (VDI)"),
    (0, vhdx.MAGIC, "a Hyper-V disk (VHDX)"),
    (0, vhd.MAGIC, "a Virtual PC disk (VHD)"),
    (ova.MAGIC_AT, ova.MAGIC, "an OVA archive"),
    (0, b"COWD", "an old VMware ESX disk"),
    (0, b"QED\x00", "a QED image"),
    (0, b"OOOM", "a UML image"),
    (0, b"WithoutFreeSpace", "a Parallels disk"),
    (0, b"WithouFreSpacExt", "a Parallels disk"),
    (0, b"Bochs Virtual HD Image", "a Bochs image"),
    (0, b"#!/bin/sh\n#V2.0 Format\n", "a cloop image"),
    (0, b"LUKS\xba\xbe", "a disk encrypted with LUKS"),
    (0, b"\x1f\x8b", "a gzip archive (unpack it first)"),
    (0, b"\xfd7zXZ\x00", "an xz archive (unpack it first)"),
    (0, b"BZh", "a bzip2 archive (unpack it first)"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive (unpack it first)"),
    (0, b"PK\x03\x04", "a zip archive (unpack it first)"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it first)"),
    (0, b"Rar!", "a rar archive (unpack it first)"),
    (32769, b"CD001", "an installation disc (ISO 9660)"),
)
_BOOT_SECTOR = "a disk with a boot sector"
_END_MAGIC = (
    (vhd.FOOTER_BYTES, vhd.MAGIC, "a Virtual PC disk (VHD)"),
    (512, b"koly", "an Apple disk image (DMG)"),
)
_HEAD_BYTES = 32774


def read_image(source: Source) -> DiskFacts:
    """What the disk image is, as its own header says it. Raises ImageRefused with what was found."""
    if source.size == 0:
        raise ImageRefused("The file is empty.")
    found = formats_in(source)
    if len(found) > 1:
        raise ImageRefused(f"It is {' and '.join(found)} at once. No honest file is two things.")
    if found:
        reader = _READERS.get(found[0])
        if reader is None:
            raise ImageRefused(f"It is {found[0]}, which is not taken.")
        return reader(source)
    if source.size % 512:
        raise ImageRefused(
            f"It is no disk image that is known here: {source.size} bytes are no whole number of sectors."
        )
    return DiskFacts(ImageFormat.RAW, sane_size(source.size), 0, source.size)


def formats_in(source: Source) -> tuple[str, ...]:
    """All that the file looks like; none for a raw disk, which may hold anything."""
    head = source.read(0, _HEAD_BYTES)
    found = [name for at, magic, name in _MAGIC if head[at : at + len(magic)] == magic]
    for length, magic, name in _END_MAGIC:
        if (
            source.read(source.size - length, len(magic)) == magic
            and name not in found
            and source.size >= length
        ):
            found.append(name)
    if head[:512].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        found.append("a web page (a download that went wrong?)")
    # A fixed VHD is a raw disk, boot sector included, with its footer behind it.
    container = [name for name in found if name != "a Virtual PC disk (VHD)" or head[:8] == vhd.MAGIC]
    if container and head[510:512] == b"\x55\xaa" and container != ["an installation disc (ISO 9660)"]:
        found.append(_BOOT_SECTOR)
    return tuple(found)
