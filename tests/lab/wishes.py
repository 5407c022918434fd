"""Specs for the laboratory's machines."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any
from uuid import UUID, uuid4

from workers.contract.acts import Act
from workers.contract.messages import ApplyMachine
from workers.contract.spec import (
    GIB,
    DiskKind,
    DiskSpec,
    MachineSpec,
    NetworkSpec,
    NicSpec,
    Power,
)

PRIVATE = NetworkSpec(id=UUID("5b1f2c9e-7a34-4c1d-9a55-0a1b2c3d4e5f"), subnet=IPv4Network("192.168.57.0/24"))


def spec(**changes: Any) -> MachineSpec:
    """A small machine with a growing disk and a card in the private network; `changes` replace fields."""
    number = changes.pop("number", 10)
    fields: dict[str, Any] = {
        "machine_id": uuid4(),
        "generation": 1,
        "run": 1,
        "power": Power.RUNNING,
        "name": "box",
        "cpus": 1,
        "memory_mib": 256,
        "disks": (DiskSpec(id=uuid4(), size_bytes=GIB, kind=DiskKind.GROWING),),
        "nics": (
            NicSpec(
                network=PRIVATE,
                mac=f"52:54:00:00:00:{number:02x}",
                address=IPv4Address(f"192.168.57.{number}"),
            ),
        ),
    }
    return MachineSpec(**(fields | changes))


def later(before: MachineSpec, **changes: Any) -> MachineSpec:
    """The machine's next generation."""
    return before.model_copy(update={"generation": before.generation + 1, **changes})


def wish(machine: MachineSpec, act: Act | None = None) -> ApplyMachine:
    """The message that carries a spec, and an act where there is one."""
    return ApplyMachine(operation_id=uuid4(), spec=machine, act=act)
