"""Reading what a file says of itself as an ISO 9660 volume (ECMA-119, 4th edition) and whether it boots (El Torito 1.0)."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import BinaryIO

from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from portal.refusal import Refused

SECTOR_BYTES = 2048
_FIRST_DESCRIPTOR = 16
_MOST_DESCRIPTORS = 48
HEADER_BYTES = (_FIRST_DESCRIPTOR + _MOST_DESCRIPTORS) * SECTOR_BYTES
"""All that `check_header` ever reads."""

_MISSING_SECTORS_ALLOWED = 150
"""mkisofs pads a volume with 150 empty sectors, which some programs cut off again; no file's content lies in them."""

_BOOT_RECORD, _PRIMARY, _TERMINATOR = 0, 1, 255
_DIRECTORY_FLAG = 0x02

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"QFI\xfb", gettext_noop("a qcow2 disk image")),
    (0, b"KDMV", gettext_noop("a VMware disk image")),
    (0, b"# Disk DescriptorFile", gettext_noop("a VMware disk image")),
    (0, b"vhdxfile", gettext_noop("a Hyper-V disk image")),
    (0, b"conectix", gettext_noop("a Virtual PC disk image")),
    (64, b"\x7f\x10\xda\xbe", gettext_noop("a VirtualBox disk image")),
    (0, b"PK\x03\x04", gettext_noop("a zip archive")),
    (0, b"\x1f\x8b", gettext_noop("a gzip archive")),
    (0, b"\xfd7zXZ\x00", gettext_noop("an xz archive")),
    (0, b"BZh", gettext_noop("a bzip2 archive")),
    (0, b"\x28\xb5\x2f\xfd", gettext_noop("a zstd archive")),
    (0, b"7z\xbc\xaf\x27\x1c", gettext_noop("a 7z archive")),
    (0, b"Rar!", gettext_noop("a rar archive")),
    (257, b"ustar", gettext_noop("a tar archive")),
    (0, b"\x7fELF", gettext_noop("a Linux program")),
    (0, b"MZ", gettext_noop("a Windows program")),
    (0, b"%PDF", gettext_noop("a PDF document")),
    (0, b"\x00" + b"\xff" * 10 + b"\x00", gettext_noop("a raw CD image (.bin), not an .iso file")),
    (0x8001, b"BEA01", gettext_noop("a UDF disc without the ISO 9660 part")),
    (0x438, b"\x53\xef", gettext_noop("a Linux file system")),
    (510, b"\x55\xaa", gettext_noop("a disk image, not a disc image")),
)
_WEB_PAGE = gettext_noop("a web page (a download that went wrong?)")


class NotAnIso(Refused):
    """The file is not a whole ISO 9660 image; the message says what was found instead."""


@dataclass(frozen=True)
class VolumeFacts:
    """What a disc says of itself. `size_bytes` is the volume's own idea; the file may be larger."""

    label: str
    size_bytes: int
    bootable: bool


@dataclass(frozen=True)
class _Header:
    label: str
    blocks: int
    root_block: int
    root_bytes: int
    boot_catalog_block: int | None


def check_header(file: BinaryIO, *, size: int) -> None:
    """Refuse early, by the first HEADER_BYTES of a file that shall have `size` bytes in the end. Raises NotAnIso."""
    _header(file, size)


def check(file: BinaryIO, *, size: int) -> VolumeFacts:
    """What the whole image of `size` bytes is. Reads some hundred KiB at most. Raises NotAnIso."""
    header = _header(file, size)
    root = _read(file, header.root_block * SECTOR_BYTES, 34)
    # A directory's first entry is the directory itself, under the name 0x00 (ECMA-119, 6.8.2.2).
    if not _is_root_record(root) or _both(root, 2) != header.root_block:
        raise NotAnIso(_("The disc's table of contents is damaged. Download the file again and retry."))
    catalog = header.boot_catalog_block
    return VolumeFacts(
        label=header.label,
        size_bytes=header.blocks * SECTOR_BYTES,
        bootable=catalog is not None and _is_boot_catalog(_read(file, catalog * SECTOR_BYTES, 32)),
    )


def _header(file: BinaryIO, size: int) -> _Header:
    if size == 0:
        raise NotAnIso(_("The file is empty."))
    primary: bytes | None = None
    catalog: int | None = None
    for number in range(_MOST_DESCRIPTORS):
        descriptor = _read(file, (_FIRST_DESCRIPTOR + number) * SECTOR_BYTES, SECTOR_BYTES)
        if len(descriptor) < SECTOR_BYTES or descriptor[1:7] != b"CD001\x01":
            break
        kind = descriptor[0]
        if kind == _TERMINATOR:
            if primary is None:
                break
            return _checked(primary, catalog, size)
        if kind == _PRIMARY and primary is None:
            primary = descriptor
        if kind == _BOOT_RECORD and descriptor[7:30] == b"EL TORITO SPECIFICATION":
            catalog = int.from_bytes(descriptor[71:75], "little")
    if primary is None:
        raise NotAnIso(
            _("This is not a disc image: it is %(found)s. Choose an ISO file.")
            % {"found": _(found_instead(file))}
        )
    raise NotAnIso(_("The disc's header is damaged. Download the file again and retry."))


def _checked(primary: bytes, catalog: int | None, size: int) -> _Header:
    """The fields of a primary volume descriptor (ECMA-119, 8.4), each within what the file can hold."""
    blocks, block_bytes = _both(primary, 80), int.from_bytes(primary[128:130], "little")
    if block_bytes != SECTOR_BYTES:
        raise NotAnIso(
            _("The disc has sectors of %(bytes)d bytes; only 2048 is usual and works here.")
            % {"bytes": block_bytes}
        )
    if size < (blocks - _MISSING_SECTORS_ALLOWED) * SECTOR_BYTES:
        words = _("The file is cut off: the disc says %(whole)s, the file has %(size)s. Download it again.")
        raise NotAnIso(words % {"whole": filesizeformat(blocks * SECTOR_BYTES), "size": filesizeformat(size)})
    record = primary[156:190]
    root_block, root_bytes = _both(record, 2), _both(record, 10)
    whole = _is_root_record(record) and root_block >= _FIRST_DESCRIPTOR and root_bytes >= SECTOR_BYTES
    if not whole or root_block * SECTOR_BYTES + root_bytes > size:
        raise NotAnIso(_("The disc's table of contents is damaged. Download the file again and retry."))
    return _Header(
        label=_text(primary[40:72]),
        blocks=blocks,
        root_block=root_block,
        root_bytes=root_bytes,
        boot_catalog_block=catalog,
    )


def _is_root_record(record: bytes) -> bool:
    """A directory record (ECMA-119, 9.1) of the directory itself."""
    return (
        len(record) >= 34
        and record[0] >= 34
        and bool(record[25] & _DIRECTORY_FLAG)
        and record[32] == 1
        and record[33] == 0
    )


def _is_boot_catalog(entry: bytes) -> bool:
    """The validation entry (El Torito 1.0, figure 2): its key bytes, and 16-bit words that add up to nothing."""
    if len(entry) < 32 or entry[0] != 1 or entry[30:32] != b"\x55\xaa":
        return False
    return sum(int.from_bytes(entry[at : at + 2], "little") for at in range(0, 32, 2)) % 65536 == 0


def found_instead(file: BinaryIO) -> str:
    """What a file is that is no disc, untranslated."""
    start = _read(file, 0, 0x8006)
    for at, signature, name in _SIGNATURES:
        if start[at : at + len(signature)] == signature:
            return name
    if start[:256].lstrip().lower().startswith((b"<!doctype", b"<html")):
        return _WEB_PAGE
    return gettext_noop("something else")


def _both(record: bytes, at: int) -> int:
    """A 32-bit number that stands there in both byte orders (ECMA-119, 7.3.3); the little-endian one counts."""
    return int.from_bytes(record[at : at + 4], "little")


def _text(raw: bytes) -> str:
    text = raw.decode("ascii", "replace").replace("\x00", " ")
    return "".join(each for each in text if unicodedata.category(each)[0] != "C").strip()


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    return file.read(length)
