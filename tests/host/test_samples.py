"""What a host says all the time of what its machines take, with real guests; and pictures of their screens."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from PIL import Image

from tests.guest.build import WITH_BALLOON, guest_disc
from tests.lab import wishes
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.figures import SAMPLE_SECONDS, MachineUsage, Samples
from workers.contract.screens import LookAtScreens, ScreenSeen, is_png
from workers.contract.spec import MachineSpec, Power, StopMode
from workers.host.vitals import vitals_of
from workers.screens import read_untrusted

MIB = 1024 * 1024


class Place:
    """A host with a machine that works and one that waits."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        self.busy = self._machine("busy", number=11)
        self.idle = self._machine("address", number=12)

    def _machine(self, role: str, *, number: int) -> MachineSpec:
        host = self.standing.host
        disc = host.put_disc(uuid4(), guest_disc(role, kernel=WITH_BALLOON))
        return self.standing.done(wishes.spec(number=number, name=role, memory_mib=256, disc=disc))

    def samples(self) -> list[Samples]:
        """All that was said so far."""
        return [each for each in self.standing.ear.reports() if isinstance(each, Samples)]

    def of(self, machine_id: UUID, since: int = 0) -> list[MachineUsage]:
        """What was said of a machine in samples later than `since`."""
        return [
            machine
            for sample in self.samples()
            if sample.sequence > since
            for machine in sample.machines
            if machine.machine_id == machine_id
        ]

    def shows(
        self,
        machine: MachineSpec,
        fits: Callable[[MachineUsage], bool],
        *,
        since: int = 0,
        seconds: float = 60,
    ) -> MachineUsage:
        """Wait until a sample of the machine fits."""

        def fitting() -> MachineUsage | None:
            return next((each for each in self.of(machine.machine_id, since) if fits(each)), None)

        try:
            return wait_for("a sample that fits", fitting, seconds=seconds)
        except AssertionError as exc:
            raise AssertionError(f"{exc}; heard {self.of(machine.machine_id, since)[-5:]}") from exc

    def now(self) -> int:
        """The sequence of the newest sample."""
        return max((each.sequence for each in self.samples()), default=0)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """Both machines are up."""
    with standing_host() as standing:
        found = Place(standing)
        standing.host.heard(found.busy.machine_id, "ready")
        standing.host.heard(found.idle.machine_id, "ready")
        yield found


def test_a_guest_that_computes_writes_and_speaks_shows_it_and_one_that_waits_does_not(place: Place) -> None:
    since = place.now()

    def works(found: MachineUsage) -> bool:
        return (
            (found.cpu_own_percent or 0) > 30
            and (found.disk_write_bytes or 0) > MIB / 2
            and (found.disk_writes or 0) > 1
            and (found.net_out_packets or 0) > 1
            and (found.net_in_packets or 0) > 1
        )

    busy = place.shows(place.busy, works, since=since)
    assert busy.cpu_percent == busy.cpu_own_percent, "it has one processor"
    idle = place.shows(
        place.idle,
        lambda found: (
            found.net_out_packets is not None and found.net_out_packets < 1 and not found.disk_writes
        ),
        since=since,
    )
    assert (idle.cpu_percent or 0) < (busy.cpu_percent or 0) / 2
    assert idle.disk_write_bytes == 0
    for found in (busy, idle):
        assert 32 * MIB < (found.memory_bytes or 0) < 2048 * MIB


def test_a_guest_with_the_balloons_driver_says_what_its_programs_use(place: Place) -> None:
    found = place.shows(place.idle, lambda found: found.guest_memory_bytes is not None)
    assert MIB < (found.guest_memory_bytes or 0) < 256 * MIB


def test_the_host_is_told_of_as_a_whole_at_whole_multiples_of_five_seconds(place: Place) -> None:
    place.shows(place.idle, lambda found: found.cpu_percent is not None)
    newest = place.samples()[-1]
    times = [each.at for each in place.samples()]
    assert all(at % SAMPLE_SECONDS == 0 for at in times)
    assert len(set(times)) == len(times)
    assert (newest.totals.cpu_percent or 0) > 0
    assert (newest.totals.cpu_own_percent or 0) <= 100.5
    assert (newest.totals.memory_bytes or 0) > 256 * MIB
    assert newest.totals.load is not None


def test_a_machine_that_starts_anew_is_counted_anew_and_one_that_is_off_is_not_told_of(place: Place) -> None:
    machine = place.idle
    before = place.now()
    off = wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE)
    place.standing.done(off)

    def is_silent() -> bool:
        later = [each for each in place.samples() if each.sequence > before]
        return bool(later) and machine.machine_id not in {each.machine_id for each in later[-1].machines}

    wait_for("a sample without it", is_silent, seconds=20)
    since = place.now()
    place.idle = place.standing.done(wishes.later(off, power=Power.RUNNING, run=2))
    place.shows(place.idle, lambda found: found.cpu_percent is not None, since=since)
    first = place.of(machine.machine_id, since)[0]
    assert first.cpu_percent is None
    assert first.net_out_bytes is None
    assert first.memory_bytes is not None


def test_a_worker_that_was_killed_goes_on_telling(place: Place) -> None:
    since = place.now()
    place.standing.host.kill()
    place.standing.host.start()
    place.shows(place.busy, lambda found: (found.cpu_percent or 0) > 10, since=since)
    place.shows(place.busy, lambda found: (found.disk_writes or 0) > 0, since=since)


def test_an_emulator_that_names_another_process_is_not_believed(place: Place) -> None:
    """Its folder is its own: one that was taken over by its guest could write any number, or none, or a way elsewhere."""
    machine_id, other = place.busy.machine_id, place.idle.machine_id
    folder = place.standing.host.folder(machine_id)
    honest = folder.pid_file.read_text()
    right = vitals_of(folder, machine_id)
    assert right is not None
    assert right.read() is not None
    right.close()
    neighbour = place.standing.host.folder(other).pid_file
    try:
        for said in (neighbour.read_text(), str(os.getpid()), "1", "-1", "", "999999999", "no number"):
            folder.pid_file.write_text(said)
            assert vitals_of(folder, machine_id) is None, said
        folder.pid_file.unlink()
        assert vitals_of(folder, machine_id) is None
        folder.pid_file.symlink_to(neighbour)
        assert vitals_of(folder, machine_id) is None
        folder.pid_file.unlink()
        os.mkfifo(folder.pid_file)
        assert vitals_of(folder, machine_id) is None
    finally:
        folder.pid_file.unlink(missing_ok=True)
        folder.pid_file.write_text(honest)


def test_a_picture_of_a_screen_is_what_the_screen_shows_in_its_size_and_off_gives_none(place: Place) -> None:
    standing = place.standing
    machine_id = place.busy.machine_id
    standing.ear.look_at("rack-1", LookAtScreens(machines=(uuid4(), machine_id)))

    def seen() -> ScreenSeen | None:
        found = [each for each in standing.ear.reports() if isinstance(each, ScreenSeen)]
        return found[-1] if found else None

    told = wait_for("a picture", seen, seconds=30)
    assert told.machine_id == machine_id
    png = base64.b64decode(told.png)
    assert is_png(png)
    picture = Image.open(io.BytesIO(png)).convert("L")
    assert (picture.width, picture.height) == (720, 400), "a text screen of 80 by 25"
    assert len(set(picture.tobytes())) > 1, "the firmware and the kernel wrote something"
    folder = standing.host.folder(machine_id)
    assert not list(folder.run.glob("screen*")), "nothing stays"


def test_a_picture_is_read_from_no_link_pipe_or_heap(folder: Path) -> None:
    secret = folder / "secret"
    secret.write_bytes(b"x" * 100)
    place = folder / "screen.png"
    place.symlink_to(secret)
    with pytest.raises(OSError):
        read_untrusted(place, most=1000)
    place.unlink()
    os.mkfifo(place)
    assert read_untrusted(place, most=1000) is None
    place.unlink()
    place.write_bytes(b"x" * 1001)
    assert read_untrusted(place, most=1000) is None
    place.write_bytes(b"x" * 1000)
    assert read_untrusted(place, most=1000) == b"x" * 1000
