"""What is wanted against what the living machine has: what can be changed while it runs, and what waits for its next start."""

from __future__ import annotations

from dataclasses import dataclass

from workers.contract.spec import NORMAL_CPU_WEIGHT, DiskBus, DiskSpec, MachineSpec, NicModel, NicSpec


@dataclass(frozen=True)
class Changes:
    """`pending` names what counts from the next start on, the others what can be done at once.

    `kept_disks` are wanted no more but stay plugged in until then; `grow` are disks that are plugged in and wanted
    larger, `shrink` those wanted smaller; `wiring`: addresses, names, ports or the firewall of what is plugged in are
    others, `limits`: how much it may take of its host. `memory_mib` is what the guest is to be left with, None where it has that
    already. A name in `pending` is followed by "=" and the number that counts now, or by ":" and a slot.
    """

    unplug_disks: tuple[DiskSpec, ...] = ()
    kept_disks: tuple[DiskSpec, ...] = ()
    plug_disks: tuple[DiskSpec, ...] = ()
    unplug_nics: tuple[NicSpec, ...] = ()
    plug_nics: tuple[NicSpec, ...] = ()
    grow: tuple[DiskSpec, ...] = ()
    shrink: tuple[DiskSpec, ...] = ()
    boot: bool = False
    wiring: bool = False
    limits: bool = False
    memory_mib: int | None = None
    pending: tuple[str, ...] = ()

    @property
    def devices(self) -> bool:
        """Something is to be plugged in or out."""
        return bool(self.unplug_disks or self.plug_disks or self.unplug_nics or self.plug_nics)


def most_mib(spec: MachineSpec) -> int:
    """The memory that a machine is started with: the most that it can be given."""
    return spec.memory_most_mib or spec.memory_mib


def as_started(spec: MachineSpec) -> MachineSpec:
    """The machine just after its start: all of its memory is in it, and only its cards are limited, with their taps."""
    unlimited = {"iops": None, "mib_per_second": None}
    return spec.model_copy(
        update={
            "memory_mib": most_mib(spec),
            "cpu_weight": NORMAL_CPU_WEIGHT,
            "disks": tuple(disk.model_copy(update=unlimited) for disk in spec.disks),
        }
    )


def is_limited(spec: MachineSpec) -> bool:
    """Something is to be limited once it runs."""
    return spec.cpu_weight != NORMAL_CPU_WEIGHT or any(
        disk.iops or disk.mib_per_second for disk in spec.disks
    )


def limited_as(spec: MachineSpec, wanted: MachineSpec) -> MachineSpec:
    """The machine with the limits that are wanted, where what they are about is in both."""
    limits = {disk.id: {"iops": disk.iops, "mib_per_second": disk.mib_per_second} for disk in wanted.disks}
    pairs = [(nic, card_in(wanted, nic) or nic) for nic in spec.nics]
    return spec.model_copy(
        update={
            "cpu_weight": wanted.cpu_weight,
            "disks": tuple(disk.model_copy(update=limits.get(disk.id, {})) for disk in spec.disks),
            "nics": tuple(
                nic.model_copy(update={"mbit_in": new.mbit_in, "mbit_out": new.mbit_out})
                for nic, new in pairs
            ),
        }
    )


def changes(wanted: MachineSpec, living: MachineSpec, *, ports: bool) -> Changes:
    """From the living machine to the wanted one. `ports`: its board has ports into which things can be plugged."""
    unwanted = tuple(disk for disk in living.disks if not _has_disk(wanted, disk))
    unplug_disks = tuple(disk for disk in unwanted if ports and disk.bus is DiskBus.VIRTIO)
    unplug_nics = tuple(
        nic for nic in living.nics if card_in(wanted, nic) is None and ports and nic.model is NicModel.VIRTIO
    )
    taken_disks = {disk.slot for disk in living.disks} - {disk.slot for disk in unplug_disks}
    taken_nics = {nic.slot for nic in living.nics} - {nic.slot for nic in unplug_nics}
    plug_disks = tuple(
        disk
        for disk in wanted.disks
        if not _has_disk(living, disk)
        and ports
        and disk.bus is DiskBus.VIRTIO
        and disk.slot not in taken_disks
    )
    plug_nics = tuple(
        nic
        for nic in wanted.nics
        if card_in(living, nic) is None
        and ports
        and nic.model is NicModel.VIRTIO
        and nic.slot not in taken_nics
    )
    sizes = {disk.id: disk.size_bytes for disk in living.disks}
    memory = min(wanted.memory_mib, most_mib(living))
    found = Changes(
        unplug_disks=unplug_disks,
        kept_disks=tuple(disk for disk in unwanted if disk not in unplug_disks),
        plug_disks=plug_disks,
        unplug_nics=unplug_nics,
        plug_nics=plug_nics,
        grow=tuple(disk for disk in wanted.disks if disk.size_bytes > sizes.get(disk.id, disk.size_bytes)),
        shrink=tuple(disk for disk in wanted.disks if disk.size_bytes < sizes.get(disk.id, 0)),
        boot=(wanted.boot_from, wanted.boot_slot) != (living.boot_from, living.boot_slot),
        wiring=_wiring(wanted, living),
        limits=_limits(wanted, living),
        memory_mib=memory if memory != living.memory_mib else None,
    )
    pending = _pending(wanted, living, after(living, wanted, found))
    return Changes(**(vars(found) | {"pending": pending}))


def after(living: MachineSpec, wanted: MachineSpec, found: Changes) -> MachineSpec:
    """The living machine when all that can be changed while it runs has been changed."""
    disks = [disk for disk in living.disks if disk not in found.unplug_disks]
    nics = [card_in(wanted, nic) or nic for nic in living.nics if nic not in found.unplug_nics]
    return living.model_copy(
        update={
            "disks": tuple(sorted((*disks, *found.plug_disks), key=lambda disk: disk.slot)),
            "nics": tuple(sorted((*nics, *found.plug_nics), key=lambda nic: nic.slot)),
            "boot_from": wanted.boot_from,
            "boot_slot": wanted.boot_slot,
            "firewall": wanted.firewall,
        }
    )


def card_in(spec: MachineSpec, nic: NicSpec) -> NicSpec | None:
    """The same card in another spec, whatever its addresses, ports and limits are there; None where it is not."""
    for other in spec.nics:
        same = (other.mac, other.slot, other.model, other.network.id) == (
            nic.mac, nic.slot, nic.model, nic.network.id,
        )  # fmt: skip
        if same:
            return other
    return None


def _wiring(wanted: MachineSpec, living: MachineSpec) -> bool:
    """What is plugged in and stays has other addresses, names or ports, or may let something else through."""
    unlimited = {"mbit_in": None, "mbit_out": None}
    pairs = [(card_in(wanted, nic), nic) for nic in living.nics]
    return wanted.firewall != living.firewall or any(
        new is not None and new.model_copy(update=unlimited) != old.model_copy(update=unlimited)
        for new, old in pairs
    )


def _limits(wanted: MachineSpec, living: MachineSpec) -> bool:
    """What is plugged in and stays may take more or less of the host than it may now."""
    disks = {disk.id: (disk.iops, disk.mib_per_second) for disk in living.disks}
    cards = [(card_in(wanted, nic), nic) for nic in living.nics]
    return (
        wanted.cpu_weight != living.cpu_weight
        or any(
            (disk.iops, disk.mib_per_second) != disks.get(disk.id, (disk.iops, disk.mib_per_second))
            for disk in wanted.disks
        )
        or any(
            new is not None and (new.mbit_in, new.mbit_out) != (old.mbit_in, old.mbit_out)
            for new, old in cards
        )
    )


def _pending(wanted: MachineSpec, living: MachineSpec, then: MachineSpec) -> tuple[str, ...]:
    names = []
    if wanted.cpus != living.cpus:
        names.append(f"cpus={living.cpus}")
    if wanted.memory_mib > most_mib(living):
        names.append(f"memory={most_mib(living)}")
    elif most_mib(wanted) != most_mib(living):
        names.append(f"memory_most={most_mib(living)}")
    names += [name for name in ("firmware", "tpm", "guest") if getattr(wanted, name) != getattr(living, name)]
    disks = {disk.slot for disk in wanted.disks if not _has_disk(then, disk, as_it_is=True)}
    disks |= {disk.slot for disk in then.disks if not _has_disk(wanted, disk, as_it_is=True)}
    nics = {nic.slot for nic in wanted.nics if card_in(then, nic) is None}
    nics |= {nic.slot for nic in then.nics if card_in(wanted, nic) is None}
    names += [f"disk:{slot}" for slot in sorted(disks)]
    names += [f"nic:{slot}" for slot in sorted(nics)]
    return tuple(names)


def _has_disk(spec: MachineSpec, disk: DiskSpec, *, as_it_is: bool = False) -> bool:
    """The same disk at the same place; `as_it_is`: also of this kind and in this pool."""
    return any(
        other.id == disk.id
        and other.slot == disk.slot
        and other.bus is disk.bus
        and (not as_it_is or (other.kind is disk.kind and other.pool == disk.pool))
        for other in spec.disks
    )
