"""What a file that comes into the library is: a disc for the drive, or the image of a disk, by what stands in it and its name.

This is a first look, for an answer before all has arrived. What a disk image really is a host says, which looks at all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from portal.images import iso9660
from portal.images.models import ImageKind
from portal.refusal import Refused

HEADER_BYTES = iso9660.HEADER_BYTES
"""All that `first_look` ever reads."""

_FORMATS: tuple[tuple[int, bytes, str, tuple[str, ...]], ...] = (
    (0, b"QFI\xfb", gettext_noop("a qcow2 disk image"), (".qcow2", ".qcow")),
    (0, b"KDMV", gettext_noop("a VMware disk image"), (".vmdk",)),
    (0, b"# Disk DescriptorFile", gettext_noop("a VMware disk image"), (".vmdk",)),
    (64, b"\x7f\x10\xda\xbe", gettext_noop("a VirtualBox disk image"), (".vdi",)),
    (0, b"vhdxfile", gettext_noop("a Hyper-V disk image"), (".vhdx",)),
    (0, b"conectix", gettext_noop("a Virtual PC disk image"), (".vhd",)),
    (257, b"ustar", gettext_noop("an archive"), (".ova",)),
)
_RAW_ENDINGS = (".raw", ".img", ".dd")
_ANY_FORMAT = ".img"
"""Some makers call their qcow2 images so."""

_WITHOUT_A_HEADER = (*_RAW_ENDINGS, ".vhd")
"""A fixed VHD has nothing in front, only a footer."""

DISK_ENDINGS = (*(ending for *_rest, endings in _FORMATS for ending in endings), *_RAW_ENDINGS)
_DISC_MARK_AT, _DISC_MARK = 0x8001, b"CD001"
_BOOT_SECTORS_ARE_FINE = (gettext_noop("a disk image, not a disc image"), gettext_noop("a Linux file system"))
_ANYTHING = gettext_noop("something else")


class NotAnImage(Refused):
    """The file is neither a disc nor the image of a disk, or two things at once; the message says what was found."""


@dataclass(frozen=True)
class Recognised:
    """What the file is, and what a disc calls itself."""

    kind: ImageKind
    label: str = ""


def first_look(file: BinaryIO, *, size: int, name: str) -> None:
    """Refuse early, by the first HEADER_BYTES of a file of `size` bytes. Raises NotAnImage or NotAnIso."""
    if _kind(file, name) is ImageKind.DISC:
        iso9660.check_header(file, size=size)


def recognise(file: BinaryIO, *, size: int, name: str) -> Recognised:
    """What the whole file of `size` bytes is, by its first bytes and `name`. Raises NotAnImage or NotAnIso."""
    if _kind(file, name) is ImageKind.DISK:
        if size == 0:
            raise NotAnImage(_("The file is empty."))
        return Recognised(ImageKind.DISK)
    return Recognised(ImageKind.DISC, iso9660.check(file, size=size).label)


def without_ending(name: str) -> str:
    """An image's name from its file's: what the ending says stands beside it."""
    for ending in (".iso", *DISK_ENDINGS):
        if name.lower().endswith(ending):
            return name[: -len(ending)].rstrip()
    return name


def _kind(file: BinaryIO, name: str) -> ImageKind:
    file.seek(0)
    head = file.read(_DISC_MARK_AT + len(_DISC_MARK))
    ending = name[name.rfind(".") :].lower() if "." in name else ""
    found = [(words, endings) for at, mark, words, endings in _FORMATS if head[at : at + len(mark)] == mark]
    is_disc = head[_DISC_MARK_AT:] == _DISC_MARK
    if found and (is_disc or len(found) > 1):
        both = [_(words) for words, _endings in found] + ([_("a disc image")] if is_disc else [])
        words = _("The file is two things at once: %(found)s. It was refused.")
        raise NotAnImage(words % {"found": _(" and ").join(both)})
    if is_disc or ending == ".iso":
        return ImageKind.DISC
    if found:
        words, endings = found[0]
        if ending in DISK_ENDINGS and ending not in (*endings, _ANY_FORMAT):
            refusal = _("The file is called %(ending)s, but it is %(found)s. Rename it if that is right.")
            raise NotAnImage(refusal % {"ending": ending, "found": _(words)})
        return ImageKind.DISK
    if ending in DISK_ENDINGS:
        return _headerless(file, ending)
    return ImageKind.DISC  # and the look at a disc says what it is instead


def _headerless(file: BinaryIO, ending: str) -> ImageKind:
    """Raises NotAnImage where it should have a header, or looks like something that is no disk."""
    looks = iso9660.found_instead(file)
    raw = ending in _WITHOUT_A_HEADER and looks in (_ANYTHING, *_BOOT_SECTORS_ARE_FINE)
    if not raw:
        words = _("The file is called %(ending)s, but it is %(found)s.")
        raise NotAnImage(words % {"ending": ending, "found": _(looks)})
    return ImageKind.DISK
