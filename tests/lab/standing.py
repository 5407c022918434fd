"""A host that stays for all tests of a file, and what is looked at on it: what runs, what was left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tests.lab import wishes
from tests.lab.broker import Broker, PortalsEar
from tests.lab.folder import short_folder, small_disk
from tests.lab.host import LabHost
from tests.lab.network import HostNetwork
from tests.lab.processes import DNSMASQ, processes_of
from tests.lab.waiting import wait_for
from workers.contract.acts import Act
from workers.contract.messages import OperationState, Progress
from workers.contract.spec import MachineSpec, Power, StopMode


@dataclass
class Standing:
    """A host with its worker and the portal's ear; `folder` is the laboratory's."""

    folder: Path
    broker: Broker
    host: LabHost
    ear: PortalsEar

    def apply(self, machine: MachineSpec, act: Act | None = None, *, seconds: float = 60) -> Progress:
        """Wish for the machine as it is described, and for `act` after it; how that ended."""
        wish = wishes.wish(machine, act)
        self.ear.ask(self.host.name, wish)
        return self.ear.end_of(wish.operation_id, seconds=seconds)

    def done(self, machine: MachineSpec, act: Act | None = None, *, seconds: float = 60) -> MachineSpec:
        """The same, and it ended well; the machine, so that the next wish can be made from it."""
        end = self.apply(machine, act, seconds=seconds)
        assert end.state is OperationState.DONE, (end, self.host.words()[-3000:])
        return machine

    def delete(self, machine: MachineSpec) -> None:
        """The machine is gone from the host."""
        self.done(wishes.later(machine, power=Power.GONE, stop_mode=StopMode.FORCE))

    def query(self, machine_id: UUID, command: str) -> object:
        """What the running machine's monitor answers (QMP). The monitor has room for one, so this waits its turn."""
        from workers.host.monitor import MonitorError, MonitorLoop

        loop = MonitorLoop()

        def answer() -> list[object] | None:
            try:
                return loop.execute(self.host.folder(machine_id).qmp_socket, (command, {}))
            except MonitorError:
                return None

        try:
            return wait_for(f"{command} is answered", answer, seconds=10)[0]
        finally:
            loop.close()
            loop.loop.close()

    def dnsmasqs(self) -> list[int]:
        """The dnsmasq processes of this host's networks."""
        return processes_of(self.host.state.networks, DNSMASQ)

    def traces(self) -> dict[str, object]:
        """What machines leave on a host while they run or are being made; empty where there is nothing of it."""
        state, network = self.host.state, self.host.network
        found: dict[str, object] = {
            "links": network.links(),
            "tables": [line for line in network.rules().splitlines() if line.startswith("table ")],
            "dnsmasq": self.dnsmasqs(),
            "qemu": self.host.qemus(),
            "tpm": self.host.tpms(),
            "networks": list(state.networks.glob("*/")),
            "unfinished files": [*state.root.rglob("*.part"), *state.root.rglob("*.draft")],
            "forwarding": network.inside("cat", "/proc/sys/net/ipv4/ip_forward").strip().strip("0"),
        }
        return {name: value for name, value in found.items() if value}


@contextmanager
def standing_host(
    *, internet: bool = False, control_groups: bool = False, disk_mib: int = 0, **environ: str
) -> Iterator[Standing]:
    """A running worker in a namespace of its own, with `environ` beside its usual settings.

    With `disk_mib` its state lies on a disk of its own, of that size.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        if disk_mib:
            stack.enter_context(small_disk(folder / "host", mib=disk_mib))
        broker = stack.enter_context(closing(Broker(folder / "redis")))
        ear = stack.enter_context(closing(PortalsEar(broker)))
        network = HostNetwork(folder, internet=internet, control_groups=control_groups)
        stack.enter_context(closing(network))
        portal = f"http+unix:{folder / 'portal.sock'}"
        host = LabHost("rack-1", folder / "host", broker, network, portal_url=portal, **environ)
        stack.enter_context(closing(host))
        host.start()
        ear.heartbeat(host.name, seconds=120)  # its folders are there, and it is in its namespace
        yield Standing(folder, broker, host, ear)
