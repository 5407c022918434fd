"""Disk images that people bring: the honest ones are read and converted, each hostile one is refused by what was found in it."""

from __future__ import annotations

import os
import random
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

from tests.lab import images
from tests.lab.images import DISK_BYTES, MIB, cut, disk_image, link, ova, patched, plain, qemu_img, raw_disk
from workers.contract.errors import ErrorCode
from workers.host import commands, imagecheck
from workers.plan import qemuimg
from workers.plan.imageformats.reading import DiskFacts, ImageFormat, ImageRefused
from workers.plan.imageformats.recognise import read_image

Made = Callable[[Path], Path]


def looked_at(path: Path) -> DiskFacts:
    path.chmod(0o644)
    with imagecheck.opened(path) as file:
        return imagecheck.check(file)


HONEST: dict[str, tuple[Made, ImageFormat]] = {
    "qcow2": (lambda at: disk_image(at, "qcow2"), ImageFormat.QCOW2),
    "qcow2 of version 2": (lambda at: disk_image(at, "qcow2", "compat=0.10"), ImageFormat.QCOW2),
    "qcow2, zstd, extended": (
        lambda at: disk_image(at, "qcow2", "compression_type=zstd,extended_l2=on"),
        ImageFormat.QCOW2,
    ),
    "raw": (lambda at: raw_disk(at / "disk.raw"), ImageFormat.RAW),
    "vmdk": (lambda at: disk_image(at, "vmdk"), ImageFormat.VMDK),
    "vmdk, streamed": (lambda at: disk_image(at, "vmdk", "subformat=streamOptimized"), ImageFormat.VMDK),
    "vdi": (lambda at: disk_image(at, "vdi"), ImageFormat.VDI),
    "vdi, fixed": (lambda at: disk_image(at, "vdi", "static=on"), ImageFormat.VDI),
    "vhdx": (lambda at: disk_image(at, "vhdx"), ImageFormat.VHDX),
    "vhd": (lambda at: disk_image(at, "vpc", "force_size=on"), ImageFormat.VHD),
    "vhd, fixed": (lambda at: disk_image(at, "vpc", "force_size=on,subformat=fixed"), ImageFormat.VHD),
    "ova": (ova, ImageFormat.VMDK),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_image_is_taken_and_its_content_arrives(tmp_path: Path, name: str) -> None:
    make, form = HONEST[name]
    source, target = make(tmp_path), tmp_path / "flat.qcow2"
    facts = looked_at(source)
    assert (facts.format, facts.virtual_bytes) == (form, DISK_BYTES)
    told: list[int] = []
    imagecheck.convert(source, target, tell=told.append, between=lambda: None)
    assert (target.stat().st_uid, target.stat().st_mode & 0o777) == (0, 0o644)
    back = tmp_path / "back.raw"
    qemu_img("convert", "-f", "qcow2", "-O", "raw", str(target), str(back))
    with back.open("rb") as file:
        file.seek(images.CONTENT_AT)
        assert file.read(512) == images.CONTENT
    assert back.stat().st_size == DISK_BYTES


def overlay(at: Path) -> Path:
    raw_disk(at / "below.raw")
    qemu_img("create", "-f", "qcow2", "-b", str(at / "below.raw"), "-F", "raw", str(at / "disk.qcow2"))
    return at / "disk.qcow2"


def data_file(at: Path) -> Path:
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={at}/secret.raw", str(at / "disk.qcow2"), "8M")
    return at / "disk.qcow2"


def a_raw_disk_with_luks(at: Path) -> Path:
    return patched(raw_disk(at / "disk.raw"), 0, "6s", b"LUKS\xba\xbe")


def the_same_table_again_and_again(at: Path) -> Path:
    """All entries of the first table are one table: a small file that shows a huge disk full of copies."""
    path = disk_image(at, "qcow2")
    qemu_img("resize", "-f", "qcow2", str(path), "1T")
    with path.open("rb") as file:
        l1_entries, l1_at = struct.unpack(">IQ", _bytes(path, 36, 12))
        file.seek(l1_at)
        first = file.read(8)
    assert l1_entries >= 2048
    return patched(path, l1_at, f"{8 * l1_entries}s", first * l1_entries)


def a_hyper_v_disk_with_a_parent(at: Path) -> Path:
    """The flag alone (MS-VHDX 2.6.2.1)."""
    path = disk_image(at, "vhdx")
    table_at, table = _vhdx_metadata(path)
    parameters = table.index(UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le)
    (offset,) = struct.unpack_from("<I", table, parameters + 16)
    return patched(path, table_at + offset + 4, "<I", 2)


def a_hyper_v_disk_that_names_a_parent(at: Path) -> Path:
    """One more item in its metadata: the parent's locator (MS-VHDX 2.6.2.6)."""
    path = disk_image(at, "vhdx")
    table_at, table = _vhdx_metadata(path)
    (count,) = struct.unpack_from("<H", table, 10)
    locator = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
    patched(path, table_at + 10, "<H", count + 1)
    return patched(path, table_at + 32 * (count + 1), "<16sIII", locator, 128 * 1024, 4096, 4)


def _vhdx_metadata(path: Path) -> tuple[int, bytes]:
    """Where its table of metadata lies, and the table."""
    table_at = path.read_bytes().index(b"metadata")
    return table_at, _bytes(path, table_at, 64 * 1024)


def two_disks(at: Path) -> Path:
    again = '<Disk ovf:diskId="vmdisk2" ovf:fileRef="file1" ovf:capacity="{capacity}"/>\n  </DiskSection>'
    return ova(at, ovf=images.OVF.replace("</DiskSection>", again))


def many_entities(at: Path) -> Path:
    laugh = '<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>\n<Envelope'
    return ova(at, ovf=images.OVF.replace("<Envelope", laugh, 1))


def a_description_alone(at: Path) -> Path:
    """The kind whose extents are other files: this one would read the host's passwords."""
    words = (
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        'createType="monolithicFlat"\n\nRW 16384 FLAT "/etc/shadow" 0\n'
    )
    path = at / "disk.vmdk"
    path.write_bytes(words.encode().ljust(1024, b"\x00"))
    return path


def in_its_description(at: Path, old: bytes, new: bytes) -> Path:
    path = disk_image(at, "vmdk")
    description = _bytes(path, 512, 10240).split(b"\x00")[0]
    assert old in description
    return patched(path, 512, "10240s", description.replace(old, new))


def an_iso_with_a_qcow2_in_front(at: Path) -> Path:
    path = disk_image(at, "qcow2")
    return patched(path, 32769, "5s", b"CD001")


def a_boot_sector_that_is_a_qcow2(at: Path) -> Path:
    return patched(disk_image(at, "qcow2"), 510, "2s", b"\x55\xaa")


def _bytes(path: Path, at: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(length)


def _web_page(at: Path) -> Path:
    (at / "disk.img").write_bytes(b"<!DOCTYPE html><title>404</title>".ljust(512))
    return at / "disk.img"


HOSTILE: dict[str, tuple[Made, str]] = {
    "a backing file": (overlay, r"backing file “/.*/below\.raw”"),
    "a data file": (data_file, r"data file “/.*/secret\.raw”"),
    "a LUKS secret": (lambda at: patched(disk_image(at, "qcow2"), 32, ">I", 2), "encrypted \\(LUKS\\)"),
    "a raw disk that is a LUKS container": (a_raw_disk_with_luks, "encrypted with LUKS"),
    "an old AES secret": (lambda at: patched(disk_image(at, "qcow2"), 32, ">I", 1), r"encrypted \(AES\)"),
    "a format of a backing file alone": (
        lambda at: patched(disk_image(at, "qcow2"), 112, ">II", 0xE2792ACA, 8),
        "names the format of a backing file",
    ),
    "an absurd size": (lambda at: patched(disk_image(at, "qcow2"), 24, ">Q", 1 << 62), "claims 4611686018427387904"),
    "more entries than the disk needs": (
        lambda at: patched(disk_image(at, "qcow2"), 36, ">I", 0xFFFFFFF0),
        "first table claims 4294967280 entries",
    ),
    "fewer entries than the disk needs": (
        lambda at: patched(disk_image(at, "qcow2"), 24, ">Q", 1 << 40), "first table has 1 entries"
    ),
    "one table again and again": (the_same_table_again_and_again, "same place again and again"),
    "a first table outside the file": (
        lambda at: patched(disk_image(at, "qcow2"), 40, ">Q", 1 << 40), "first table should end"
    ),
    "a table of used clusters without end": (
        lambda at: patched(disk_image(at, "qcow2"), 56, ">I", 0xFFFFFFFF), "table of used clusters claims"
    ),
    "clusters of no size": (lambda at: patched(disk_image(at, "qcow2"), 20, ">I", 63), r"clusters have 2\^63"),
    "features of the future": (lambda at: patched(disk_image(at, "qcow2"), 72, ">Q", 1 << 40), "features that are not known"),
    "a version of the future": (lambda at: patched(disk_image(at, "qcow2"), 4, ">I", 9), "version 9"),
    "not closed": (lambda at: patched(disk_image(at, "qcow2"), 72, ">Q", 1), "not closed in an orderly way"),
    "snapshots without end": (lambda at: patched(disk_image(at, "qcow2"), 60, ">I", 65000), "claims 65000 snapshots"),
    "a truncated qcow2": (lambda at: cut(disk_image(at, "qcow2"), to=3 * 65536), "cut off or damaged|damaged"),
    "a qcow2 without its last piece": (lambda at: cut(disk_image(at, "qcow2"), to=4 * 65536), "damaged"),
    "a header alone": (lambda at: cut(disk_image(at, "qcow2"), to=50), "cut off"),
    "a truncated vmdk": (lambda at: cut(disk_image(at, "vmdk"), to=4096), "cut off|damaged"),
    "a truncated streamed vmdk": (
        lambda at: cut(disk_image(at, "vmdk", "subformat=streamOptimized"), to=60000), "cut off|truncated"
    ),
    "a truncated vdi": (lambda at: cut(disk_image(at, "vdi"), to=MIB // 2), "cut off"),
    "a truncated vhdx": (lambda at: cut(disk_image(at, "vhdx"), to=2 * MIB), "cut off"),
    "a truncated vhd": (lambda at: cut(disk_image(at, "vpc"), to=4096), "cut off"),
    "a truncated ova": (lambda at: cut(ova(at), to=70000), "cut off"),
    "half a sector": (lambda at: cut(raw_disk(at / "disk.raw"), to=5 * MIB + 100), "no whole number of sectors"),
    "nothing": (lambda at: cut(raw_disk(at / "disk.raw"), to=0), "empty"),
    "a disc and a qcow2": (an_iso_with_a_qcow2_in_front, r"a qcow2 image and an installation disc .* at once"),
    "a boot sector and a qcow2": (a_boot_sector_that_is_a_qcow2, "a qcow2 image and a disk with a boot sector at once"),
    "a disk for VirtualBox and for VMware": (
        lambda at: patched(disk_image(at, "vdi"), 0, "4s", b"KDMV"), r"VMDK\) and a VirtualBox disk .* at once"
    ),
    "a description with other files": (a_description_alone, "“/etc/shadow”"),
    "a vmdk with a parent": (
        lambda at: in_its_description(at, b'parentCID=ffffffff', b'parentCID=0badcafe'), "parent 0badcafe"
    ),
    "a vmdk with the name of a parent": (
        lambda at: in_its_description(at, b"# Extent", b'parentFileNameHint="/etc/passwd"\n# Extent'),
        "parent “/etc/passwd”",
    ),
    "a vmdk in several files": (
        lambda at: in_its_description(at, b"monolithicSparse", b"twoGbMaxExtentSparse"), "twoGbMaxExtentSparse"
    ),
    "a vmdk without a size": (lambda at: patched(disk_image(at, "vmdk"), 12, "<Q", 0), "no size of its own"),
    "a differencing vdi": (lambda at: patched(disk_image(at, "vdi"), 76, "<I", 4), "a differencing image"),
    "a vdi with a parent": (lambda at: patched(disk_image(at, "vdi"), 440, "16s", b"p" * 16), "names a parent"),
    "a differencing vhd": (
        lambda at: patched(disk_image(at, "vpc"), _size_of(at, "vpc") - 512 + 60, ">I", 4), "differencing disk"
    ),
    "a growing vhd that names a parent": (
        lambda at: patched(disk_image(at, "vpc"), 512 + 40, "16s", b"p" * 16), "names a parent"
    ),
    "a vhdx with a parent": (a_hyper_v_disk_with_a_parent, "has a parent"),
    "a vhdx that names a parent": (a_hyper_v_disk_that_names_a_parent, "names a parent"),
    "an ova with a link": (lambda at: ova(at, extra=(link("disk2.vmdk", "/etc/shadow"),)), "a symbolic link"),
    "an ova with a way out": (lambda at: ova(at, extra=(plain("../../etc/cron.d/x"),)), "would lie elsewhere"),
    "an ova with an absolute name": (lambda at: ova(at, extra=(plain("/etc/cron.d/x"),)), "would lie elsewhere"),
    "an ova with two descriptions": (lambda at: ova(at, extra=(plain("other.ovf"),)), "has 2"),
    "an ova that names what it has not": (lambda at: ova(at, href="/etc/shadow"), "“/etc/shadow”.* not in the archive"),
    "an ova that lies in its size": (lambda at: ova(at, capacity=DISK_BYTES * 2), "speaks of a disk of 16777216"),
    "an ova with two disks": (two_disks, "holds 2 disks"),
    "an ova whose description explodes": (many_entities, "defines entities"),
    "an archive": (lambda at: patched(raw_disk(at / "disk.raw"), 0, "2s", b"\x1f\x8b"), "unpack it first"),
    "an installation disc": (lambda at: patched(raw_disk(at / "disk.raw"), 32769, "5s", b"CD001"), "an installation disc"),
    "a web page": (_web_page, "a web page"),
}  # fmt: skip


def _size_of(at: Path, form: str) -> int:
    return (at / f"disk.{form}").stat().st_size


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_image_is_refused_by_what_was_found(tmp_path: Path, name: str) -> None:
    make, words = HOSTILE[name]
    path = make(tmp_path)
    with pytest.raises(ImageRefused) as refusal:
        looked_at(path)
    assert refusal.value.code is ErrorCode.IMAGE_REFUSED
    assert re.search(words, refusal.value.detail), refusal.value.detail


@pytest.mark.parametrize("name", HONEST)
def test_no_bent_header_leads_to_anything_but_facts_or_a_refusal(tmp_path: Path, name: str) -> None:
    path = HONEST[name][0](tmp_path)
    dice = random.Random(name)
    with imagecheck.opened(path) as file:
        honest = {at: file.read(at, 4096) for at in (0, 64 * 1024, 192 * 1024, max(0, file.size - 4096))}
        for _ in range(300):
            at = dice.choice(list(honest))
            bent = bytearray(honest[at])
            if not bent:
                continue
            for _ in range(dice.randint(1, 4)):
                where = dice.randrange(min(len(bent), dice.choice((64, 512, 4096))))
                bent[where] = dice.choice((0, 1, 0x7F, 0xFF, dice.randrange(256)))
            try:
                read_image(_Bent(file, at, bytes(bent)))
            except ImageRefused as refusal:
                assert refusal.detail.isprintable()


class _Bent(NamedTuple):
    file: imagecheck.OpenFile
    at: int
    instead: bytes

    @property
    def size(self) -> int:
        return self.file.size

    def read(self, at: int, length: int) -> bytes:
        found = bytearray(self.file.read(at, length))
        for number, value in enumerate(self.instead):
            if 0 <= self.at + number - at < len(found):
                found[self.at + number - at] = value
        return bytes(found)


def test_what_is_looked_at_runs_without_rights_network_or_reach(tmp_path: Path) -> None:
    path = disk_image(tmp_path, "qcow2")
    path.chmod(0o644)
    tmp_path.chmod(0o700)
    said = tmp_path / "said"
    script = (
        "id -u; id -G; grep CapEff /proc/self/status; cat /proc/net/dev | wc -l; "
        f"ls {tmp_path} 2>&1; ulimit -v; ulimit -t; ulimit -f; ulimit -n; head -c 3 /dev/fd/{{}}"
    )
    with imagecheck.opened(path) as file:
        argv = qemuimg.confined(("sh", "-c", script.format(file.descriptor)), qemuimg.LOOK, account=62001)
        process = commands.spawn(argv, stdout=said, stderr=said, pass_fds=[file.descriptor])
        assert process.wait(30) == 0
    user, groups, rights, interfaces, reach, memory, seconds, written, files, magic = said.read_text().split(
        "\n"
    )
    assert (user, groups) == ("62001", "62001")
    assert rights.split()[1] == "0000000000000000"
    assert int(interfaces) == 3  # two lines of headings, and its own loopback
    assert "Permission denied" in reach
    assert (memory, seconds, written, files) == (str(2 * 1024 * 1024), "20", str(4 * 2 * 1024), "64")
    assert magic == "QFI"


def test_a_conversion_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    class Cancelled(Exception):
        pass

    source = disk_image(tmp_path, "qcow2", size=64 * MIB)
    source.chmod(0o644)
    began = time.monotonic()

    def between() -> None:
        if (tmp_path / "flat.qcow2").exists():
            raise Cancelled

    with pytest.raises(Cancelled):
        imagecheck.convert(source, tmp_path / "flat.qcow2", tell=lambda _: None, between=between)
    assert not (tmp_path / "flat.qcow2").exists()
    assert time.monotonic() - began < 60


def test_a_program_that_writes_more_than_it_may_is_ended(tmp_path: Path) -> None:
    source = raw_disk(tmp_path / "disk.raw", size=32 * MIB)
    source.write_bytes(os.urandom(32 * MIB))
    source.chmod(0o644)
    with imagecheck.opened(source) as file:
        facts = imagecheck.check(file)
        small = DiskFacts(facts.format, 4 * MIB - 16 * MIB, 0, facts.length)
        with pytest.raises(ImageRefused, match="larger than it claims"):
            imagecheck._convert(
                file, small, tmp_path / "flat.qcow2", tell=lambda _: None, between=lambda: None
            )


def test_a_program_that_computes_longer_than_it_may_is_ended(tmp_path: Path) -> None:
    endless = ("sh", "-c", "while :; do :; done")
    limits = qemuimg.Limits(cpu_seconds=1, file_bytes=MIB)
    refused = pytest.raises(ImageRefused, match="more processor time")
    with imagecheck.opened(raw_disk(tmp_path / "disk.raw")) as file, refused:
        imagecheck._qemu_img(endless, limits, file, between=lambda: None)
