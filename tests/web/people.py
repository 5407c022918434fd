"""The cast of the web tests: people, hosts that were heard, discs, machines, and what hosts say of them."""

from __future__ import annotations

import itertools
import time
from typing import Any
from uuid import UUID, uuid4

from django.test import Client

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.fleet.models import Host
from portal.fleet.services import heartbeat_take
from portal.images.models import Image
from portal.machines import reports, services
from portal.machines.models import Machine
from portal.machines.services import MachineWish
from portal.networks.services import private_network
from portal.requests.models import Request
from workers.contract.errors import ErrorCode
from workers.contract.host import CpuFacts, HostFacts, HostUsage, InterfaceFacts, KvmAnswer, KvmProbe
from workers.contract.messages import (
    EndReason,
    ErrorReport,
    Heartbeat,
    MachineObserved,
    Observed,
    OperationState,
    Progress,
)
from workers.contract.spec import GIB, DiskKind

PASSWORD = "correct horse battery staple"
_sequence = itertools.count(time.time_ns())


def signed_in(user: User, *, csrf: bool = False) -> Client:
    """A browser in which the person is signed in."""
    client = Client(enforce_csrf_checks=csrf)
    client.force_login(user)
    return client


def decides(user: User, row: Request, decision: str, **fields: Any) -> str:
    """The approver presses a button; what is on the page then."""
    answer = signed_in(user).post(
        f"/requests/{row.pk}/decide/", {"decision": decision, **fields}, follow=True
    )
    row.refresh_from_db()
    return answer.content.decode()


def later() -> int:
    """A sequence greater than every one before."""
    return next(_sequence)


def interface(name: str, *ports: str, **changes: Any) -> InterfaceFacts:
    """A card of a host; with `ports` or `is_bridge` a bridge."""
    fields: dict[str, Any] = {
        "name": name,
        "is_bridge": bool(ports),
        "mac": "02:00:00:00:00:01",
        "is_up": True,
        "ports": ports,
    }
    return InterfaceFacts(**(fields | changes))


def facts(
    *,
    threads: int = 8,
    kvm: KvmAnswer = KvmAnswer.WORKS,
    interfaces: tuple[InterfaceFacts, ...] = (),
) -> HostFacts:
    """What a host says that it can do."""
    cpu = CpuFacts(
        model="Test CPU",
        threads=threads,
        extension="vmx",
        switched_on_in_firmware=True,
        kvm_modules=("kvm", "kvm_intel"),
        kvm_device=True,
        kvm_device_opens=True,
    )
    probe = KvmProbe(answer=kvm, detail="it ran", kvm_seconds=0.2, tcg_seconds=0.4, slower_than_tcg=0.5)
    return HostFacts(
        cpu=cpu,
        kvm=probe,
        qemu_version="7.2.0",
        kernel="6.1.0",
        missing_features=("vhost-net",),
        interfaces=interfaces,
    )


def heartbeat(name: str = "rack-1", **changes: Any) -> Heartbeat:
    """A heartbeat of a host with room; `changes` replace fields of it, of its usage, or its `threads` and `interfaces`."""
    sizes = {
        key: changes.pop(key, value)
        for key, value in {
            "memory_total_mib": 65536,
            "memory_free_mib": 60000,
            "disk_total_mib": 1_000_000,
            "disk_free_mib": 900_000,
        }.items()
    }
    fields: dict[str, Any] = {
        "host": name,
        "sequence": later(),
        "started": 1_700_000_000,
        "gateway": "unix:/nowhere/gateway.sock",
        "facts": facts(threads=changes.pop("threads", 8), interfaces=changes.pop("interfaces", ())),
        "usage": HostUsage(load=0.5, **sizes),
    }
    return Heartbeat(**(fields | changes))


def host_heard(name: str = "rack-1", **changes: Any) -> Host:
    """A host that has just said that it is alive."""
    assert heartbeat_take(heartbeat(name, **changes))
    return Host.objects.get(name=name)


def silence(*names: str) -> None:
    """These hosts were heard last in another time."""
    Host.objects.filter(name__in=names).update(last_seen="2020-01-01T00:00:00Z")


def image_named(name: str = "Debian 12", **fields: Any) -> Image:
    """A disc's row; no file lies behind it."""
    return Image.objects.create(name=name, size_bytes=4096, sha256="ab" * 32, **fields)


def wish(name: str = "web", **changes: Any) -> MachineWish:
    """A small machine without a disc."""
    fields: dict[str, Any] = {
        "name": name,
        "image": None,
        "cpus": 1,
        "memory_mib": 512,
        "disk_bytes": 10 * GIB,
        "disk_kind": DiskKind.GROWING,
        "network": private_network(),
    }
    return MachineWish(**(fields | changes))


def machine_of(owner: User, name: str = "web", **changes: Any) -> Machine:
    """A machine that the person has just asked for."""
    asked = services.machine_create(owner=owner, requested_by=owner, wish=wish(name, **changes))
    return Machine.objects.get(operations=asked)


def newest(machine: Machine) -> Operation:
    """What was asked last of the machine."""
    found = machine.operations.order_by("-generation").first()
    assert found is not None
    return found


def seen(machine: Machine, power: Observed = Observed.RUNNING, **changes: Any) -> MachineObserved:
    """What the machine's host says of it."""
    fields: dict[str, Any] = {
        "host": machine.host.name,
        "machine_id": machine.pk,
        "generation": Machine.objects.values_list("generation", flat=True).get(pk=machine.pk),
        "sequence": later(),
        "power": power,
        "reason": EndReason.PERSON if power is Observed.OFF else None,
    }
    return MachineObserved(**(fields | changes))


def told(operation: Operation, state: OperationState = OperationState.DONE, **changes: Any) -> Progress:
    """How far the operation is, as its host says."""
    assert operation.machine_id is not None
    fields: dict[str, Any] = {
        "operation_id": operation.pk,
        "machine_id": operation.machine_id,
        "generation": operation.generation,
        "sequence": later(),
        "state": state,
    }
    if state is OperationState.FAILED:
        fields["error"] = ErrorReport(code=ErrorCode.LAUNCH_FAILED, detail="qemu said no")
    return Progress(**(fields | changes))


def done(machine: Machine, power: Observed = Observed.RUNNING, **changes: Any) -> Machine:
    """The machine after its host has carried out all that was asked, and says what it is now."""
    for operation in machine.operations.filter(state__in=["queued", "running"]):
        reports.progress_take(told(operation))
    assert reports.observed_take(seen(machine, power, **changes))
    machine.refresh_from_db()
    return machine


def nobody() -> UUID:
    """An id that is nobody's."""
    return uuid4()
