"""What every reader of a format works with: the file's bytes, what is found in them, and why an image is refused."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from workers.contract.disks import GIB
from workers.contract.errors import ErrorCode, OffshootError

MOST_VIRTUAL_BYTES = 16 * 1024 * GIB
"""No disk of an image is larger. qemu itself would take some more; nobody installs a system on that."""


class ImageRefused(OffshootError):
    """The image is not safe, or not what it says it is; the detail names what was found in it, for the page."""

    code = ErrorCode.IMAGE_REFUSED


class ImageFormat(StrEnum):
    """The formats that are read; each is qemu's name of its driver."""

    QCOW2 = "qcow2"
    RAW = "raw"
    VMDK = "vmdk"
    VDI = "vdi"
    VHDX = "vhdx"
    VHD = "vpc"


class Source(Protocol):
    """A file, or a part of one, of `size` bytes."""

    @property
    def size(self) -> int:
        """In bytes."""

    def read(self, at: int, length: int) -> bytes:
        """The bytes from `at` on; fewer where the end comes first."""


@dataclass(frozen=True)
class Part:
    """A part of a source that is read as a source of its own: a disk in an archive."""

    whole: Source
    at: int
    size: int

    def read(self, at: int, length: int) -> bytes:
        """The bytes from `at` on, none of them outside the part."""
        return self.whole.read(self.at + at, max(0, min(length, self.size - at)))


@dataclass(frozen=True)
class DiskFacts:
    """A disk image whose header is sound. `at` and `length` say where it lies in the file, in bytes.

    `archive` is set where the file is an archive with the disk in it.
    """

    format: ImageFormat
    virtual_bytes: int
    at: int
    length: int
    archive: str = ""


def exactly(source: Source, at: int, length: int, what: str) -> bytes:
    """These bytes. Raises ImageRefused where the file ends before."""
    found = source.read(at, length) if 0 <= at <= source.size else b""
    if len(found) < length:
        raise ImageRefused(
            f"The file is cut off: its {what} should be at byte {at}, the file has {source.size}."
        )
    return found


def numbers(layout: str, source: Source, at: int, what: str) -> tuple[int, ...]:
    """Fields as struct(3) lays them out. Raises ImageRefused where the file ends before."""
    return struct.unpack(layout, exactly(source, at, struct.calcsize(layout), what))


def sane_size(virtual_bytes: int) -> int:
    """The size of the disk in an image. Raises ImageRefused for none, and for an absurd one."""
    if virtual_bytes <= 0:
        raise ImageRefused("The disk in it has no size.")
    if virtual_bytes > MOST_VIRTUAL_BYTES:
        raise ImageRefused(
            f"The disk in it claims {virtual_bytes} bytes; at most {MOST_VIRTUAL_BYTES // (1024 * GIB)} TB are taken."
        )
    return virtual_bytes


def inside(source: Source, at: int, length: int, what: str) -> None:
    """Raises ImageRefused where a table would lie outside the file."""
    if at < 0 or length < 0 or at + length > source.size:
        raise ImageRefused(
            f"The file is cut off or damaged: its {what} should end at byte {at + length}, the file has {source.size}."
        )


def shown(raw: bytes) -> str:
    """A name that was found in a file, fit to be shown: at most 200 visible characters."""
    text = raw.split(b"\x00", 1)[0].decode("utf-8", "replace")
    return "".join(each if each.isprintable() else "·" for each in text)[:200] or "(no name)"
