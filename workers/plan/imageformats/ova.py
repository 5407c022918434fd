"""An OVA (DMTF DSP0243: a tar archive, POSIX ustar): plain members only, one description, one disk that is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from workers.plan.imageformats import vmdk
from workers.plan.imageformats.reading import DiskFacts, ImageRefused, Part, Source, sane_size, shown

MAGIC_AT = 257
MAGIC = b"ustar"
_BLOCK = 512
_MOST_MEMBERS = 64
_LARGEST_DESCRIPTION = 1024 * 1024
_ENVELOPE = re.compile(
    r"\{http://schemas\.dmtf\.org/ovf/envelope/[12]\}|\{http://www\.vmware\.com/schema/ovf/1/envelope\}"
)
_UNITS = {"byte": 0, "byte*2^10": 10, "byte*2^20": 20, "byte*2^30": 30, "byte*2^40": 40}


@dataclass(frozen=True)
class Member:
    """A file in the archive: where its content begins and how long it is, in bytes."""

    name: str
    at: int
    size: int


def read(source: Source) -> DiskFacts:
    """What the disk in the archive is. Raises ImageRefused."""
    members = {each.name: each for each in _members(source)}
    descriptions = [each for each in members.values() if each.name.lower().endswith(".ovf")]
    if len(descriptions) != 1:
        raise ImageRefused(f"An OVA has one description (.ovf); this archive has {len(descriptions)}.")
    disk, virtual_bytes = _the_disk(_description(source, descriptions[0]), members)
    part = Part(source, disk.at, disk.size)
    if part.read(0, 4) != vmdk.MAGIC:
        raise ImageRefused(f"The disk “{disk.name}” in it is no VMware disk in one file.")
    inner = vmdk.read(part)
    if virtual_bytes is not None and virtual_bytes != inner.virtual_bytes:
        raise ImageRefused(
            f"Its description speaks of a disk of {virtual_bytes} bytes; “{disk.name}” has {inner.virtual_bytes}."
        )
    return DiskFacts(inner.format, inner.virtual_bytes, disk.at, disk.size, archive="ova")


def _members(source: Source) -> Iterator[Member]:
    at, seen = 0, set[str]()
    while True:
        header = source.read(at, _BLOCK)
        if len(header) < _BLOCK:
            raise ImageRefused("The archive is cut off: its end is missing.")
        if not any(header):
            return
        member, kind = _member(header, at)
        if kind not in (b"0", b"\x00"):
            what = {
                b"1": "a hard link",
                b"2": "a symbolic link",
                b"3": "a device",
                b"4": "a device",
                b"5": "a folder",
            }
            raise ImageRefused(
                f"The archive holds {what.get(kind, 'something that is no plain file')}: “{member.name}”."
            )
        if member.name in seen:
            raise ImageRefused(f"The archive holds “{member.name}” twice.")
        seen.add(member.name)
        if len(seen) > _MOST_MEMBERS:
            raise ImageRefused(f"The archive holds more than {_MOST_MEMBERS} files.")
        at = member.at + -(-member.size // _BLOCK) * _BLOCK
        if at > source.size:
            raise ImageRefused(f"The archive is cut off in “{member.name}”.")
        yield member


def _member(header: bytes, at: int) -> tuple[Member, bytes]:
    if header[MAGIC_AT : MAGIC_AT + 5] != MAGIC:
        raise ImageRefused("The archive is damaged: a header of it is none.")
    if sum(header[:148]) + sum(header[156:]) + 8 * 32 != _number(header[148:156]):
        raise ImageRefused("The archive is damaged: the sum of a header is wrong.")
    raw = header[:100].split(b"\x00", 1)[0]
    # GNU tar keeps other things where POSIX has the first part of a long name.
    prefix = header[345:500].split(b"\x00", 1)[0] if header[MAGIC_AT : MAGIC_AT + 6] == b"ustar\x00" else b""
    name = shown(raw)
    if prefix or b"/" in raw or b"\\" in raw or raw in (b"", b".", b"..") or name.encode() != raw:
        raise ImageRefused(f"The archive holds a file that would lie elsewhere: “{shown(prefix + raw)}”.")
    return Member(name, at + _BLOCK, _number(header[124:136])), header[156:157]


def _number(field: bytes) -> int:
    """Octal digits, or GNU's binary form for what is larger than 8 GB."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \x00")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise ImageRefused("The archive is damaged: a number in it is none.")
    return int(digits or b"0", 8)


def _description(source: Source, member: Member) -> ElementTree.Element:
    if member.size > _LARGEST_DESCRIPTION:
        raise ImageRefused(
            f"Its description has {member.size} bytes; at most {_LARGEST_DESCRIPTION} are read."
        )
    try:
        text = source.read(member.at, member.size).decode("utf-8-sig")
        # No description needs a document type; without one there are no entities that could grow or fetch.
        if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
            raise ImageRefused("Its description defines entities of its own, which no description needs.")
        declared = re.match(r"\s*<\?xml[^>]*encoding\s*=\s*[\"']([^\"']*)", text)
        if declared and declared.group(1).lower() not in ("utf-8", "us-ascii", "ascii"):
            raise ImageRefused(
                f"Its description is written in {shown(declared.group(1).encode())}, not in UTF-8."
            )
        return ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))  # noqa: S314  no document type in it
    except (UnicodeDecodeError, ElementTree.ParseError) as exc:
        raise ImageRefused(f"Its description cannot be read: {shown(str(exc).encode())}.") from exc


def _the_disk(root: ElementTree.Element, members: dict[str, Member]) -> tuple[Member, int | None]:
    files = {each.get("id", ""): each for each in _all(root, "File")}
    disks = _all(root, "Disk")
    if len(disks) != 1:
        raise ImageRefused(
            f"It holds {len(disks)} disks, and one is taken. Export each disk on its own, and import them one by one."
        )
    file = files.get(_attributes(disks[0]).get("fileRef", ""))
    described = _attributes(file) if file is not None else {}
    name = described.get("href", "")
    member = members.get(name)
    if member is None:
        raise ImageRefused(
            f"Its description names a disk “{shown(name.encode())}” that is not in the archive."
        )
    if described.get("compression") or described.get("chunkSize"):
        raise ImageRefused(f"The disk “{member.name}” in it is packed once more; export it without that.")
    if described.get("size", str(member.size)) != str(member.size):
        raise ImageRefused(
            f"Its description says that “{member.name}” has {shown(described['size'].encode())} bytes; it has {member.size}."
        )
    return member, _capacity(_attributes(disks[0]))


def _capacity(disk: dict[str, str]) -> int | None:
    """In bytes; None where the description says it in a way that is not read here."""
    unit = _UNITS.get(disk.get("capacityAllocationUnits", "byte").replace(" ", ""))
    digits = disk.get("capacity", "")
    if unit is None or not re.fullmatch(r"[0-9]{1,18}", digits):
        return None
    return sane_size(int(digits) << unit)


def _all(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    found = [each for each in root.iter() if _ENVELOPE.sub("", str(each.tag)) == name]
    for each in found:
        each.attrib.update(_attributes(each))
    return found


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    return {_ENVELOPE.sub("", key): value for key, value in element.attrib.items()}
