"""What crosses the border between portal and hosts, and what is refused there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab import wishes
from workers.contract.errors import MessageError, VersionError
from workers.contract.messages import ApplyMachine
from workers.contract.tokens import Purpose, TokenError, issue, subject_of
from workers.contract.version import CONTRACT_VERSION, from_wire


def test_a_message_arrives_as_it_was_sent() -> None:
    sent = wishes.wish(wishes.spec(name="Bücher, “quoted” --and=more"))
    assert from_wire(ApplyMachine, json.loads(json.dumps(sent.to_wire()))) == sent


def test_a_message_of_another_version_is_refused_and_never_guessed_at() -> None:
    wire = wishes.wish(wishes.spec()).to_wire() | {"version": CONTRACT_VERSION + 1}
    with pytest.raises(VersionError, match=f"version {CONTRACT_VERSION + 1}"):
        from_wire(ApplyMachine, wire)


@pytest.mark.parametrize(
    "change",
    [
        {"path": "/etc/shadow"},
        {"memory_mib": "2048"},
        {"memory_mib": -1},
        {"machine_id": "../../etc"},
        {"power": "exploding"},
        {"name": ""},
        {"name": "x" * 64},
        {"nics": [{"mac": "52:54:00:00:00:0a,id=x"}]},
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    wire = wishes.wish(wishes.spec()).to_wire()
    wire["body"]["spec"] |= change
    with pytest.raises(MessageError):
        from_wire(ApplyMachine, wire)


_NEW_FIELDS = {
    "memory_most_mib", "guest", "firmware", "tpm", "autostart", "second_disc", "boot_slot", "seed",
    "cpu_weight", "firewall",
}  # fmt: skip


def test_a_wish_that_a_host_wrote_down_before_its_upgrade_is_still_understood() -> None:
    machine = wishes.spec()
    wire = wishes.wish(machine).to_wire()
    spec = {key: value for key, value in wire["body"]["spec"].items() if key not in _NEW_FIELDS}
    spec["disks"] = [{k: d[k] for k in ("id", "size_bytes", "kind", "bus")} for d in spec["disks"]]
    spec["nics"] = [{k: n[k] for k in ("network", "mac", "address", "model")} for n in spec["nics"]]
    old = {"version": 1, "body": {"operation_id": wire["body"]["operation_id"], "spec": spec}}
    assert from_wire(ApplyMachine, old).spec == machine


_ID = "5c0f0000-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    "act",
    [
        {"kind": "format_everything"},
        {"kind": "take_backup", "place": "../../etc", "backup_id": _ID},
        {"kind": "take_backup", "place": "usb", "backup_id": "../x"},
        {"kind": "export_machine", "export_id": _ID, "format": "exe"},
        {"kind": "set_password", "account": "root; reboot", "password_hash": "$6$a$b"},
        {"kind": "set_password", "account": "root", "password_hash": "plain words"},
        {"kind": "freeze_disks", "disks": []},
        {"kind": "reset", "machine_id": _ID},
    ],
)
def test_an_act_that_does_not_fit_is_refused(act: dict[str, Any]) -> None:
    wire = wishes.wish(wishes.spec()).to_wire()
    wire["body"]["act"] = act
    with pytest.raises(MessageError):
        from_wire(ApplyMachine, wire)


def test_two_devices_are_never_in_one_slot() -> None:
    wire = wishes.wish(wishes.spec()).to_wire()
    [disk] = wire["body"]["spec"]["disks"]
    wire["body"]["spec"]["disks"] = [disk, disk | {"id": _ID}]
    with pytest.raises(MessageError, match="two devices are in one slot"):
        from_wire(ApplyMachine, wire)


@pytest.mark.parametrize(
    "wire", [None, [], "x", {}, {"version": CONTRACT_VERSION}, {"version": CONTRACT_VERSION, "body": 1}]
)
def test_what_is_no_message_is_refused(wire: object) -> None:
    with pytest.raises(MessageError):
        from_wire(ApplyMachine, wire)


def test_a_token_is_good_for_its_purpose_its_key_and_its_time_only() -> None:
    token = issue(key="k", purpose=Purpose.CONSOLE, subject="a machine")
    assert subject_of(token, key="k", purpose=Purpose.CONSOLE, seconds=30) == "a machine"
    for key, purpose, seconds, forged in (
        ("other", Purpose.CONSOLE, 30, token),
        ("k", Purpose.IMAGE, 30, token),
        ("k", Purpose.CONSOLE, -1, token),
        ("k", Purpose.CONSOLE, 30, "another machine" + token[9:]),
        ("k", Purpose.CONSOLE, 30, ""),
    ):
        with pytest.raises(TokenError):
            subject_of(forged, key=key, purpose=purpose, seconds=seconds)


def test_a_hosts_worker_loads_no_portal_no_framework_and_no_database() -> None:
    program = (
        "import sys, pkgutil, importlib, workers\n"
        "skip = {'workers.celery', 'workers.tasks'}\n"  # these read a host's settings when they are imported
        "for m in pkgutil.walk_packages(workers.__path__, 'workers.'):\n"
        "    if m.name not in skip: importlib.import_module(m.name)\n"
        # kombu looks for Django's lazy strings; Django's database, settings and apps are what must not be there.
        "bad = {'portal', 'launch', 'django.db', 'django.conf', 'django.apps', 'channels', 'psycopg'}\n"
        "sys.exit(' '.join(sorted(bad & set(sys.modules))) or 0)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        (sys.executable, "-c", program), cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
