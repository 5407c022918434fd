"""A real cloud image at its first start, and its guest agent: what it says, and what is asked of it. And guests without one.

Its system is Debian's, so it is also a host with cgroup v2, whatever the lab's kernel has.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from passlib.hash import sha512_crypt

from tests.guest import two_machines
from tests.guest.cloud import SYSTEM_AT, cloud_image
from tests.lab import wishes
from tests.lab.folder import short_folder
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.acts import SetPassword, TakeBackup, TakeSnapshot
from workers.contract.disks import ImageOrigin
from workers.contract.errors import ErrorCode
from workers.contract.messages import AgentFacts, AgentState, EndReason, OperationState, Step
from workers.contract.spec import GIB, BootFrom, DiskKind, DiskSpec, MachineSpec, Power, SeedSpec, StopMode
from workers.host.agent import agent_of, frozen
from workers.host.monitor import MonitorLoop
from workers.plan.snapshots import name_of

ADDRESS = "192.168.57.10"


@pytest.fixture(scope="module")
def backups() -> Iterator[Path]:
    """The host's folder for backups."""
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def place(backups: Path) -> Iterator[Standing]:
    """One host for the whole file."""
    with standing_host(OFFSHOOT_BACKUP_PLACES=f"main={backups}") as place:
        yield place


@pytest.fixture(scope="module")
def key(place: Standing) -> Path:
    """A person's SSH key."""
    path = place.folder / "key"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", str(path)), check=True)
    return path


@pytest.mark.timeout(900)  # where the image is not in the cache yet, it is made of Debian's packages first
def test_a_cloud_image_from_its_first_start_to_its_clean_end(
    place: Standing, key: Path, backups: Path
) -> None:
    seed = SeedSpec(
        user="ann",
        ssh_keys=(key.with_suffix(".pub").read_text().strip(),),
        password_hash=_hash("before"),
        host_name="web-1",
        packages=("htop",),
    )
    image = ImageOrigin(image=place.host.put_disc(uuid4(), cloud_image()))
    disk = DiskSpec(id=uuid4(), size_bytes=2 * GIB, kind=DiskKind.GROWING, origin=image)
    machine = wishes.spec(seed=seed, disks=(disk,), boot_from=BootFrom.DISK, memory_mib=512, cpus=2)
    end = place.apply(machine, seconds=120)
    steps = [Step.FETCH_IMAGE, Step.MAKE_DISKS, Step.MAKE_SEED, Step.PREPARE_NETWORK, Step.LAUNCH]
    assert ([step.step for step in end.steps], end.error) == (steps, None)
    place.host.heard(machine.machine_id, "ssh", seconds=240)
    wait_for("its port for SSH answers", lambda: _greeting(place).startswith("SSH-2.0-"), seconds=120)

    _it_is_as_its_seed_says(place, key, seed)
    _it_tells_who_and_where_it_is(place, machine)
    machine = _it_takes_a_password(place, key, machine)
    _it_holds_still_while_it_is_frozen(place, machine)
    machine = _it_holds_still_for_a_snapshot(place, machine)
    machine = _it_holds_still_for_a_backup(place, machine, backups)
    _one_that_was_left_frozen_goes_on(place, machine)
    _one_that_falls_silent_is_told_apart(place, key, machine)
    wait_for(
        "its packages",
        lambda: place.host.said(machine.machine_id).get("apt", "").endswith("install htop"),
        seconds=90,
    )
    _its_kernel_shares_a_processor_by_weight(place, key)

    # Nothing in this guest listens to the power button.
    machine = place.done(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.ASK), seconds=90)
    assert "shutdown" in place.host.said(machine.machine_id)
    seen = place.ear.observed(machine.machine_id, lambda m: m.generation == machine.generation)
    assert (seen.reason, seen.agent) == (EndReason.PERSON, None)
    assert place.host.folder(machine.machine_id).seed_file.exists()
    place.delete(machine)
    assert place.traces() == {}


def test_without_an_agent_all_else_works_and_what_needs_one_says_so(place: Standing) -> None:
    machine = place.done(wishes.spec(memory_mib=64, number=11))  # only a firmware
    assert place.ear.observed(machine.machine_id, lambda m: m.agent is not None).agent == AgentFacts(
        state=AgentState.ABSENT
    )
    with _held_still(place, machine) as froze:
        assert not froze
    act = SetPassword(account="root", password_hash=_hash("x"))
    end = place.apply(machine := wishes.later(machine), act=act)
    assert end.error is not None
    assert (end.state, end.error.code) == (OperationState.FAILED, ErrorCode.AGENT_ABSENT)
    place.done(machine := wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE))
    end = place.apply(machine := wishes.later(machine), act=act)
    assert end.error is not None
    assert end.error.code is ErrorCode.NOT_RUNNING
    place.delete(machine)


def _it_is_as_its_seed_says(place: Standing, key: Path, seed: SeedSpec) -> None:
    said = _ssh(
        place,
        key,
        "id -un; hostname; sudo -n id -un; sudo getent shadow ann | cut -d: -f2; cloud-init query instance-id",
    )
    user, host_name, sudo, password, instance = said.split()
    assert (user, host_name, sudo, password) == ("ann", "web-1", "root", seed.password_hash)
    assert place.host.folder(uuid4()).root.with_name(instance).is_dir()


def _it_tells_who_and_where_it_is(place: Standing, machine: MachineSpec) -> None:
    seen = place.ear.observed(
        machine.machine_id, lambda m: m.agent is not None and bool(m.agent.addresses), seconds=60
    )
    assert seen.agent is not None
    assert (seen.agent.state, seen.agent.host_name) == (AgentState.ANSWERS, "web-1")
    assert seen.agent.system.startswith("Debian GNU/Linux 12")
    assert seen.agent.addresses == (ADDRESS,)


def _it_takes_a_password(place: Standing, key: Path, machine: MachineSpec) -> MachineSpec:
    password_hash = _hash("after")
    end = place.apply(
        machine := wishes.later(machine), act=SetPassword(account="ann", password_hash=password_hash)
    )
    assert ([step.step for step in end.steps], end.error) == ([Step.SET_PASSWORD], None)
    assert _ssh(place, key, "sudo getent shadow ann | cut -d: -f2").strip() == password_hash
    nobody = SetPassword(account="nobody-here", password_hash=password_hash)
    end = place.apply(machine := wishes.later(machine), act=nobody)
    assert end.error is not None
    assert end.error.code is ErrorCode.AGENT_FAILED
    return machine


def _it_holds_still_while_it_is_frozen(place: Standing, machine: MachineSpec) -> None:
    with _held_still(place, machine) as froze:
        assert froze
        _stands_still(place, machine)
    _goes_on(place, machine)


def _it_holds_still_for_a_snapshot(place: Standing, machine: MachineSpec) -> MachineSpec:
    snapshot_id, [disk] = uuid4(), machine.disks
    place.done(machine := wishes.later(machine), TakeSnapshot(snapshot_id=snapshot_id, memory=False))
    _goes_on(place, machine)
    path = place.host.disk_file(machine.machine_id, disk)
    assert _was_frozen_in(place, path, "-U", "-l", f"snapshot.name={name_of(snapshot_id)}")
    assert "thawed" not in place.host.words()  # whoever froze it let it go
    return machine


def _it_holds_still_for_a_backup(place: Standing, machine: MachineSpec, backups: Path) -> MachineSpec:
    backup_id = uuid4()
    end = place.apply(
        machine := wishes.later(machine), TakeBackup(place="main", backup_id=backup_id), seconds=180
    )
    assert (end.state, end.error) == (OperationState.DONE, None)
    _goes_on(place, machine)
    [manifest_file] = backups.rglob("manifest.json")
    manifest = json.loads(manifest_file.read_text())["body"]
    assert manifest["still"] is True
    assert _was_frozen_in(place, manifest_file.with_name(manifest["disks"][0]["file"]))
    assert "thawed" not in place.host.words()
    return machine


def _was_frozen_in(place: Standing, image: Path, *options: str) -> bool:
    """The guest's filesystem was frozen at that instant: a journal that is to be replayed is what a running one leaves.

    https://www.kernel.org/doc/html/latest/filesystems/ext4/super.html: s_magic, and INCOMPAT_RECOVER of s_feature_incompat.
    """
    flat = place.folder / "flat.raw"
    argv = ("qemu-img", "convert", *options, "-f", "qcow2", "-O", "raw", str(image), str(flat))
    subprocess.run(argv, check=True, timeout=120)
    with flat.open("rb") as file:
        file.seek(SYSTEM_AT + 1024)
        magic, features = struct.unpack("<56xH38xI", file.read(100))
    flat.unlink()
    assert magic == 0xEF53
    return not features & 0x4


def _one_that_was_left_frozen_goes_on(place: Standing, machine: MachineSpec) -> None:
    """As after a worker that was killed in between."""
    with agent_of(place.host.folder(machine.machine_id)) as agent:
        assert agent.freeze() > 0
        _stands_still(place, machine)
    _goes_on(place, machine)
    assert "thawed" in place.host.words()


def _one_that_falls_silent_is_told_apart(place: Standing, key: Path, machine: MachineSpec) -> None:
    before = place.ear.heartbeat(place.host.name).sequence
    _ssh(place, key, "sudo sh -c 'kill -STOP $(cat /run/qemu-ga.pid)'")
    silent = place.ear.observed(
        machine.machine_id,
        lambda m: m.sequence > before and m.agent is not None and m.agent.state is AgentState.SILENT,
        seconds=60,
    )
    assert silent.agent is not None
    assert silent.agent.addresses == (ADDRESS,)  # what it had said is not forgotten
    _ssh(place, key, "sudo sh -c 'kill -CONT $(cat /run/qemu-ga.pid)'")


def _its_kernel_shares_a_processor_by_weight(place: Standing, key: Path) -> None:
    """The guest is a host here: it has a cgroup v2 of its own, with two machines in it, weighed by the product's own code."""
    program = Path(two_machines.__file__).name
    said = json.loads(
        _ssh(
            place,
            key,
            f"mkdir product && tar -xf - -C product && sudo python3 -B product/{program}",
            given=two_machines.packed(place.folder / "product.tar"),
        )
    )
    assert said["could_weigh"] == [False, True]  # before and after there are control groups
    assert said["weighed"] == [True, True, True]
    light, heavy = said["started"]  # 100 and 300
    assert 2 < heavy / light < 4, said
    raised, heavy = said["later"]  # 900 and 300
    assert 2 < raised / heavy < 4, said
    assert said["left"] == []


@contextmanager
def _held_still(place: Standing, machine: MachineSpec) -> Iterator[bool]:
    """As a snapshot does it; from another process than the worker, which goes on asking."""
    monitors = MonitorLoop()
    try:
        with frozen(monitors, place.host.folder(machine.machine_id)) as froze:
            yield froze
    finally:
        monitors.close()
        monitors.loop.close()


def _stands_still(place: Standing, machine: MachineSpec) -> None:
    """What it writes does not go on: no beat for six times as long as between two."""
    last, since = "", time.monotonic()
    deadline = since + 60
    while time.monotonic() - since < 2:
        beat = place.host.said(machine.machine_id)["beat"]
        if beat != last:
            last, since = beat, time.monotonic()
        assert time.monotonic() < deadline, "it goes on writing"
        time.sleep(0.1)


def _goes_on(place: Standing, machine: MachineSpec) -> None:
    before = place.host.said(machine.machine_id)["beat"]
    wait_for("it writes again", lambda: place.host.said(machine.machine_id)["beat"] != before, seconds=60)


def _greeting(place: Standing) -> str:
    """The first that is said on the guest's port for SSH; nothing where it is refused, or silent for 5 s."""
    ask = (
        f"import socket; line = socket.create_connection(({ADDRESS!r}, 22), 5).makefile('rb').readline(255);"
        "print(line.decode('ascii', 'replace'))"
    )
    return place.host.network.inside(sys.executable, "-c", ask, check=False)


def _ssh(place: Standing, key: Path, command: str, given: Path = Path(os.devnull)) -> str:
    """Run a command in the guest as the account of its seed, signed in with the key, from its host; it reads what is given."""
    options = (
        "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=60", "BatchMode=yes", "LogLevel=ERROR",
    )  # fmt: skip
    with_options = [word for option in options for word in ("-o", option)]
    argv = (*place.host.network.enter(), "ssh", "-i", str(key), *with_options, f"ann@{ADDRESS}", command)
    with given.open("rb") as stdin:
        finished = subprocess.run(argv, check=False, stdin=stdin, capture_output=True, text=True, timeout=180)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def _hash(password: str) -> str:
    return str(sha512_crypt.using(rounds=5000).hash(password))
