"""Limits on paper: token buckets, what is limited when, and the numbers of the control groups."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.lab import wishes
from workers.contract.acts import RevertToSnapshot
from workers.contract.messages import Step
from workers.contract.networks import MOST_MBIT
from workers.contract.spec import GIB, DiskKind, DiskSpec, MachineSpec
from workers.host.cgroups import shares
from workers.plan.changes import Changes, as_started, changes, is_limited, limited_as
from workers.plan.names import tap_name, tap_name_of
from workers.plan.shaping import Bucket, bucket, waiting_name
from workers.plan.steps import Found, steps_for

OFF = Found(disks_missing=False, running_run=None, running_disc=None, ended_run=None)
SAVED = Found(disks_missing=False, running_run=None, running_disc=None, ended_run=None, saved_run=1)
PLAIN = wishes.spec()
[CARD], [DISK] = PLAIN.nics, PLAIN.disks


def with_limits(*, weight: int = 100, disk: dict[str, int] | None = None, **card: int) -> MachineSpec:
    """The plain machine's next generation with these limits."""
    update: dict[str, Any] = {
        "cpu_weight": weight,
        "disks": (DISK.model_copy(update=disk or {}),),
        "nics": (CARD.model_copy(update=card),),
    }
    return wishes.later(PLAIN, **update)


@pytest.mark.parametrize(
    ("mbit", "expected"),
    [
        (1, Bucket(rate=125_000, burst=16_384, queue=49_152)),
        (100, Bucket(rate=12_500_000, burst=125_000, queue=750_000)),
        (MOST_MBIT, Bucket(rate=3_750_000_000, burst=37_500_000, queue=225_000_000)),
    ],
)
def test_a_limit_is_a_bucket_that_takes_whole_frames_and_whose_queue_is_short(
    mbit: int, expected: Bucket
) -> None:
    assert bucket(mbit) == expected
    assert bucket(mbit).rate < 2**32  # struct tc_ratespec
    assert bucket(mbit).queue < 2**32


def test_the_device_of_what_a_machine_sends_is_named_after_its_tap_and_fits_the_kernel() -> None:
    assert waiting_name(tap_name(CARD)) == "ot00000a-out"
    assert len(waiting_name("ot00000a")) <= 15
    assert tap_name_of("525400abcdef") == "otabcdef" == tap_name_of("52:54:00:ab:cd:ef")


@pytest.mark.parametrize(("weight", "expected"), [(1, 10), (100, 1024), (10_000, 102_400)])
def test_a_weight_is_said_in_shares_where_there_are_only_those(weight: int, expected: int) -> None:
    assert shares(weight) == expected
    assert shares(weight) >= 2


@pytest.mark.parametrize(
    "wanted",
    [
        with_limits(weight=50),
        with_limits(disk={"iops": 100}),
        with_limits(disk={"mib_per_second": 5}),
        with_limits(mbit_in=5),
        with_limits(mbit_out=5),
    ],
)
def test_each_limit_is_changed_at_once_and_no_limit_again_as_well(wanted: MachineSpec) -> None:
    living = as_started(PLAIN)
    assert changes(wanted, living, ports=True) == Changes(limits=True)
    found = Found(False, 1, None, None, changes=changes(wanted, living, ports=True))
    assert steps_for(wanted, found) == (Step.CHANGE_LIMITS,)
    assert limited_as(living, wanted) == living.model_copy(
        update={name: getattr(wanted, name) for name in ("cpu_weight", "disks", "nics")}
    )
    assert changes(wanted, limited_as(living, wanted), ports=True) == Changes()
    assert limited_as(limited_as(living, wanted), PLAIN) == living


def test_a_qemu_that_has_just_come_up_is_limited_by_its_cards_alone() -> None:
    wanted = with_limits(weight=7, disk={"iops": 1, "mib_per_second": 2}, mbit_in=3)
    assert as_started(wanted) == with_limits(mbit_in=3)
    assert is_limited(wanted)
    assert not is_limited(with_limits(mbit_in=3))


@pytest.mark.parametrize(
    ("wanted", "limits"),
    [(with_limits(weight=7), (Step.CHANGE_LIMITS,)), (with_limits(mbit_in=3), ())],
)
def test_whatever_way_it_comes_up_its_limits_follow(wanted: MachineSpec, limits: tuple[Step, ...]) -> None:
    network = Step.PREPARE_NETWORK
    assert steps_for(wanted, OFF) == (network, Step.LAUNCH, *limits)
    assert steps_for(wanted, SAVED) == (network, Step.WAKE, *limits)
    for memory, up in ((True, Step.WAKE), (False, Step.LAUNCH)):
        act = RevertToSnapshot(snapshot_id=uuid4(), memory=memory)
        assert steps_for(wanted, OFF, act) == (Step.REVERT_TO_SNAPSHOT, network, up, *limits)


def test_limits_of_what_is_not_plugged_in_wait_for_it() -> None:
    other = DiskSpec(id=uuid4(), size_bytes=GIB, kind=DiskKind.GROWING, slot=1, iops=5)
    wanted = wishes.later(PLAIN, disks=(DISK, other), cpu_weight=100)
    found = changes(wanted, as_started(PLAIN), ports=True)
    assert (found.limits, found.plug_disks) == (False, (other,))
    assert limited_as(as_started(PLAIN), wanted) == as_started(PLAIN)
