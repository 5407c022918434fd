"""The pure parts of backups and exports: names, what can stand on what, a disk's header, another virtualizer's descriptor."""

from __future__ import annotations

import subprocess
from pathlib import Path
from uuid import UUID, uuid4
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tests.lab import wishes
from workers.contract.disks import MIB, DiskKind
from workers.contract.spec import Firmware, GuestKind
from workers.host.change_records import forget_changes, records_in
from workers.plan.backups import Manifest, StoredDisk, bitmap_name, bitmaps_to_drop, can_stand_on
from workers.plan.bitmaps import bitmaps_in, directory_in
from workers.plan.blocks import copier_argv, file_node
from workers.plan.ovf import ExportedDisk, descriptor, manifest

DISK, BACKUP, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)
SOUND = {"recording": True, "name": "x"}


def _manifest(size: int = 64 * MIB) -> Manifest:
    disk = StoredDisk(
        id=DISK, slot=0, size_bytes=size, kind=DiskKind.GROWING, file=f"{DISK}.qcow2", stored_bytes=5,
        sha256="ab" * 32, incremental=False,
    )  # fmt: skip
    return Manifest(
        backup_id=BACKUP, machine_id=uuid4(), previous=None, taken_at="2026-01-01T00:00:00+00:00", still=True,
        spec=wishes.spec(), disks=(disk,),
    )  # fmt: skip


def test_a_disk_is_kept_by_its_changes_only_where_nothing_speaks_against_it() -> None:
    before = _manifest()
    assert can_stand_on(DISK, 64 * MIB, SOUND, before)
    assert not can_stand_on(DISK, 65 * MIB, SOUND, before)
    assert not can_stand_on(OTHER, 64 * MIB, SOUND, before)
    assert not can_stand_on(DISK, 64 * MIB, None, before)
    assert not can_stand_on(DISK, 64 * MIB, SOUND | {"inconsistent": True}, before)
    assert not can_stand_on(DISK, 64 * MIB, {"recording": False}, before)
    assert not can_stand_on(DISK, 64 * MIB, SOUND, None)


def test_records_of_other_folders_and_of_others_are_left_alone() -> None:
    there = [bitmap_name("main", BACKUP), bitmap_name("main", OTHER), bitmap_name("main-2", OTHER), "theirs"]
    assert bitmaps_to_drop(there, "main", BACKUP) == [bitmap_name("main", OTHER)]
    assert bitmaps_to_drop(there, "main", None) == there[:2]


def test_a_file_is_opened_by_what_is_said_of_it_and_never_by_what_it_says_itself() -> None:
    node = file_node("a", "/dev/fdset/7", "qcow2", writable=False)
    assert (node["driver"], node["backing"], node["read-only"]) == ("qcow2", None, True)
    assert file_node("b", "/dev/fdset/8", "qcow2", writable=False, backing="a")["backing"] == "a"


def test_no_path_becomes_a_second_property_of_the_copier() -> None:
    argv = copier_argv(Path("/a,server=off/qmp.sock"), ())
    assert "socket,id=qmp,path=/a,,server=off/qmp.sock,server=on,wait=off" in argv


def test_records_are_read_from_a_real_header_and_dropped(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", str(path), "64M"), check=True)
    assert records_in(path) == {}
    mine, long = bitmap_name("main", BACKUP), "somebody's, with a long name" * 4
    for name in (mine, long):
        subprocess.run(("qemu-img", "bitmap", "--add", str(path), name), check=True)
    assert records_in(path) == {mine: True, long: True}
    forget_changes(path, uid=0, gid=0, only_unsound=True)
    assert mine in records_in(path)
    forget_changes(path, uid=0, gid=0)
    assert records_in(path) == {long: True}


@given(st.binary(max_size=400))
def test_a_header_that_makes_no_sense_has_no_records(raw: bytes) -> None:
    assert directory_in(raw) is None
    assert directory_in(b"QFI\xfb\x00\x00\x00\x03" + raw) is None or len(raw) > 100
    bitmaps_in(raw)


def test_an_appliances_descriptor_says_what_the_machine_is() -> None:
    spec = wishes.spec(name='a "b" <c>', firmware=Firmware.UEFI, guest=GuestKind.WINDOWS)
    root = ElementTree.fromstring(descriptor(spec, [ExportedDisk("disk1.vmdk", 5 * MIB, 1234)]))  # noqa: S314  ours
    ovf = "{http://schemas.dmtf.org/ovf/envelope/1}"
    assert [each.attrib for each in root.iter(f"{ovf}File")] == [
        {f"{ovf}id": "file1", f"{ovf}href": "disk1.vmdk", f"{ovf}size": "1234"}
    ]
    assert [each.get(f"{ovf}id") for each in root.iter(f"{ovf}OperatingSystemSection")] == ["102"]
    assert next(root.iter(f"{ovf}Name")).text == 'a "b" <c>'
    [firmware] = root.iter("{http://www.vmware.com/schema/ovf}Config")
    assert firmware.get("{http://www.vmware.com/schema/ovf}value") == "efi"
    assert manifest([("machine.ovf", "ab" * 32)]) == b"SHA256(machine.ovf)= " + b"ab" * 32 + b"\n"
