"""Figures out of what kernel and qemu count."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.contract.errors import MessageError
from workers.contract.figures import HostTotals, MachineUsage, Samples, Usage
from workers.contract.version import from_wire
from workers.plan.figures import (
    Counted,
    ProcessStat,
    Reading,
    block_counters,
    disk_counters,
    guest_memory,
    host_cpu_ticks,
    host_processors,
    link_counters,
    machines_disks,
    of_guest,
    process_stat,
    rates,
    usage,
)

MACHINE = UUID("5b1f2c9e-7a34-4c1d-9a55-0a1b2c3d4e5f")
GIB = 1 << 30
counters = st.dictionaries(
    st.sampled_from(["disk0", "disk1", "disk2"]), st.tuples(*[st.integers(0, 1 << 62)] * 4), max_size=3
)


def reading(at: float, *, life: str = "100", cpu: int = 0, disk: int = 0, net: int = 0) -> Reading:
    return Reading(
        life=life,
        cpu=Counted(at, {"cpu": (cpu,)}),
        memory_bytes=GIB,
        disks=Counted(at, {"disk0": (disk, 2 * disk, disk // 4096, disk // 2048)}),
        links=Counted(at, {"ot000001": (net, 3 * net, net // 100, net // 50)}),
    )


def test_what_was_taken_is_told_a_second_and_as_shares_of_one_and_of_all_its_processors() -> None:
    before = reading(10.0, cpu=1_000_000_000, disk=8192, net=1000)
    now = reading(15.0, cpu=6_000_000_000, disk=8192 + 40960, net=6000)
    assert usage(before, now, cpus=4) == Usage(
        cpu_percent=100.0,
        cpu_own_percent=25.0,
        memory_bytes=float(GIB),
        disk_read_bytes=8192.0,
        disk_write_bytes=16384.0,
        disk_reads=2.0,
        disk_writes=4.0,
        net_in_bytes=1000.0,
        net_out_bytes=3000.0,
        net_in_packets=10.0,
        net_out_packets=20.0,
    )


def test_of_the_first_reading_and_of_a_new_run_only_the_memory_is_known() -> None:
    first = reading(15.0, cpu=5_000_000_000)
    assert usage(None, first, cpus=1) == Usage(memory_bytes=float(GIB))
    assert usage(reading(10.0, life="99", cpu=1), first, cpus=1) == Usage(memory_bytes=float(GIB))


def test_a_counter_that_began_anew_counts_what_it_says_now() -> None:
    assert rates(Counted(0.0, {"a": (1000,)}), Counted(5.0, {"a": (50,)})) == (10.0,)


def test_what_was_plugged_in_or_pulled_in_between_adds_nothing() -> None:
    before = Counted(0.0, {"kept": (10,), "pulled": (7,)})
    now = Counted(5.0, {"kept": (20,), "plugged": (1_000_000,)})
    assert rates(before, now) == (2.0,)


def test_what_was_not_read_again_is_not_known_rather_than_nothing() -> None:
    once = Counted(5.0, {"disk0": (1, 1, 1, 1)})
    assert rates(once, once) is None
    assert rates(None, once) is None
    assert rates(once, None) is None


@given(before=counters, now=counters, elapsed=st.floats(0.001, 1e6))
def test_no_rate_is_ever_negative_or_more_than_was_counted(
    before: dict[str, tuple[int, ...]], now: dict[str, tuple[int, ...]], elapsed: float
) -> None:
    found = rates(Counted(0.0, before), Counted(elapsed, now))
    assert found is not None
    assert len(found) == 4
    for place, rate in enumerate(found):
        most = sum(counts[place] for counts in now.values())
        assert 0 <= rate <= most / elapsed * 1.0001 + 1e-9


def test_a_process_is_read_whatever_it_calls_itself() -> None:
    rest = "S 1 2 2 0 -1 4194304 900 0 0 0 150 50 7 8 20 0 5 0 123456 1000000 2500 18446744073709551615 1"
    for name in ("(qemu-system-x86)", "(a b) R 9 (9)", "()"):
        assert process_stat(f"4711 {name} {rest}\n") == ProcessStat(
            started=123456, cpu_ticks=200, resident_pages=2500
        )


def test_the_hosts_processors_work_but_do_not_while_they_wait() -> None:
    text = "cpu  100 20 30 9999 500 3 4 77 60 0\ncpu0 50 10 15 1 1 1 1 1 1 1\ncpu1 50 10 15 1 1 1 1 1 1 1\nintr 5\n"
    assert host_cpu_ticks(text) == 157
    assert host_processors(text) == 2


def test_cards_are_counted_from_one_text_and_a_taps_ends_are_swapped_for_its_guest() -> None:
    text = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop ...\n"
        "    lo:     500 5 0 0 0 0 0 0 500 5 0 0 0 0 0 0\n"
        "ot000001: 1000 10 0 0 0 0 0 0 2000 20 0 0 0 0 0 0\n"
    )
    found = link_counters(text)
    assert found == {"lo": (500, 500, 5, 5), "ot000001": (1000, 2000, 10, 20)}
    assert of_guest(found["ot000001"]) == (2000, 1000, 20, 10)


def test_of_the_hosts_disks_those_count_that_stand_on_no_other() -> None:
    disks = machines_disks(["sda", "nvme0n1", "vda", "dm-0", "md0", "loop3", "sr0", "zram0"])
    assert disks == {"sda", "nvme0n1", "vda"}
    text = (
        "   8  0 sda 100 5 2048 30 200 6 4096 40 0 10 70\n   8  1 sda1 90 5 2000 30 190 6 4000 40 0 10 70\n"
    )
    assert disk_counters(text, disks) == {"sda": (2048 * 512, 4096 * 512, 100, 200)}


def drive(name: object = "/machine/peripheral/disk0", **stats: object) -> dict[str, object]:
    said = {"rd_bytes": 1, "wr_bytes": 2, "rd_operations": 3, "wr_operations": 4}
    return {"device": "", "qdev": name, "stats": said | stats, "parent": {}}


def test_drives_are_read_from_qemu_and_what_is_no_drive_is_left_out() -> None:
    nameless = {"device": "", "node-name": "firmware", "stats": {}}
    assert block_counters([drive(), nameless]) == {"/machine/peripheral/disk0": (1, 2, 3, 4)}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "x",
        {},
        [None],
        [{"qdev": 7}],
        [drive(rd_bytes="1")],
        [drive(wr_bytes=-1)],
        [drive(rd_bytes=1 << 64)],
    ],
)
def test_a_monitor_that_was_taken_over_can_say_nothing_that_counts(answer: object) -> None:
    assert block_counters(answer) == {}
    assert guest_memory(answer, now=1000.0) is None


def stats(total: object, available: object, updated: object = 990) -> dict[str, object]:
    return {"stats": {"stat-total-memory": total, "stat-available-memory": available}, "last-update": updated}


def test_a_guest_says_what_its_programs_use_if_it_has_the_driver_and_said_it_lately() -> None:
    assert guest_memory(stats(GIB, GIB // 4), now=1000.0) == GIB - GIB // 4
    assert guest_memory(stats((1 << 64) - 1, (1 << 64) - 1), now=1000.0) is None
    assert guest_memory(stats(GIB, 2 * GIB), now=1000.0) is None
    assert guest_memory(stats(GIB, GIB // 4, updated=0), now=1000.0) is None
    assert guest_memory(stats("much", 1), now=1000.0) is None


def samples(*machines: MachineUsage) -> Samples:
    return Samples(
        host="rack-1", at=1_700_000_000, sequence=1, totals=HostTotals(load=0.5), machines=machines
    )


def test_samples_travel_whole_and_what_is_out_of_bounds_is_refused() -> None:
    message = samples(MachineUsage(machine_id=MACHINE, cpu_percent=12.5, memory_bytes=float(GIB)))
    wire = message.to_wire()
    assert from_wire(Samples, wire) == message
    for wrong in (-1, 1e16, "12", float("nan")):
        wire["body"]["machines"][0]["cpu_percent"] = wrong
        with pytest.raises(MessageError):
            from_wire(Samples, wire)
    twice = message.to_wire()
    twice["body"]["machines"] *= 2
    with pytest.raises(MessageError, match="named twice"):
        from_wire(Samples, twice)
