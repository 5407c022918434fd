"""Disk images as people bring them, honest ones and hostile ones, made by qemu-img and bent by hand."""

from __future__ import annotations

import io
import struct
import subprocess
import tarfile
from pathlib import Path

MIB = 1024 * 1024
CONTENT = b"a sector of this very disk".ljust(512, b".")
"""What stands at CONTENT_AT on every disk that is made here."""

CONTENT_AT = 3 * MIB
DISK_BYTES = 8 * MIB


def raw_disk(path: Path, *, size: int = DISK_BYTES) -> Path:
    """A raw disk that is recognised again."""
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(CONTENT_AT)
        file.write(CONTENT)
    return path


def disk_image(folder: Path, form: str, *options: str, size: int = DISK_BYTES) -> Path:
    """The same disk in another form; `options` are qemu-img's -o."""
    raw = raw_disk(folder / "source.raw", size=size)
    path = folder / f"disk.{form}"
    chosen = [word for option in options for word in ("-o", option)]
    qemu_img("convert", "-f", "raw", "-O", form, *chosen, str(raw), str(path))
    raw.unlink()
    return path


def qemu_img(*argv: str) -> None:
    """Real files by the real program."""
    subprocess.run(("qemu-img", *argv), check=True, capture_output=True, timeout=120)


def patched(path: Path, at: int, layout: str, *values: int | bytes) -> Path:
    """The same file with other numbers at a place (struct(3))."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack(layout, *values))
    return path


def cut(path: Path, *, to: int) -> Path:
    """The beginning of the file only."""
    with path.open("r+b") as file:
        file.truncate(to)
    return path


OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References><File ovf:id="file1" ovf:href="{href}" ovf:size="{size}"/></References>
  <DiskSection><Info>Disks</Info>
    <Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte"/>
  </DiskSection>
</Envelope>
"""


def ova(
    folder: Path,
    *,
    ovf: str = OVF,
    href: str = "box-disk1.vmdk",
    extra: tuple[tarfile.TarInfo, ...] = (),
    capacity: int = DISK_BYTES,
) -> Path:
    """An archive as virtualizers export it; `extra` members come first."""
    disk = disk_image(folder, "vmdk", "subformat=streamOptimized")
    path = folder / "box.ova"
    words = ovf.format(href=href, size=disk.stat().st_size, capacity=capacity).encode()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for member in extra:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
        description = tarfile.TarInfo("box.ovf")
        description.size = len(words)
        archive.addfile(description, io.BytesIO(words))
        archive.add(disk, "box-disk1.vmdk")
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    """A member that is a symbolic link."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def plain(name: str, size: int = 10) -> tarfile.TarInfo:
    """A member that is a file."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def bootable_disk(folder: Path, disc: Path) -> Path:
    """A raw disk that boots what the disc boots: isolinux behind a boot sector (syslinux wiki: isohybrid)."""
    target = folder / "bootable.raw"
    sector = "system_area=/usr/lib/ISOLINUX/isohdpfx.bin"
    subprocess.run(
        (
            *("xorriso", "-indev", str(disc), "-outdev", str(target), "-changes_pending", "yes"),
            *("-boot_image", "any", "replay", "-boot_image", "isolinux", sector),
            *("-boot_image", "isolinux", "partition_table=on"),
        ),
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    size = -(-target.stat().st_size // MIB) * MIB
    with target.open("r+b") as file:
        file.truncate(size)
    return target
