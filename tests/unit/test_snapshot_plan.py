"""The commands of snapshots, and the copies of a TPM's memory: whole results, and each thing done twice."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID

import pytest

from tests.lab import wishes
from workers.contract.acts import DeleteSnapshot, RevertToSnapshot, TakeSnapshot
from workers.contract.messages import Step
from workers.contract.spec import MachineSpec, Power
from workers.host import tpm_copies
from workers.plan import snapshots
from workers.plan.steps import Found, steps_for

ID = UUID("5a700000-0000-4000-8000-000000000001")
DISK = Path("/var/lib/offshoot/-c, d.qcow2")
OFF = Found(disks_missing=False, running_run=None, running_disc=None, ended_run=1)
RUNNING = Found(disks_missing=False, running_run=1, running_disc=None, ended_run=None)


@pytest.mark.parametrize(("change", "option"), [("create", "-c"), ("apply", "-a"), ("delete", "-d")])
def test_a_disk_that_nobody_has_open_is_changed_by_qemu_img(change: snapshots.Change, option: str) -> None:
    name = snapshots.name_of(ID)
    argv = snapshots.change_argv(change, name, DISK)
    assert argv == ("qemu-img", "snapshot", "-q", option, str(ID), str(DISK))


def test_all_disks_of_a_running_machine_are_kept_in_one_transaction() -> None:
    assert snapshots.at_one_instant(("disk0", "firmware-variables"), "x") == (
        "transaction",
        {
            "actions": [
                {"type": "blockdev-snapshot-internal-sync", "data": {"device": "disk0", "name": "x"}},
                {
                    "type": "blockdev-snapshot-internal-sync",
                    "data": {"device": "firmware-variables", "name": "x"},
                },
            ]
        },
    )
    assert snapshots.forget_command("disk1", "x") == (
        "blockdev-snapshot-delete-internal-sync",
        {"device": "disk1", "name": "x"},
    )


def test_the_name_of_what_was_before_is_no_id() -> None:
    with pytest.raises(ValueError, match="badly formed"):
        UUID(snapshots.BEFORE)


@pytest.mark.parametrize("found", [OFF, RUNNING])
def test_taking_and_deleting_one_touch_nothing_else_of_the_machine(found: Found) -> None:
    machine = _machine(power=Power.RUNNING if found is RUNNING else Power.OFF)
    assert steps_for(machine, found, TakeSnapshot(snapshot_id=ID)) == (Step.TAKE_SNAPSHOT,)
    assert steps_for(machine, found, DeleteSnapshot(snapshot_id=ID)) == (Step.DELETE_SNAPSHOT,)


@pytest.mark.parametrize("found", [OFF, RUNNING])
def test_going_back_puts_the_disks_back_before_anything_is_matched(found: Found) -> None:
    """Also a machine that runs with other hardware, or whose disks are other ones now, is first made what it was."""
    act = RevertToSnapshot(snapshot_id=ID)
    back = Step.REVERT_TO_SNAPSHOT
    assert steps_for(_machine(power=Power.OFF), found, act) == (back,)
    machine = _machine(run=2)
    assert steps_for(machine, found, act) == (back, Step.PREPARE_NETWORK, Step.LAUNCH)
    having = RevertToSnapshot(snapshot_id=ID, memory=True)
    assert steps_for(machine, found, having) == (back, Step.PREPARE_NETWORK, Step.WAKE)


def test_a_tpms_memory_is_kept_put_back_and_taken_back(tmp_path: Path) -> None:
    tpm, copy = tmp_path / "tpm", tmp_path / "shelf"
    tpm_copies.keep(tpm, copy)
    assert not copy.exists()  # a machine without one
    tpm.mkdir(mode=0o700)
    (tpm / "state").write_text("then")
    os.chown(tpm / "state", 12345, 12345)
    tpm_copies.keep(tpm, copy)
    (tpm / "state").write_text("now")
    for _ in range(2):
        tpm_copies.put_back(tpm, copy)
        assert (tpm / "state").read_text() == "then"
        assert (tpm / "state").stat().st_uid == 12345
    for _ in range(2):
        tpm_copies.take_back(tpm)
        assert (tpm / "state").read_text() == "now"
    tpm_copies.put_back(tpm, copy)
    tpm_copies.settle(tpm)
    tpm_copies.take_back(tpm)
    assert (tpm / "state").read_text() == "then"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shelf", "tpm"]


def _machine(**changes: object) -> MachineSpec:
    return wishes.spec(**changes)
