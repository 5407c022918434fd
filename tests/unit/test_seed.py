"""A seed's text: what cloud-init is told, whatever a person typed."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.lab import wishes
from tests.unit.test_qemu_arguments import choices, devices, machine
from workers.contract.messages import Step
from workers.contract.spec import SeedSpec
from workers.plan.qemu import qemu_argv
from workers.plan.seed import meta_data, user_data
from workers.plan.steps import Found, steps_for

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ ann@laptop"
HASH = "$6$rounds=200000$salt$hash"
SEED = SeedSpec(user="ann", ssh_keys=(KEY,), password_hash=HASH, host_name="web", packages=("htop", "nginx"))


def test_the_whole_text() -> None:
    assert user_data(SEED) == (
        "#cloud-config\n"
        "hostname: web\n"
        "manage_etc_hosts: localhost\n"
        "user:\n"
        "  name: ann\n"
        "  lock_passwd: false\n"
        f"  passwd: {HASH}\n"
        "  ssh_authorized_keys:\n"
        f"  - {KEY}\n"
        "ssh_pwauth: false\n"
        "package_update: true\n"
        "packages:\n"
        "- htop\n"
        "- nginx\n"
    )
    machine_id = UUID("5c0f0000-0000-4000-8000-000000000001")
    assert meta_data(SEED, machine_id) == f"instance-id: {machine_id}\nlocal-hostname: web\n"


@pytest.mark.parametrize(
    ("changes", "over_ssh", "locked"),
    [({}, False, False), ({"ssh_keys": ()}, True, False), ({"password_hash": ""}, False, True)],
)
def test_a_password_counts_over_ssh_only_without_a_key(
    changes: dict[str, object], over_ssh: bool, locked: bool
) -> None:
    told = yaml.safe_load(user_data(SEED.model_copy(update=changes)))
    assert (told["ssh_pwauth"], told["user"]["lock_passwd"]) == (over_ssh, locked)


@given(typed=st.lists(st.text(), max_size=4), packages=st.lists(st.text(), max_size=4))
def test_nothing_that_was_typed_becomes_another_setting(typed: list[str], packages: list[str]) -> None:
    hostile = SEED.model_copy(update={"ssh_keys": tuple(typed), "packages": tuple(packages)})
    told = yaml.safe_load(user_data(hostile))
    assert told["user"].get("ssh_authorized_keys", []) == typed
    assert told.get("packages", []) == packages
    assert set(told) <= {"hostname", "manage_etc_hosts", "user", "ssh_pwauth", "package_update", "packages"}


def test_it_is_made_before_the_start_and_once() -> None:
    wanted = wishes.spec(seed=SEED)
    new = Found(disks_missing=True, running_run=None, running_disc=None, ended_run=None, seed_missing=True)
    assert steps_for(wanted, new) == (Step.MAKE_DISKS, Step.MAKE_SEED, Step.PREPARE_NETWORK, Step.LAUNCH)
    later = Found(disks_missing=False, running_run=None, running_disc=None, ended_run=None)
    assert Step.MAKE_SEED not in steps_for(wanted, later)


def test_it_is_plugged_in_read_only_and_is_never_started_from() -> None:
    argv = qemu_argv(machine(), choices(seed=Path("/var/lib/offshoot/seed.iso")))
    [seed] = [each for each in devices(argv) if each["id"] == "seed-device"]
    assert (seed["driver"], seed["bus"], "bootindex" in seed) == ("virtio-blk-pci", "seed-port", False)
    # A system counts its disks in the order of their ports.
    addresses = {
        str(each["id"]): int(str(each["addr"]).partition(".")[0], 16)
        for each in devices(argv)
        if "addr" in each
    }
    assert addresses["seed-port"] > max(at for name, at in addresses.items() if name.startswith("port"))
    [node] = [argument for argument in argv if '"node-name":"seed"' in argument]
    assert node == (
        '{"driver":"raw","node-name":"seed","read-only":true,'
        '"file":{"driver":"file","filename":"/var/lib/offshoot/seed.iso","read-only":true}}'
    )
