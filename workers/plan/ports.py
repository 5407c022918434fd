"""The sockets of a machine's board: one port for each disk and card that it can have, there from the start.

What is plugged in while the machine runs is then found at the same place after its next start: the port goes by the slot.
All of them are there always (measured: 24 ports cost a start nothing, and an emulated guest some 0.3 s of its own boot),
so that the board of a machine never depends on what was in it when it was started.
"""

from __future__ import annotations

_FIRST_SLOT = 0x16
_FUNCTIONS = 8
_NICS, _DISKS = 8, 16
SEED_PORT = "seed-port"
_SEED_SLOT = 0x1E


def nic_port(slot: int) -> str:
    """The port of a network card."""
    return f"port{slot}"


def disk_port(slot: int) -> str:
    """The port of a disk."""
    return f"port{_NICS + slot}"


def ports() -> tuple[dict[str, object], ...]:
    """The devices that are the ports (pcie-root-port(7.2)): eight functions a slot of the root bus."""
    found: list[dict[str, object]] = []
    for number in range(_NICS + _DISKS):
        slot, function = _FIRST_SLOT + number // _FUNCTIONS, number % _FUNCTIONS
        port: dict[str, object] = {
            "driver": "pcie-root-port",
            "id": f"port{number}",
            "bus": "pcie.0",
            "addr": f"{slot:#x}.{function:x}",
            "chassis": number + 1,
            "slot": number + 1,
            # None of our devices needs the old kind of ports, of which a PC has too few for so many bridges.
            "io-reserve": 0,
        }
        found.append(port | ({"multifunction": True} if function == 0 else {}))
    return tuple(found)


def seed_port() -> dict[str, object]:
    """The port of a cloud image's seed. Behind those of the disks, so that a system counts its disks first (vda, vdb …)."""
    number = _NICS + _DISKS + 1
    return {
        "driver": "pcie-root-port",
        "id": SEED_PORT,
        "bus": "pcie.0",
        "addr": f"{_SEED_SLOT:#x}",
        "chassis": number,
        "slot": number,
        "io-reserve": 0,
    }
