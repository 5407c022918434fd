"""Backups of real machines: the disks of one instant, what has changed since, and everything that can come in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.guest.boot_sector import restarting_sector
from tests.guest.build import guest_disc
from tests.lab import wishes
from tests.lab.folder import short_folder
from tests.lab.processes import QEMU, processes_of
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.acts import RevertToSnapshot, TakeBackup, TakeSnapshot
from workers.contract.disks import MIB, BackupOrigin, DiskKind, DiskSpec
from workers.contract.errors import ErrorCode
from workers.contract.jobs import BackupFacts, DeleteBackup, VerifyBackup
from workers.contract.messages import ApplyMachine, DoJob, OperationState, Progress
from workers.contract.spec import Firmware, MachineSpec, Power, StopMode
from workers.host.files import write_json
from workers.host.locks import is_held

BLOCK = 64 * 1024
BLOCKS = 16


@dataclass
class Site:
    """A host with two backup folders: one with room, and a small one."""

    standing: Standing
    folder: Path
    small: Path

    def back_up(
        self, machine: MachineSpec, previous: UUID | None = None, *, place: str = "main"
    ) -> tuple[MachineSpec, UUID, BackupFacts]:
        """A backup that is taken; the machine's newest wish, the backup's id, and what came of it."""
        backup_id = uuid4()
        machine, end = self.try_to(machine, backup_id, previous, place=place)
        assert end.state is OperationState.DONE, (end, self.standing.host.words()[-3000:])
        assert isinstance(end.facts, BackupFacts)
        return machine, backup_id, end.facts

    def try_to(
        self, machine: MachineSpec, backup_id: UUID, previous: UUID | None = None, *, place: str = "main"
    ) -> tuple[MachineSpec, Progress]:
        later = wishes.later(machine)
        act = TakeBackup(place=place, backup_id=backup_id, previous=previous)
        return later, self.standing.apply(later, act, seconds=120)

    def home(self, machine: MachineSpec, backup_id: UUID) -> Path:
        return self.folder / "offshoot-backups" / str(machine.machine_id) / str(backup_id)

    def job(self, job: VerifyBackup | DeleteBackup) -> Progress:
        message = DoJob(operation_id=uuid4(), job=job)
        self.standing.ear.ask_job(self.standing.host.name, message)
        return self.standing.ear.end_of(message.operation_id, seconds=120)

    def verify(self, machine: MachineSpec, backup_id: UUID) -> Progress:
        return self.job(VerifyBackup(place="main", machine_id=machine.machine_id, backup_id=backup_id))

    def delete(self, machine: MachineSpec, backup_id: UUID) -> Progress:
        return self.job(DeleteBackup(place="main", machine_id=machine.machine_id, backup_id=backup_id))

    def restored(self, machine: MachineSpec, backup_id: UUID) -> MachineSpec:
        """A new machine with the disks of a backup, off."""
        disks = tuple(
            disk.model_copy(
                update={
                    "id": uuid4(),
                    "origin": BackupOrigin(
                        place="main", machine_id=machine.machine_id, backup_id=backup_id, disk_id=disk.id
                    ),
                }
            )
            for disk in machine.disks
        )
        return self.standing.done(
            wishes.spec(
                number=40, power=Power.OFF, run=0, disks=disks, name="again", firmware=machine.firmware
            ),
            seconds=120,
        )

    def files(self, machine: MachineSpec) -> list[Path]:
        return [self.standing.host.disk_file(machine.machine_id, disk) for disk in machine.disks]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One host for the whole file. Nobody but root enters the folders."""
    with short_folder() as folder, _small(folder / "small") as small:
        main = folder / "main"
        main.mkdir(mode=0o700)
        folder.chmod(0o700)
        with standing_host(OFFSHOOT_BACKUP_PLACES=f"main={main},small={small}") as standing:
            yield Site(standing, main, small)


@contextmanager
def _small(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=4m", "offshoot-test", str(folder))
    subprocess.run(mount, check=True)
    try:
        yield folder
    finally:
        subprocess.run(("umount", str(folder)), check=True, timeout=30)


def test_a_machine_that_writes_is_kept_instant_by_instant(site: Site, tmp_path: Path) -> None:
    host = site.standing.host
    disc = host.put_disc(uuid4(), guest_disc("pages"))
    disks = (
        _disk(0, 64),
        _disk(1, 16),
        _disk(2, 8, DiskKind.FIXED),
    )
    machine = site.standing.done(wishes.spec(disc=disc, disks=disks))
    host.heard(machine.machine_id, "ready", seconds=120)
    host.heard(machine.machine_id, "turn", seconds=120)

    _press(site, machine)
    at_first = _kept(site, machine, tmp_path / "first")
    machine, first, facts = site.back_up(machine)
    assert not facts.incremental
    assert facts.stored_bytes > 8 * MIB
    _press(site, machine)
    turn = int(host.said(machine.machine_id)["held"])
    wait_for("it writes on", lambda: int(host.said(machine.machine_id)["turn"]) > turn, seconds=120)

    _press(site, machine)
    at_second = _kept(site, machine, tmp_path / "second")
    machine, second, less = site.back_up(machine, first)
    assert less.incremental
    # The fixed disk is always kept whole, but there is nothing in it; what was written is 1 MiB on each growing one.
    assert less.stored_bytes < 4 * MIB
    _press(site, machine)
    wait_for("it writes on", lambda: int(host.said(machine.machine_id)["turn"]) > turn + 2, seconds=120)

    machine, third, least = site.back_up(machine, second)  # in the middle of its writing
    assert least.incremental

    for backup, then in ((first, at_first), (second, at_second)):
        again = site.restored(machine, backup)
        for file, before in zip(site.files(again), then, strict=True):
            _assert_same(file, before)
        site.standing.delete(again)
    again = site.restored(machine, third)
    _assert_one_instant(*site.files(again)[:2], folder=tmp_path)

    # The restored machine is a machine: it starts, and finds what was kept.
    site.standing.done(running := wishes.later(again, power=Power.RUNNING, run=1, memory_mib=64))
    site.standing.delete(running)

    # The oldest goes; those that stood on it are still what they were.
    assert site.delete(machine, first).state is OperationState.DONE
    assert not site.home(machine, first).exists()
    again = site.restored(machine, second)
    for file, before in zip(site.files(again), at_second, strict=True):
        _assert_same(file, before)
    site.standing.delete(again)
    assert site.verify(machine, third).state is OperationState.DONE

    # What it stood on is damaged: found, told, and not built upon.
    _flip(site.home(machine, second) / _manifest(site, machine, second)["disks"][0]["file"])
    end = site.verify(machine, third)
    assert end.error is not None
    assert end.error.code is ErrorCode.BACKUP_DAMAGED
    site.standing.delete(machine)

    # The machine is gone; its backups are there until they are deleted, the newest ones too.
    for backup in (third, second):
        assert site.delete(machine, backup).state is OperationState.DONE
    assert not site.home(machine, third).parent.exists()


def test_what_changed_is_known_whether_it_runs_or_not_but_never_after_a_crash(
    site: Site, tmp_path: Path
) -> None:
    machine = site.standing.done(
        wishes.spec(number=11, power=Power.OFF, run=0, disks=(_disk(0, 64),), firmware=Firmware.UEFI)
    )
    [file] = site.files(machine)
    _write(file, "write -P 1 0 24M")
    machine, first, facts = site.back_up(machine)
    assert (facts.incremental, _bitmaps(file)) == (False, {f"offshoot-backup.main.{first}": "sound"})
    _write(file, "write -P 2 1M 64k", "write -z 2M 1M")
    machine, second, less = site.back_up(machine, first)
    assert less.incremental
    assert less.stored_bytes < 2 * MIB < 24 * MIB < facts.stored_bytes
    assert _bitmaps(file) == {f"offshoot-backup.main.{second}": "sound"}
    _assert_restored(site, machine, second, file)

    # It runs, and what has changed while it was off is still known.
    _write(file, "write -P 3 5M 64k")
    machine = site.standing.done(wishes.later(machine, power=Power.RUNNING, run=1, memory_mib=64))
    machine, third, less = site.back_up(machine, second)
    assert less.incremental
    machine = site.standing.done(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE))
    _assert_restored(site, machine, third, file)

    # A qemu that is killed leaves a record that may say too little.
    machine = site.standing.done(wishes.later(machine, power=Power.RUNNING, run=2))
    [qemu] = processes_of(site.standing.host.folder(machine.machine_id).root, QEMU)
    os.kill(qemu, signal.SIGKILL)
    wait_for("it is gone", lambda: not is_held(site.standing.host.folder(machine.machine_id).life_lock))
    machine = site.standing.done(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE))
    assert set(_bitmaps(file).values()) == {"broken"}
    machine = site.standing.done(wishes.later(machine, power=Power.RUNNING, run=3))
    machine = site.standing.done(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE))
    assert _bitmaps(file) == {}
    machine, fourth, whole = site.back_up(machine, third)
    assert not whole.incremental
    # Off, so that its firmware is still: what that remembers is restored with the disks.
    again = site.restored(machine, fourth)
    _assert_same(site.files(again)[0], file)
    _assert_same(
        *(
            site.standing.host.folder(each.machine_id).variables_file(Firmware.UEFI)
            for each in (machine, again)
        )
    )
    site.standing.delete(again)
    assert site.verify(machine, fourth).state is OperationState.DONE

    # One that is no longer there, or was asked for without one, is no reason for half a backup.
    machine, _, whole = site.back_up(machine, uuid4())
    assert not whole.incremental
    site.standing.delete(machine)


def test_after_going_back_to_a_snapshot_the_next_is_a_full_one(site: Site) -> None:
    machine = site.standing.done(wishes.spec(number=15, power=Power.OFF, run=0, disks=(_disk(0, 64),)))
    [file] = site.files(machine)
    _write(file, "write -P 1 0 4M")
    machine, first, _ = site.back_up(machine)
    snapshot = uuid4()
    machine = site.standing.done(wishes.later(machine, power=Power.RUNNING, run=1, memory_mib=64))
    machine = site.standing.done(wishes.later(machine), TakeSnapshot(snapshot_id=snapshot))
    machine = site.standing.done(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE))
    _write(file, "write -P 2 0 4M")
    machine, second, less = site.back_up(machine, first)
    assert less.incremental
    machine = site.standing.done(wishes.later(machine), RevertToSnapshot(snapshot_id=snapshot))
    machine, third, whole = site.back_up(machine, second)
    assert not whole.incremental
    _assert_restored(site, machine, third, file)
    site.standing.delete(machine)


def test_a_folder_without_room_refuses_and_the_machine_goes_on(site: Site) -> None:
    machine = site.standing.done(wishes.spec(number=12, power=Power.OFF, run=0, disks=(_disk(0, 64),)))
    [file] = site.files(machine)
    _write(file, "write -P 1 0 8M")
    machine = site.standing.done(wishes.later(machine, power=Power.RUNNING, run=1, memory_mib=64))
    machine, end = site.try_to(machine, uuid4(), place="small")
    assert end.error is not None
    assert end.error.code is ErrorCode.PLACE_FULL
    machine, end = site.try_to(machine, uuid4(), place="elsewhere")
    assert end.error is not None
    assert end.error.code is ErrorCode.PLACE_MISSING
    ours = site.folder / "offshoot-backups"
    ours.rename(
        site.folder / "unmounted"
    )  # as if the share were away: what is below it is the host's own disk
    try:
        machine, end = site.try_to(machine, uuid4())
        assert end.error is not None
        assert end.error.code is ErrorCode.PLACE_MISSING
        beat = site.standing.ear.heartbeat("rack-1")
        beat = site.standing.ear.heartbeat("rack-1", since=beat.sequence)
        assert "mounted" in next(each for each in beat.usage.backup_places if each.name == "main").problem
    finally:
        (site.folder / "unmounted").rename(ours)
    status = site.standing.query(machine.machine_id, "query-status")
    assert isinstance(status, dict)
    assert status["status"] == "running"
    assert list(site.small.rglob("*.qcow2")) == []
    assert list(site.folder.rglob("*.part")) == []
    site.standing.delete(machine)


def test_a_machine_whose_system_begins_anew_while_it_is_backed_up_lives_on(
    site: Site, tmp_path: Path
) -> None:
    """qemu 7.2 ends itself where a disk with a thread of its own is begun anew by its system while it is copied."""
    machine = site.standing.done(wishes.spec(number=15, disks=(_disk(0, 64),), power=Power.OFF, run=0))
    [file] = site.files(machine)
    _write(file, "write -P 1 0 60M", f"write -s {restarting_sector(tmp_path / 'sector')} 0 512")
    machine = site.standing.done(wishes.later(machine, power=Power.RUNNING, run=1, memory_mib=64))
    ran = processes_of(site.standing.host.folder(machine.machine_id).root, QEMU)
    for _ in range(10):
        machine, _, _ = site.back_up(machine)
    assert processes_of(site.standing.host.folder(machine.machine_id).root, QEMU) == ran
    site.standing.delete(machine)


def test_a_worker_killed_in_a_backup_ends_with_one(site: Site) -> None:
    host = site.standing.host
    machine = site.standing.done(
        wishes.spec(number=13, memory_mib=64, disks=(_disk(0, 64),), power=Power.OFF, run=0)
    )
    [file] = site.files(machine)
    _write(file, "write -P 1 0 4M")
    machine = site.standing.done(wishes.later(machine, power=Power.RUNNING, run=1))
    machine, backup, _ = site.back_up(machine)
    for point in ("backup begins", "backup copied", "backup written down", "backup in its place"):
        previous, backup = backup, uuid4()
        message = ApplyMachine(
            operation_id=uuid4(),
            spec=(machine := wishes.later(machine)),
            act=TakeBackup(place="main", backup_id=backup, previous=previous),
        )
        _kill_in(site, point, lambda message=message: site.standing.ear.ask(host.name, message))  # type: ignore[misc]
        end = site.standing.ear.end_of(message.operation_id, seconds=120)
        assert end.state is OperationState.DONE, (point, host.words()[-3000:])
        assert _manifest(site, machine, backup)["disks"][0]["incremental"], point
        assert list(site.home(machine, backup).parent.glob("*.part")) == []
        nodes = site.standing.query(machine.machine_id, "query-named-block-nodes")
        assert isinstance(nodes, list)
        assert not [each for each in nodes if each["node-name"].startswith("offshoot-copy")], point
        [disk] = [each for each in nodes if each["node-name"] == "disk0"]
        assert [each["name"] for each in disk["dirty-bitmaps"]] == [f"offshoot-backup.main.{backup}"], point
    # Cancelled while the worker was away: nothing goes on, nothing is left.
    message = ApplyMachine(
        operation_id=uuid4(),
        spec=(machine := wishes.later(machine)),
        act=TakeBackup(place="main", backup_id=uuid4(), previous=backup),
    )
    _kill_in(
        site,
        "backup copied",
        lambda: site.standing.ear.ask(host.name, message),
        then=lambda: _write_wish(site, wishes.wish(wishes.later(message.spec))),
    )
    machine = wishes.later(message.spec)
    parts = site.home(machine, backup).parent
    wait_for("nothing is left", lambda: not list(parts.glob("*.part")), seconds=60)
    assert not _copying(site, machine)
    machine = site.standing.done(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE))
    _assert_restored(site, machine, backup, file)
    assert site.verify(machine, backup).state is OperationState.DONE
    site.standing.delete(machine)


def test_a_worker_killed_in_a_deletion_keeps_the_later_backup_whole(site: Site) -> None:
    host = site.standing.host
    machine = site.standing.done(wishes.spec(number=14, disks=(_disk(0, 64),), power=Power.OFF, run=0))
    [file] = site.files(machine)
    _write(file, "write -P 1 0 4M")
    machine, backup, _ = site.back_up(machine)
    for number, point in enumerate(("backup merged", "backup stands alone", "backup forgotten")):
        _write(file, f"write -P {number + 2} {number}M 1500k", "write -z 3M 512k")
        oldest = backup
        machine, backup, _ = site.back_up(machine, oldest)
        job = DeleteBackup(place="main", machine_id=machine.machine_id, backup_id=oldest)
        message = DoJob(operation_id=uuid4(), job=job)
        _kill_in(site, point, lambda message=message: site.standing.ear.ask_job(host.name, message))  # type: ignore[misc]
        site.standing.ear.ask_job(host.name, message)
        end = site.standing.ear.end_of(message.operation_id, seconds=120)
        assert end.state is OperationState.DONE, (point, host.words()[-3000:])
        assert not site.home(machine, oldest).exists()
        assert len(list(site.home(machine, backup).iterdir())) == 2, point
        assert site.verify(machine, backup).state is OperationState.DONE, point
        assert not _manifest(site, machine, backup)["disks"][0]["incremental"], point
    _assert_restored(site, machine, backup, file)
    site.standing.delete(machine)


def _write_wish(site: Site, message: ApplyMachine) -> None:
    """As if the host had taken it just before it died."""
    folder = site.standing.host.folder(message.spec.machine_id)
    write_json(folder.wish_file, message.to_wire())


def _copying(site: Site, machine: MachineSpec) -> list[str]:
    nodes = site.standing.query(machine.machine_id, "query-named-block-nodes")
    assert isinstance(nodes, list)
    return [each["node-name"] for each in nodes if each["node-name"].startswith("offshoot-copy")]


def _kill_in(
    site: Site, point: str, ask: Callable[[], None], then: Callable[[], None] = lambda: None
) -> None:
    """The worker dies there in what is asked, and is started again."""
    host = site.standing.host
    host.kill()
    host.set(OFFSHOOT_DIE_AT=point)
    host.start()
    ask()
    host.wait_for_death(seconds=120)
    then()
    host.set(OFFSHOOT_DIE_AT="")
    host.start()


def _disk(slot: int, size_mib: int, kind: DiskKind = DiskKind.GROWING) -> DiskSpec:
    return DiskSpec(id=uuid4(), size_bytes=size_mib * MIB, kind=kind, slot=slot)


def _press(site: Site, machine: MachineSpec) -> None:
    """The power button, by which this guest holds still, or goes on; returns when it does."""
    said = site.standing.host.said(machine.machine_id)
    before = said.get("held"), said.get("turn")
    key = 0 if _is_writing(site, machine) else 1
    site.standing.query(machine.machine_id, "system_powerdown")

    def heard() -> bool:
        now = site.standing.host.said(machine.machine_id)
        return (now.get("held"), now.get("turn"))[key] != before[key]

    wait_for("the guest heeds the button", heard, seconds=120)


def _is_writing(site: Site, machine: MachineSpec) -> bool:
    log = site.standing.host.folder(machine.machine_id).console_log.read_text(errors="replace")
    return log.rfind("OFFSHOOT turn") > log.rfind("OFFSHOOT held")


def _kept(site: Site, machine: MachineSpec, folder: Path) -> list[Path]:
    """The disks as they are now that the guest holds still."""
    folder.mkdir()
    kept = []
    for file in site.files(machine):
        subprocess.run(("cp", "--sparse=always", str(file), str(folder)), check=True)
        kept.append(folder / file.name)
    return kept


def _assert_same(one: Path, other: Path) -> None:
    formats = ["raw" if path.suffix == ".raw" else "qcow2" for path in (one, other)]
    compared = subprocess.run(
        ("qemu-img", "compare", "-U", "-f", formats[0], "-F", formats[1], str(one), str(other)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert compared.returncode == 0, compared.stdout + compared.stderr


def _assert_restored(site: Site, machine: MachineSpec, backup: UUID, file: Path) -> None:
    again = site.restored(machine, backup)
    _assert_same(site.files(again)[0], file)
    site.standing.delete(again)


def _assert_one_instant(first: Path, second: Path, *, folder: Path) -> None:
    """Both disks are what they were in one instant: no block is from later than one that was written before it."""
    turns = [[_turn(path, block, folder) for block in range(BLOCKS)] for path in (first, second)]
    in_order = [turn for pair in zip(*turns, strict=True) for turn in pair]
    assert in_order == sorted(in_order, reverse=True), in_order
    assert in_order[0] - in_order[-1] <= 1, in_order
    assert in_order[-1] > 2


def _turn(path: Path, block: int, folder: Path) -> int:
    target = folder / "block"
    subprocess.run(
        ("qemu-img", "dd", "-f", "qcow2", "-O", "raw", f"bs={BLOCK}", f"skip={block}", f"count={block + 1}",
         f"if={path}", f"of={target}"),
        check=True,
    )  # fmt: skip
    return int(target.read_bytes()[:8])


def _write(file: Path, *commands: str) -> None:
    each = [part for command in commands for part in ("-c", command)]
    subprocess.run(("qemu-io", "-f", "qcow2", *each, str(file)), check=True, capture_output=True)


def _flip(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size - 100)
        byte = opened.read(1)
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte[0] ^ 1]))


def _manifest(site: Site, machine: MachineSpec, backup: UUID) -> dict[str, list[dict[str, str]]]:
    body: dict[str, list[dict[str, str]]] = json.loads(
        (site.home(machine, backup) / "manifest.json").read_text()
    )["body"]
    return body


def _bitmaps(file: Path) -> dict[str, str]:
    told = subprocess.run(
        ("qemu-img", "info", "-U", "--output=json", str(file)), check=True, capture_output=True
    ).stdout
    found = json.loads(told)["format-specific"]["data"].get("bitmaps", [])
    return {each["name"]: "broken" if "in-use" in each["flags"] else "sound" for each in found}
