"""Hosts on one switch with a broker at the neighbour; the bridges around their cards, and what cards and bridges have."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from uuid import uuid4

from tests.lab.broker import Broker, PortalsEar
from tests.lab.folder import short_folder
from tests.lab.host import LabHost
from tests.lab.network import HostNetwork
from tests.lab.resolved import Resolved
from tests.lab.switch import Switch
from tests.lab.waiting import wait_for
from workers.contract.errors import ErrorCode
from workers.contract.jobs import Job
from workers.contract.messages import DoJob, OperationState, Progress

CARD, BRIDGE = Switch.CARD, f"br-{Switch.CARD}"
GUESTS = {"52:54:00:00:01:01": "198.51.100.101", "52:54:00:00:01:02": "198.51.100.102"}
HOST_MAC, HOST_ADDRESS = "52:54:00:00:02:01", "198.51.100.11"
_BY_ROUTER = f"[Match]\nName={CARD}\n[Network]\nIPv6AcceptRA=yes\n"
_BY_DHCP = f"[Match]\nName={CARD}\n[Network]\nDHCP=ipv4\n"


@dataclass
class Switched:
    """The switch, its hosts, the broker and the portal's ear."""

    switch: Switch
    broker: Broker
    ear: PortalsEar
    hosts: list[LabHost]
    resolved: Resolved | None = None

    def do(self, host: LabHost, job: Job) -> Progress:
        message = DoJob(operation_id=uuid4(), job=job)
        self.ear.ask_job(host.name, message)
        return self.ear.end_of(message.operation_id)

    def done(self, host: LabHost, job: Job) -> None:
        end = self.do(host, job)
        assert end.state is OperationState.DONE, (end, host.words()[-3000:])

    def refused(self, host: LabHost, job: Job) -> str:
        end = self.do(host, job)
        assert end.error is not None
        assert end.error.code is ErrorCode.BRIDGE_REFUSED, end
        return end.error.detail


@contextmanager
def hosts_on_a_switch(
    hosts: int,
    *,
    resolved: bool = False,
    by_dhcp: bool = False,
    by_router: bool = False,
    by_networkd: bool = False,
    broker_here: bool = False,
) -> Iterator[Switched]:
    """Hosts whose card has addresses and routes that were given by hand.

    `resolved`: the first host asks systemd-resolved for names, which knows a name server at its card alone, and has its
    broker by name. `by_dhcp`: and all that its card has is from the neighbour's DHCP server, by systemd-networkd.
    `by_router`: all that cards have is what the neighbour says as a router of IPv6; `by_networkd`: to systemd-networkd, which
    tells the kernel not to listen itself. `broker_here`: the broker is at a socket
    of the host itself, and cards have addresses only.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        switch = stack.enter_context(
            closing(Switch(folder, GUESTS | {HOST_MAC: HOST_ADDRESS}, routes=by_router))
        )
        broker = Broker(folder / "redis", enter=switch.near(), listens_on=Switch.NEIGHBOUR)
        stack.enter_context(closing(broker))
        ear = stack.enter_context(closing(PortalsEar(broker)))
        lab = Switched(switch, broker, ear, [])
        for number in range(1, hosts + 1):
            network = stack.enter_context(closing(HostNetwork(folder, internet=False)))
            if by_dhcp:
                switch.plug_in(network.host, mac=HOST_MAC)
            elif by_router:
                # It asks for a router at once, not within the two seconds that nodes keep apart.
                network.inside("sysctl", "-q", "-w", "net.ipv6.conf.default.dad_transmits=0")
                switch.plug_in(network.host)
            else:
                switch.plug_in(network.host, f"198.51.100.{10 + number}/24", f"2001:db8:7::{number}/64")
            if not (by_dhcp or by_router or broker_here):
                network.inside("ip", "route", "add", "default", "via", Switch.NEIGHBOUR, "metric", "70")
                network.inside("ip", "route", "add", "203.0.113.0/24", "via", Switch.NEIGHBOUR, "mtu", "1400")
                network.inside("ip", "-6", "route", "add", "default", "via", "2001:db8:7::ff", "metric", "80")
            url = broker.url if by_router or broker_here else broker.tcp_url
            if by_networkd:
                networkd = Resolved(network, folder, networkd=_BY_ROUTER)
                stack.enter_context(closing(networkd))
            if resolved or by_dhcp:
                lab.resolved = Resolved(network, folder, networkd=_BY_DHCP if by_dhcp else "")
                stack.enter_context(closing(lab.resolved))
                if not by_dhcp:
                    lab.resolved.tell("dns", CARD, Switch.NEIGHBOUR)
                    lab.resolved.tell("domain", CARD, Switch.NAME, "~example")
                url = url.replace(Switch.NEIGHBOUR, f"broker.{Switch.NAME}")
            host = LabHost(
                f"rack-{number}", folder / f"h{number}", broker, network, OFFSHOOT_BROKER_URL=url,
                OFFSHOOT_BRIDGE_SECONDS="6" if by_networkd else "2", OFFSHOOT_NETWORK_CHECK_SECONDS="1",
            )  # fmt: skip
            stack.enter_context(closing(host))
            host.start()
            lab.hosts.append(host)
        for host in lab.hosts:
            ear.heartbeat(host.name)
        yield lab


def layout(host: LabHost, link: str) -> dict[str, list[str]]:
    """The addresses and routes of an interface, link-local ones left out."""
    if link not in host.network.inside("ip", "-o", "link"):
        return {}
    try:
        [shown] = json.loads(host.network.inside("ip", "-j", "addr", "show", "dev", link)) or [{}]
        routes = host.network.inside("ip", "route", "show", "dev", link).splitlines()
        routes += host.network.inside("ip", "-6", "route", "show", "dev", link).splitlines()
    except subprocess.CalledProcessError:  # it went while it was looked at
        return {}
    return {
        "addresses": [
            f"{each['local']}/{each['prefixlen']}"
            for each in shown.get("addr_info", [])
            if each["scope"] != "link"
        ],
        "routes": sorted(" ".join(each.split()) for each in routes if not each.startswith("fe80")),
    }


def bare(host: LabHost, before: dict[str, list[str]]) -> bool:
    """The card has what it had before, and there is no bridge."""
    return layout(host, CARD) == before and not layout(host, BRIDGE)


def confirmed(host: LabHost) -> None:
    """What was changed last is neither undone any more nor in anybody's way."""
    wait_for("no change is open", lambda: not list(host.state.uplinks.glob("changes/*.json")), seconds=20)
