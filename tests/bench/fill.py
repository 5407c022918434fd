"""Inside the portal's Django, as a process of its own: 1,000 machines on 2 hosts, and questions about them.

`fill`, `hear`, `silence`, `queries PATH…`, `beats NUMBER` or `figures NUMBER`; the last line of output is the answer as JSON. The
rows are what hosts report of real machines: the argument list, 16 KiB of serial log, three operations with messages and steps.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timedelta
from uuid import UUID

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
import django

django.setup()

from django.db import connection  # noqa: E402  nothing of Django loads before its setup
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402

from portal.accounts.models import User  # noqa: E402
from portal.activity.models import Kind, Operation  # noqa: E402
from portal.fleet.models import Host  # noqa: E402
from portal.machines.models import Disk, Machine, Nic  # noqa: E402
from portal.networks.services import private_network  # noqa: E402
from tests.bench.figures import kept  # noqa: E402
from tests.bench.heartbeat import taken  # noqa: E402
from workers.contract.host import KvmAnswer, KvmProbe  # noqa: E402
from workers.contract.messages import Observed, OperationState, Step, StepReport, StepState  # noqa: E402
from workers.contract.spec import GIB, BootFrom, DiskBus, DiskKind, NicModel, Power  # noqa: E402
from workers.host.facts import host_facts  # noqa: E402

MACHINES = 1000
_STEPS = (Step.MAKE_DISKS, Step.PREPARE_NETWORK, Step.LAUNCH)


def fill() -> dict[str, str]:
    """All rows; a session of the administrator, and the address of one machine and one host."""
    owners = User.objects.bulk_create([User(username=f"person-{number}") for number in range(20)])
    probe = KvmProbe(answer=KvmAnswer.TOO_SLOW, detail="a loop took too long", tcg_seconds=0.13)
    facts = host_facts(probe).model_dump(mode="json")
    room = {"memory_total_mib": 512_000, "memory_free_mib": 200_000, "disk_total_mib": 1, "disk_free_mib": 1}
    hosts = Host.objects.bulk_create(
        [
            Host(name=name, gateway="unix:/g", facts=facts, last_seen=_hence(hours=1), **room)
            for name in ("rack-1", "rack-2")
        ]
    )
    machines = Machine.objects.bulk_create(
        [_machine(number, owners[number % 20], hosts[number % 2]) for number in range(MACHINES)]
    )
    Disk.objects.bulk_create(
        [
            Disk(machine=each, position=0, size_bytes=8 * GIB, kind=DiskKind.GROWING, bus=DiskBus.VIRTIO)
            for each in machines
        ]
    )
    network = private_network()
    Nic.objects.bulk_create([_nic(number, each, network.pk) for number, each in enumerate(machines)])
    Operation.objects.bulk_create([each for machine in machines for each in _operations(machine)])
    boss = User.objects.create_user("boss", is_staff=True)
    client = Client()
    client.force_login(boss)
    return {"session": client.cookies["sessionid"].value, "machine": str(machines[500].pk), "host": "rack-1"}


def hear(*, last: int) -> dict[str, str]:
    """One host was last heard in so many hours from now."""
    Host.objects.filter(name="rack-2").update(last_seen=_hence(hours=last))
    return {}


def queries(paths: list[str]) -> dict[str, int]:
    """How many queries each page takes, signing in included."""
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username="boss"))
    found = {}
    for path in paths:
        client.get(path)
        with CaptureQueriesContext(connection) as captured:
            assert client.get(path).status_code == 200
        found[path] = len(captured)
    return found


def _hence(*, hours: int) -> datetime:
    """No worker beats here: a host that was heard in the future does not go silent while pages are measured."""
    return timezone.now() + timedelta(hours=hours)


def _machine(number: int, owner: User, host: Host) -> Machine:
    running = number % 3 > 0
    return Machine(
        owner=owner,
        host=host,
        name=f"machine-{number:04}",
        cpus=2,
        memory_mib=2048,
        boot_from=BootFrom.DISK,
        run=1,
        power=Power.RUNNING if running else Power.OFF,
        observed=Observed.RUNNING if running else Observed.OFF,
        accelerator="tcg",
        under_the_hood={
            "argv": ["-device", '{"driver":"virtio-blk-pci","id":"disk0"}'] * 40,
            "accelerator": "tcg",
            "firewall": "ether saddr drop\n" * 20,
            "console_log": "[    0.000000] Linux version 6.1.0-28-cloud-amd64\n" * 320,
            "qemu_log": "",
            "state_folder": f"/var/lib/offshoot/host/machines/{number}",
        },
    )


def _nic(number: int, machine: Machine, network_id: UUID) -> Nic:
    """A card whose MAC and address follow from the number; each host has half of the addresses of a /16."""
    return Nic(
        machine=machine,
        host=machine.host,
        network_id=network_id,
        position=0,
        mac=f"52:54:00:00:{number // 256:02x}:{number % 256:02x}",
        address=f"192.168.{number // 250}.{number % 250 + 2}",
        model=NicModel.VIRTIO,
        bridge="ob5b1f2c9e7a34",
        tap=f"ot{number:06x}",
    )


def _operations(machine: Machine) -> list[Operation]:
    """Three that are over; the newest of every hundredth machine still goes on."""
    steps = [
        StepReport(step=step, state=StepState.DONE, percent=100).model_dump(mode="json") for step in _STEPS
    ]
    goes_on = machine.name.endswith("00")
    return [
        Operation(
            kind=kind,
            machine=machine,
            machine_name=machine.name,
            host=machine.host,
            requested_by=machine.owner,
            generation=generation,
            state=OperationState.RUNNING if goes_on and kind == Kind.START else OperationState.DONE,
            steps=steps,
            message={"version": 1, "body": {"spec": "x" * 1500}},
            sent_at=timezone.now(),
        )
        for generation, kind in enumerate((Kind.CREATE, Kind.SHUT_DOWN, Kind.START), start=1)
    ]


def main() -> None:
    """Do what the first argument says."""
    command, *paths = sys.argv[1:]
    done: object
    match command:
        case "fill":
            done = fill()
        case "hear":
            done = hear(last=1)
        case "silence":
            done = hear(last=-1)
        case "beats":
            host = Host.objects.get(name="rack-1")
            assert host.host_facts is not None
            done = taken(host, host.host_facts, int(paths[0]))
        case "figures":
            done = kept(Host.objects.get(name="rack-1"), int(paths[0]))
        case _:
            done = queries(paths)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
