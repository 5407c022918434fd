"""Figures of machines: taken in, kept coarser with age, shown to whom they concern, gone with the machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.accounts.models import User
from portal.figures.models import Fresh, HostStretch, MachineStretch
from portal.figures.packing import (
    FIELDS,
    FINE,
    MINUTES,
    QUARTERS,
    Pair,
    coarser,
    entry,
    machine_key,
    pack_samples,
    packed_pairs,
    pairs_of,
)
from portal.figures.selectors import RANGES, Subject, now_of, pairs
from portal.figures.services import roll_up, samples_take
from portal.figures.tasks import samples as samples_task
from portal.fleet.models import Host
from portal.machines.models import Machine
from tests.web.people import later, machine_of, nobody, signed_in
from workers.contract.figures import HostTotals, MachineUsage, Samples
from workers.contract.spec import GIB

DAY = 1_700_006_400
"""A midnight, some time ago."""

CPU = FIELDS.index("cpu_own_percent")


def said(at: int, *machines: UUID, host: str = "rack-1", cpu: float = 50.0, **figures: float) -> Samples:
    """A host's message of these machines, each at so much of its processors."""
    values = {"cpu_own_percent": cpu, "cpu_percent": 2 * cpu, "memory_bytes": float(GIB)} | figures
    return Samples(
        host=host,
        at=at,
        sequence=later(),
        totals=HostTotals(cpu_own_percent=cpu, load=1.5),
        machines=tuple(MachineUsage(machine_id=each, **values) for each in machines),
    )


def told(at: int, *machines: UUID, **more: Any) -> bool:
    """The message arrives at once."""
    return samples_take(said(at, *machines, **more), now=at + 0.2)


def of(machine: Machine) -> Subject:
    return Subject(machine.host_id, machine.pk)


def shown(machine: Machine, range_name: str, now: float) -> dict[int, float]:
    """What is shown of its processors, by time; a dot is a point."""
    found = pairs(of(machine), RANGES[range_name], now=now)
    return {at: average[CPU] for at, (average, _) in found.items()}


def fill(machine: Machine, start: int, seconds: int, load: Callable[[int], float] = lambda _: 50.0) -> None:
    """Every five seconds a message, rolled up as time passes."""
    for at in range(start, start + seconds, FINE):
        assert told(at, machine.pk, cpu=load(at))
        if at % 60 == 0:
            roll_up(now=at)


def test_what_a_host_says_is_shown_at_once_and_in_each_range(running: Machine) -> None:
    assert told(DAY + 5, running.pk, cpu=10)
    assert told(DAY + 10, running.pk, cpu=30)
    now = DAY + 12
    assert shown(running, "hour", now) == {DAY + 5: 10, DAY + 10: 30}
    assert shown(running, "day", now) == {DAY: 20}
    [(average, peak)] = pairs(of(running), RANGES["month"], now=now).values()
    assert (average[CPU], peak[CPU]) == (20, 30)
    assert now_of({running.host_id: [running.pk, nobody()]}, now=now)[running.pk].cpu_percent == 30


def test_a_late_a_double_and_a_wrongly_dated_message_change_nothing(running: Machine) -> None:
    assert told(DAY + 5, running.pk, cpu=10)
    assert not told(DAY + 5, running.pk, cpu=90)
    assert not samples_take(said(DAY + 10, running.pk), now=DAY + 40)
    assert not samples_take(said(DAY + 100, running.pk), now=DAY + 40)
    assert not told(DAY + 15, running.pk, host="rack-9")
    assert shown(running, "hour", DAY + 60) == {DAY + 5: 10}


def test_messages_out_of_order_find_their_places(running: Machine) -> None:
    for at in (DAY + 15, DAY + 5, DAY + 10):
        assert samples_take(said(at, running.pk, cpu=float(at - DAY)), now=DAY + 16)
    assert shown(running, "hour", DAY + 20) == {DAY + 5: 5, DAY + 10: 10, DAY + 15: 15}


def test_what_is_older_is_kept_as_averages_and_peaks_and_a_gap_stays_a_gap(running: Machine) -> None:
    fill(running, DAY, 120, lambda at: 100.0 if at == DAY + 30 else 10.0)
    fill(running, DAY + 600, 120)  # eight minutes of silence
    before = {name: shown(running, name, DAY + 720) for name in RANGES}
    roll_up(now=DAY + 3600 + 300)
    assert Fresh.objects.count() == 0
    assert {row.step for row in MachineStretch.objects.all()} == {FINE, MINUTES}
    after = {name: shown(running, name, DAY + 720) for name in RANGES}
    assert after == before
    assert set(after["day"]) == {DAY, DAY + 60, DAY + 600, DAY + 660}
    assert after["day"][DAY] == pytest.approx(17.5)
    assert pairs(of(running), RANGES["day"], now=DAY + 720)[DAY][1][CPU] == 100
    assert list(after["month"]) == [DAY]
    roll_up(now=DAY + 86_400 + 300)
    assert shown(running, "month", DAY + 720) == pytest.approx(before["month"])
    assert pairs(of(running), RANGES["month"], now=DAY + 720)[DAY][1][CPU] == 100
    assert {row.step for row in MachineStretch.objects.all()} == {MINUTES, QUARTERS}, "the finest are dropped"
    roll_up(now=DAY + 3 * 86_400)
    assert {row.step for row in MachineStretch.objects.all()} == {QUARTERS}
    roll_up(now=DAY + 40 * 86_400)
    assert not MachineStretch.objects.exists()
    assert not HostStretch.objects.exists()


def test_rolling_up_twice_or_after_a_long_pause_changes_nothing(running: Machine) -> None:
    for at in range(DAY, DAY + 300, FINE):
        assert told(at, running.pk, cpu=float(at % 60))
    before = shown(running, "hour", DAY + 300)
    roll_up(now=DAY + 7000)
    roll_up(now=DAY + 7000)
    assert shown(running, "hour", DAY + 300) == before
    assert MachineStretch.objects.filter(step=FINE).count() == 5
    assert MachineStretch.objects.filter(step=MINUTES).count() == 1
    assert HostStretch.objects.filter(step=MINUTES).count() == 1


def test_a_host_has_no_say_about_another_hosts_machines(running: Machine, ben: User) -> None:
    other = Host.objects.create(name="rack-2", gateway="unix:/nowhere")
    assert told(DAY + 5, running.pk, host="rack-2", cpu=99)
    roll_up(now=DAY + 120)
    assert not MachineStretch.objects.exists()
    assert shown(running, "hour", DAY + 60) == {}
    assert HostStretch.objects.get().host == other


def test_a_machine_that_is_deleted_takes_its_figures_with_it(running: Machine, ann: User) -> None:
    neighbour = machine_of(ann, "neighbour")
    for at in range(DAY, DAY + 120, FINE):
        assert told(at, running.pk, neighbour.pk)
    roll_up(now=DAY + 110)
    gone = running.pk
    running.delete()
    assert set(MachineStretch.objects.values_list("machine_id", flat=True)) == {neighbour.pk}
    roll_up(now=DAY + 300)  # what had come of it just before
    assert not MachineStretch.objects.filter(machine_id=gone).exists()
    assert not Fresh.objects.exists()


def test_what_is_no_message_of_this_contract_is_passed_over(running: Machine) -> None:
    wire = said(int(time.time()), running.pk).to_wire()
    for wrong in (None, "x", {}, wire | {"version": 99}, {"version": 3, "body": {"host": "rack-1"}}):
        samples_task(wrong)
    assert not Fresh.objects.exists()
    samples_task(wire)
    assert Fresh.objects.count() == 1


def test_the_numbers_behind_the_charts_are_for_those_who_see_the_machine(
    running: Machine, ann: User, ben: User, boss: User
) -> None:
    at = int(time.time()) // FINE * FINE
    assert samples_take(said(at, running.pk, cpu=42.0, disk_reads=7.0))
    address = f"/machines/{running.pk}/figures/data/"
    for person in (ann, boss):
        answer = signed_in(person).get(address)
        assert answer["Cache-Control"] == "private, no-store"
        body = answer.json()
        assert body["times"][-1] == at
        assert len(body["times"]) == 720
        assert body["average"]["cpu_own_percent"][-1] == 42
        assert body["average"]["cpu_own_percent"][:-1] == [None] * 719
        assert body["average"]["net_in_bytes"][-1] is None, "not known is not nothing"
        assert body["charts"][0]["lines"][0]["now"] == "42 %"
    assert signed_in(ben).get(address).status_code == 404
    newer = signed_in(ann).get(address, {"since": at - FINE}).json()
    assert newer["times"] == [at]
    for odd in ("-1", "x", "9" * 30, "\u0661"):
        assert len(signed_in(ann).get(address, {"since": odd, "range": odd}).json()["times"]) == 720
    assert len(signed_in(ann).get(address, {"range": "day"}).json()["times"]) == 1440
    assert len(signed_in(ann).get(address, {"range": "month"}).json()["times"]) == 2880
    assert signed_in(boss).get("/hosts/rack-1/figures/").json()["average"]["extra"][-1] == 1.5


def test_the_list_and_the_page_say_what_a_machine_takes_now(running: Machine, ann: User) -> None:
    browser = signed_in(ann)
    assert "42 %" not in browser.get("/machines/").content.decode()
    assert samples_take(said(int(time.time()), running.pk, cpu=42.0))
    assert "42 %" in browser.get("/machines/").content.decode()
    page = browser.get(f"/machines/{running.pk}/figures/").content.decode()
    assert "84 %" in page, "of one core"
    assert "1 GB" in page
    Machine.objects.update(observed="off")
    assert "42 %" not in browser.get("/machines/").content.decode()


numbers = st.sampled_from([math.nan, 0.0, 0.5, 7.0, 1e12])
points = st.tuples(*[numbers] * len(FIELDS))
stretches = st.dictionaries(
    st.integers(0, 59).map(lambda place: DAY + 60 * place), st.tuples(points, points), max_size=8
)


@given(stretches)
def test_a_stretch_holds_what_was_put_in_and_nothing_else(kept: dict[int, Pair]) -> None:
    read = pairs_of(packed_pairs(kept, MINUTES, DAY), MINUTES, DAY)
    assert set(read) == {at for at, (average, _) in kept.items() if not all(map(math.isnan, average))}
    for at, pair in read.items():
        for now, before in zip((*pair[0], *pair[1]), (*kept[at][0], *kept[at][1]), strict=True):
            assert now == pytest.approx(before, nan_ok=True)


@given(stretches)
def test_a_coarser_average_lies_between_what_it_is_made_of_and_a_peak_is_the_highest(
    kept: dict[int, Pair],
) -> None:
    for at, (average, peak) in coarser(kept, QUARTERS).items():
        inside = [pair for moment, pair in kept.items() if at <= moment < at + QUARTERS]
        for place in range(len(FIELDS)):
            averages = [a[place] for a, _ in inside if not math.isnan(a[place])]
            peaks = [p[place] for _, p in inside if not math.isnan(p[place])]
            assert math.isnan(average[place]) == (not averages)
            if averages:
                assert min(averages) * 0.999 <= average[place] <= max(averages) * 1.001
            assert math.isnan(peak[place]) if not peaks else peak[place] == max(peaks)


@given(st.lists(st.uuids(), unique=True, min_size=1, max_size=30))
def test_each_machine_is_found_in_its_hosts_message(machines: list[UUID]) -> None:
    packed = pack_samples(said(DAY, *machines))
    for number, machine_id in enumerate(machines):
        found = entry(packed, machine_key(machine_id))
        assert found is not None
        assert found[CPU] == 50, number
    assert entry(packed, machine_key(nobody())) is None
