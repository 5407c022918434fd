"""Small changes of a running machine: the memory that its guest is left with, and what it starts from."""

from __future__ import annotations

from workers.contract.disks import MIB
from workers.effects.work import Work
from workers.host import living
from workers.plan.changes import after, changes, most_mib
from workers.plan.qemu import boot_order


def change_memory(work: Work) -> None:
    """Have the balloon take or give memory; the guest follows as fast as it can (QMP: balloon)."""
    now = living.living(work.folder)
    if now is None:
        return
    mib = min(work.spec.memory_mib, most_mib(now.spec))
    work.host.monitors.execute(work.folder.qmp_socket, ("balloon", {"value": mib * MIB}))
    living.note_living(work.folder, memory_mib=mib, memory_most_mib=most_mib(now.spec))


def change_boot(work: Work) -> None:
    """The firmware reads the order at each start of the guest, so it counts from the guest's own next restart on."""
    now = living.living(work.folder)
    if now is None:
        return
    spec = after(now.spec, work.spec, changes(work.spec, now.spec, ports=now.ports))
    set_boot_order(work, boot_order(spec))
    living.note_living(work.folder, boot_from=spec.boot_from, boot_slot=spec.boot_slot)


def set_boot_order(work: Work, order: dict[str, int]) -> None:
    """Give the plugged devices these ranks. All lose theirs first, since no two may have the same (qemu: bootdevice.c)."""
    ranks = [(name, -1) for name in order] + list(order.items())
    work.host.monitors.execute(
        work.folder.qmp_socket,
        *(
            ("qom-set", {"path": f"/machine/peripheral/{name}", "property": "bootindex", "value": rank})
            for name, rank in ranks
        ),
    )
