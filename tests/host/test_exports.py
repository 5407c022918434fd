"""Exports of real disks: written, sent piece by piece over a way that breaks, and opened again."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from threading import Thread
from uuid import UUID, uuid4
from xml.etree import ElementTree

import pytest

from tests.lab import obstacles, wishes
from tests.lab.content import write
from tests.lab.host import FLEET_KEY
from tests.lab.processes import processes_of
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.acts import ExportMachine
from workers.contract.disks import MIB, DiscSpec, DiskKind, DiskSpec, ImageOrigin
from workers.contract.errors import ErrorCode
from workers.contract.jobs import CheckImage, ExportFacts, ImageFacts
from workers.contract.messages import ApplyMachine, DoJob, OperationState, Step
from workers.contract.spec import Firmware, MachineSpec, Power, StopMode
from workers.contract.tokens import Purpose, subject_of

OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"


class Shelf(ThreadingMixIn, UnixStreamServer):
    """Stands where the portal takes exports; the connection breaks at the first try of every second piece."""

    daemon_threads = True

    def __init__(self, socket: Path, folder: Path) -> None:
        self.folder, self.room, self.broken = folder, 10**12, set[int]()
        self.breaks = True
        super().__init__(str(socket), _Handler)

    def file(self, export_id: UUID) -> Path:
        return self.folder / str(export_id)


class _Handler(BaseHTTPRequestHandler):
    server: Shelf
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(200)

    def do_PATCH(self) -> None:
        piece = self.rfile.read(int(self.headers["Content-Length"]))
        offset = int(self.headers["Upload-Offset"])
        assert hashlib.sha256(piece).hexdigest() == self.headers["Piece-Sha256"]
        if offset and self.server.breaks and offset not in self.server.broken:
            self.server.broken.add(offset)
            self.close_connection = True
            return
        path = self._path()
        if offset != (path.stat().st_size if path.exists() else 0):
            self._answer(409)
            return
        with path.open("ab") as file:
            file.write(piece)
        self._answer(204)

    def _path(self) -> Path:
        export = self.path.split("/")[2]
        token = self.headers["Authorization"].removeprefix("Bearer ")
        assert subject_of(token, key=FLEET_KEY, purpose=Purpose.EXPORT, seconds=60) == export
        return self.server.file(UUID(export))

    def _answer(self, status: int) -> None:
        path = self._path()
        self.send_response(status)
        self.send_header("Upload-Offset", str(path.stat().st_size if path.exists() else 0))
        self.send_header("Room-Bytes", str(self.server.room))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def address_string(self) -> str:
        return "a host"

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def place() -> Iterator[Standing]:
    """One host for the whole file."""
    with standing_host() as place:
        yield place


@pytest.fixture
def shelf(place: Standing, tmp_path: Path) -> Iterator[Shelf]:
    """Where exports arrive."""
    with _listening(place.folder / "portal.sock", tmp_path) as shelf:
        yield shelf


@contextmanager
def _listening(socket: Path, folder: Path) -> Iterator[Shelf]:
    socket.unlink(missing_ok=True)
    with Shelf(socket, folder) as shelf:
        thread = Thread(target=shelf.serve_forever, daemon=True)
        thread.start()
        yield shelf
        shelf.shutdown()
        thread.join(10)


def test_an_appliance_is_opened_again(place: Standing, shelf: Shelf, tmp_path: Path) -> None:
    disks = (_disk(0, 64), _disk(1, 8, DiskKind.FIXED))
    machine = place.done(
        wishes.spec(
            number=20,
            power=Power.OFF,
            run=0,
            disks=disks,
            cpus=2,
            name="shop <web> & co",
            firmware=Firmware.UEFI,
        )
    )
    files = [place.host.disk_file(machine.machine_id, disk) for disk in disks]
    _noise(files[0], 12)
    export, _, facts = _export(place, machine, "ova")
    assert shelf.broken, "the way there never broke"
    whole = shelf.file(export)
    assert facts.sha256 == hashlib.sha256(whole.read_bytes()).hexdigest()
    assert facts.size_bytes == whole.stat().st_size

    with tarfile.open(whole) as tar:
        assert tar.getnames() == ["machine.ovf", "machine.mf", "disk1.vmdk", "disk2.vmdk"]
        tar.extractall(tmp_path / "out")  # noqa: S202  written by this very host
    out = tmp_path / "out"
    sums = dict(
        line.removeprefix("SHA256(").split(")= ") for line in (out / "machine.mf").read_text().splitlines()
    )
    assert sums == {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest()
        for name in ("machine.ovf", "disk1.vmdk", "disk2.vmdk")
    }
    for file, vmdk in zip(files, ("disk1.vmdk", "disk2.vmdk"), strict=True):
        kind = "raw" if file.suffix == ".raw" else "qcow2"
        subprocess.run(("qemu-img", "check", "-q", "-f", "vmdk", str(out / vmdk)), check=True)
        subprocess.run(
            ("qemu-img", "compare", "-q", "-f", kind, "-F", "vmdk", str(file), str(out / vmdk)), check=True
        )
        assert b'createType="streamOptimized"' in (out / vmdk).read_bytes()[:4096]
    root = ElementTree.parse(out / "machine.ovf").getroot()  # noqa: S314  the same
    assert [each.get(f"{OVF}href") for each in root.iter(f"{OVF}File")] == ["disk1.vmdk", "disk2.vmdk"]
    assert [each.get(f"{OVF}capacity") for each in root.iter(f"{OVF}Disk")] == [str(64 * MIB), str(8 * MIB)]
    assert [each.text for each in root.iter(f"{OVF}Name")] == ["shop <web> & co"]
    hardware = {
        each.findtext(f"{RASD}ResourceType"): each.findtext(f"{RASD}VirtualQuantity")
        for each in root.iter(f"{OVF}Item")
    }
    assert hardware == {"3": "2", "4": "256", "20": None, "17": None, "10": None}
    assert b'"firmware"' in (out / "machine.ovf").read_bytes()
    assert not place.host.folder(machine.machine_id).export.exists()
    place.delete(machine)


def test_one_disk_is_one_compressed_image_and_several_are_a_tar(
    place: Standing, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.breaks = False
    machine = place.done(wishes.spec(number=21, power=Power.OFF, run=0, disks=(_disk(0, 64),)))
    file = place.host.disk_file(machine.machine_id, machine.disks[0])
    subprocess.run(
        ("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 16M", str(file)), check=True, capture_output=True
    )
    export, machine, facts = _export(place, machine, "qcow2")
    assert facts.size_bytes < MIB
    subprocess.run(
        ("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", str(file), str(shelf.file(export))),
        check=True,
    )
    place.delete(machine)
    machine = place.done(wishes.spec(number=21, power=Power.OFF, run=0, disks=(_disk(0, 8), _disk(1, 8))))
    export, machine, _ = _export(place, machine, "qcow2")
    with tarfile.open(shelf.file(export)) as tar:
        assert tar.getnames() == ["disk1.qcow2", "disk2.qcow2"]
    place.delete(machine)


@pytest.mark.parametrize("kind", ["ova", "qcow2"])
def test_what_was_exported_is_taken_as_a_disk_image_and_holds_the_same(
    place: Standing, shelf: Shelf, kind: str
) -> None:
    shelf.breaks = False
    machine = place.done(wishes.spec(number=24, power=Power.OFF, run=0, nics=(), disks=(_disk(0, 64),)))
    file = place.host.disk_file(machine.machine_id, machine.disks[0])
    _noise(file, 3)
    write(file, 7, offset=40 * MIB)
    export, machine, sent = _export(place, machine, kind)
    content = shelf.file(export).read_bytes()
    image = DiscSpec(image_id=uuid4(), size_bytes=sent.size_bytes, sha256=sent.sha256)
    disk = _disk(0, 64).model_copy(update={"origin": ImageOrigin(image=image)})
    with obstacles.library_that_sends(place.folder / "portal.sock", content):
        job = DoJob(operation_id=uuid4(), job=CheckImage(image=image))
        place.ear.ask_job(place.host.name, job)
        end = place.ear.end_of(job.operation_id)
        assert end.facts == ImageFacts(format=kind, virtual_bytes=64 * MIB), end
        again = place.done(wishes.spec(power=Power.OFF, run=0, nics=(), disks=(disk,)))
    made = place.host.disk_file(again.machine_id, disk)
    subprocess.run(
        ("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", str(file), str(made)), check=True
    )
    place.delete(again)
    place.delete(machine)


def test_an_export_is_told_in_per_cent_and_a_newer_wish_ends_it(place: Standing, shelf: Shelf) -> None:
    shelf.breaks = False
    machine = place.done(wishes.spec(number=25, power=Power.OFF, run=0, nics=(), disks=(_disk(0, 1024),)))
    write(place.host.disk_file(machine.machine_id, machine.disks[0]), 9, size=300 * MIB)
    folder = place.host.folder(machine.machine_id)
    act = ExportMachine(export_id=uuid4(), format="ova")
    wish = wishes.wish(wishes.later(machine), act)
    place.ear.ask(place.host.name, wish)
    [writer] = wait_for("it is being written", lambda: _writers(place), pause=0.005)
    os.kill(writer, signal.SIGSTOP)
    machine = place.done(wishes.later(wish.spec))
    assert place.ear.end_of(wish.operation_id).state is OperationState.SUPERSEDED
    wait_for("the writer is gone", lambda: not _writers(place))
    assert not folder.export.exists()
    assert not shelf.file(act.export_id).exists()
    # Another one, to its end.
    act = ExportMachine(export_id=uuid4(), format="ova")
    wish = wishes.wish(wishes.later(machine), act)
    place.ear.ask(place.host.name, wish)
    assert place.ear.end_of(wish.operation_id, seconds=120).state is OperationState.DONE
    reports = place.ear.progress(wish.operation_id)
    percents = [
        each.percent for report in reports for each in report.steps if each.step is Step.EXPORT_MACHINE
    ]
    assert [each for each in percents if 0 < each < 100]
    assert percents == sorted(percents)
    assert not folder.export.exists()
    place.delete(wish.spec)


def _writers(place: Standing) -> list[int]:
    return processes_of(place.host.state.machines, "qemu-img\0convert")


def test_what_cannot_be_exported_is_refused_and_nothing_is_left(place: Standing, shelf: Shelf) -> None:
    machine = place.done(wishes.spec(number=22, memory_mib=64, disks=(_disk(0, 64),)))
    end = place.apply(machine := wishes.later(machine), ExportMachine(export_id=uuid4(), format="ova"))
    assert end.error is not None
    assert end.error.code is ErrorCode.NOT_OFF
    machine = place.done(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE))
    shelf.room = 1000
    end = place.apply(machine := wishes.later(machine), ExportMachine(export_id=uuid4(), format="ova"))
    assert end.error is not None
    assert end.error.code is ErrorCode.EXPORT_FAILED
    assert "the site has room for 0 MiB" in end.error.detail
    assert not place.host.folder(machine.machine_id).export.exists()
    place.delete(machine)


@pytest.mark.parametrize("point", ["disks exported", "export written", "export sent"])
def test_a_worker_killed_in_an_export_sends_it_whole(place: Standing, shelf: Shelf, point: str) -> None:
    shelf.breaks = False
    host = place.host
    machine = place.done(wishes.spec(number=23, power=Power.OFF, run=0, disks=(_disk(0, 16),)))
    host.kill()
    host.set(OFFSHOOT_DIE_AT=point)
    host.start()
    act = ExportMachine(export_id=uuid4(), format="ova")
    message = ApplyMachine(operation_id=uuid4(), spec=wishes.later(machine), act=act)
    place.ear.ask(host.name, message)
    host.wait_for_death(seconds=120)
    host.set(OFFSHOOT_DIE_AT="")
    host.start()
    end = place.ear.end_of(message.operation_id, seconds=120)
    assert end.state is OperationState.DONE, host.words()[-3000:]
    assert isinstance(end.facts, ExportFacts)
    whole = shelf.file(act.export_id).read_bytes()
    assert hashlib.sha256(whole).hexdigest() == end.facts.sha256
    place.delete(message.spec)


def _export(place: Standing, machine: MachineSpec, kind: str) -> tuple[UUID, MachineSpec, ExportFacts]:
    act = ExportMachine.model_validate_json(f'{{"export_id": "{uuid4()}", "format": "{kind}"}}')
    later = wishes.later(machine)
    end = place.apply(later, act, seconds=120)
    assert end.state is OperationState.DONE, (end, place.host.words()[-3000:])
    assert isinstance(end.facts, ExportFacts)
    return act.export_id, later, end.facts


def _disk(slot: int, size_mib: int, kind: DiskKind = DiskKind.GROWING) -> DiskSpec:
    return DiskSpec(id=uuid4(), size_bytes=size_mib * MIB, kind=kind, slot=slot)


def _noise(file: Path, size_mib: int) -> None:
    """What does not get smaller, so that it takes several pieces."""
    command = f"write -s /dev/urandom 1M {size_mib}M"
    subprocess.run(("qemu-io", "-f", "qcow2", "-c", command, str(file)), check=True, capture_output=True)
