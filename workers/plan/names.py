"""Names and places that the host alone decides: folders, bridges, taps. Nothing here comes from what a person typed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from workers.contract.disks import DiskKind
from workers.contract.networks import NetworkSpec
from workers.contract.spec import Firmware, NicSpec


def bridge_name(network_id: UUID) -> str:
    """The bridge of a network; at most 15 characters (Linux: IFNAMSIZ less the final NUL)."""
    return f"ob{network_id.hex[:12]}"


def bridge_of(network: NetworkSpec) -> str:
    """Where the taps of a network's machines are plugged in: a bridge of ours, or the host's own."""
    return network.bridge or bridge_name(network.id)


def is_ours(link: str) -> bool:
    """A bridge or tap that we made for machines, or what slows one; no bridge of the host's own."""
    return re.fullmatch(r"ob[0-9a-f]{12}|ot[0-9a-f]{6}(-out)?", link) is not None


def bridge_around(card: str) -> str:
    """The bridge that is made around a card of the host; at most 15 characters, the same each time."""
    name = f"br-{card}"
    return name if len(name) <= 15 else f"br-{sha256(card.encode()).hexdigest()[:10]}"


def tap_name(nic: NicSpec) -> str:
    """The tap of a card, after the half of its MAC that is its own."""
    return tap_name_of(nic.mac)


def tap_name_of(mac: str) -> str:
    """The same from the MAC alone, with or without its colons."""
    return "ot" + mac.replace(":", "")[6:]


def tap_mac(nic: NicSpec) -> str:
    """The host's end of the cable. It begins with fe so that a bridge never takes it as its own address."""
    return "fe" + nic.mac[2:]


def bridge_mac(network_id: UUID) -> str:
    """A fixed, locally administered address, so that guests keep their ARP entry when taps come and go."""
    digits = network_id.hex
    return "02:" + ":".join(digits[i : i + 2] for i in range(0, 10, 2))


def disk_file_name(disk_id: UUID, kind: DiskKind) -> str:
    """A disk's file is named after its id and what it is."""
    return f"{disk_id}.{'qcow2' if kind is DiskKind.GROWING else 'raw'}"


@dataclass(frozen=True)
class MachineFolder:
    """Where everything of one machine lies: its own files belong to root, `run` and the disks to qemu's account."""

    root: Path

    @property
    def run(self) -> Path:
        """The only folder in which qemu may create files: its sockets."""
        return self.root / "run"

    @property
    def qmp_socket(self) -> Path:
        """The monitor for commands."""
        return self.run / "qmp.sock"

    @property
    def events_socket(self) -> Path:
        """The monitor for events; a second one, since a monitor serves one client."""
        return self.run / "events.sock"

    @property
    def vnc_socket(self) -> Path:
        """The screen."""
        return self.run / "vnc.sock"

    @property
    def serial_socket(self) -> Path:
        """The serial port, copied into console.log by the worker."""
        return self.run / "serial.sock"

    @property
    def agent_socket(self) -> Path:
        """The guest agent's port."""
        return self.run / "agent.sock"

    @property
    def pid_file(self) -> Path:
        """Written by qemu; a hint, never a proof."""
        return self.run / "qemu.pid"

    @property
    def console_log(self) -> Path:
        """What the guest wrote to its serial port, capped."""
        return self.root / "console.log"

    @property
    def qemu_log(self) -> Path:
        """What qemu itself said."""
        return self.root / "qemu.log"

    @property
    def export(self) -> Path:
        """The machine as a file for elsewhere, on its way to the portal."""
        return self.root / "export"

    @property
    def life_lock(self) -> Path:
        """Held by qemu itself from its start to its last instruction: free means that no qemu runs."""
        return self.root / "life.lock"

    @property
    def apply_lock(self) -> Path:
        """Keeps two applies of one machine apart."""
        return self.root / "apply.lock"

    @property
    def agent_lock(self) -> Path:
        """Held by whoever speaks with the guest's agent."""
        return self.root / "agent.lock"

    @property
    def seed_file(self) -> Path:
        """What a cloud image reads at its first start, as a disc."""
        return self.root / "seed.iso"

    @property
    def wish_file(self) -> Path:
        """The newest message that was accepted."""
        return self.root / "wish.json"

    @property
    def disks_file(self) -> Path:
        """Which disks were made, and where they lie."""
        return self.root / "disks.json"

    @property
    def freezing_file(self) -> Path:
        """There while disks are being frozen: what has to be finished or undone."""
        return self.root / "freezing.json"

    @property
    def handled_file(self) -> Path:
        """The end of the last operation: its report, for a portal that missed it."""
        return self.root / "handled.json"

    @property
    def ended_file(self) -> Path:
        """Which run ended, and why."""
        return self.root / "ended.json"

    @property
    def intent_file(self) -> Path:
        """A person's wish to stop, written before the act: a SIGTERM looks like a guest's own end."""
        return self.root / "intent.json"

    def variables_file(self, firmware: Firmware) -> Path:
        """What the machine's UEFI firmware remembers: boot entries, keys. One for each kind, so that none is lost."""
        return self.root / f"firmware-{firmware.value}.qcow2"

    @property
    def tpm(self) -> Path:
        """The memory of the machine's TPM; belongs to qemu's account, as the program does that plays it."""
        return self.root / "tpm"

    @property
    def tpm_lock(self) -> Path:
        """Held by the machine's TPM for as long as it runs."""
        return self.root / "tpm.lock"

    @property
    def tpm_log(self) -> Path:
        """What the TPM's program said."""
        return self.root / "tpm.log"

    @property
    def snapshots(self) -> Path:
        """What belongs to snapshots beside the disks: one folder each."""
        return self.root / "snapshots"

    @property
    def snapshot_journal(self) -> Path:
        """What is being done with a snapshot, until it is done or undone."""
        return self.root / "snapshot-journal.json"

    @property
    def launched_file(self) -> Path:
        """What the running qemu was started with."""
        return self.root / "launched.json"

    @property
    def course_file(self) -> Path:
        """How the present run goes: why it stands still, how often its guest restarted itself."""
        return self.root / "course.json"

    @property
    def saved_file(self) -> Path:
        """What the saved memory belongs to; there is none without it."""
        return self.root / "saved.json"

    @property
    def memory_file(self) -> Path:
        """The memory of a hibernated machine."""
        return self.root / "memory.saved"

    @property
    def memory_draft(self) -> Path:
        """The same while it is being written."""
        return self.root / "memory.saved.part"

    @property
    def balloon_file(self) -> Path:
        """How much memory the balloon leaves to the guest, as qemu said last, and in which run."""
        return self.root / "balloon.json"


@dataclass(frozen=True)
class StateFolder:
    """Where everything of a host lies (`/var/lib/offshoot/host` by default)."""

    root: Path

    @property
    def machines(self) -> Path:
        """One folder a machine."""
        return self.root / "machines"

    @property
    def images(self) -> Path:
        """Discs fetched from the library."""
        return self.root / "images"

    @property
    def bases(self) -> Path:
        """Frozen disks on which others stand."""
        return self.root / "bases"

    @property
    def networks(self) -> Path:
        """One folder a network."""
        return self.root / "networks"

    @property
    def uplinks(self) -> Path:
        """The bridges that we made around cards of the host, and what is being changed about them."""
        return self.root / "uplinks"

    @property
    def boot_file(self) -> Path:
        """The boot of the host that a worker has seen last."""
        return self.root / "boot"

    @property
    def accept_lock(self) -> Path:
        """Held while a wish is written into a machine's folder, and while such a folder goes."""
        return self.machines / ".accept"

    @property
    def tombstones(self) -> Path:
        """The last generation of machines that are gone, so that a late message does not bring one back."""
        return self.root / "tombstones"

    def machine(self, machine_id: UUID) -> MachineFolder:
        """The folder of one machine."""
        return MachineFolder(self.machines / str(machine_id))

    def network(self, network_id: UUID) -> Path:
        """The folder of one network."""
        return self.networks / str(network_id)
