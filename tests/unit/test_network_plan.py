"""Networks on paper: whole results, compared."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from tests.lab.wishes import PRIVATE
from workers.contract.networks import NetworkKind, NetworkSpec
from workers.plan.names import bridge_around, is_ours
from workers.plan.network import (
    DnsmasqFiles,
    PluggedNic,
    dnsmasq_configuration,
    dnsmasq_hosts,
    dnsmasq_names,
)

NIC = PluggedNic(tap="ot00000a", mac="52:54:00:00:00:0a", address=IPv4Address("192.168.57.10"))
BRIDGE = "ob5b1f2c9e7a34"


def test_dnsmasq_serves_its_bridge_only_and_knows_only_its_machines() -> None:
    files = DnsmasqFiles(
        hosts=Path("/n/hosts"), names=Path("/n/names"), leases=Path("/n/leases"), pid=Path("/n/pid")
    )
    text = dnsmasq_configuration(PRIVATE, files, user="offshoot-vm", group="offshoot-vm", upstream="")
    assert text.splitlines() == [
        f"interface={BRIDGE}",
        "except-interface=lo",
        "bind-interfaces",
        "listen-address=192.168.57.1",
        "dhcp-range=192.168.57.0,static,255.255.255.0,43200",
        "dhcp-ignore=tag:!known",
        "dhcp-authoritative",
        "no-ping",
        "dhcp-ignore-clid",
        "dhcp-hostsfile=/n/hosts",
        "dhcp-leasefile=/n/leases",
        "pid-file=/n/pid",
        "user=offshoot-vm",
        "group=offshoot-vm",
        "no-hosts",
        "addn-hosts=/n/names",
        "dhcp-ignore-names",
        "domain-needed",
        "bogus-priv",
        "quiet-dhcp",
        "local=/internal/",
    ]
    assert dnsmasq_hosts([NIC]) == "52:54:00:00:00:0a,192.168.57.10\n"
    assert dnsmasq_names(PRIVATE, [NIC]) == ""


SIX = NetworkSpec(
    id=PRIVATE.id,
    subnet=PRIVATE.subnet,
    subnet6=IPv6Network("fd57::/64"),
    domain="lab",
    kind=NetworkKind.ISOLATED,
)
WEB = replace(NIC, address6=IPv6Address("fd57::10"), host_name="web")


def test_an_isolated_network_tells_of_no_way_out_and_asks_no_name_server() -> None:
    files = DnsmasqFiles(Path("/n/hosts"), Path("/n/names"), Path("/n/leases"), Path("/n/pid"))
    text = dnsmasq_configuration(SIX, files, user="vm", group="vm", upstream="192.0.2.53")
    whole_nat = dnsmasq_configuration(PRIVATE, files, user="vm", group="vm", upstream="").splitlines()
    lines = text.splitlines()
    assert lines[: len(whole_nat)] == whole_nat
    assert lines[len(whole_nat) :] == [
        "domain=lab.internal",
        "listen-address=fd57::1",
        "dhcp-range=fd57::,static,64,300",
        "enable-ra",
        "quiet-dhcp6",
        "quiet-ra",
        "dhcp-option=option6:dns-server,[fd57::1]",
        "dhcp-option=option6:domain-search,lab.internal",
        f"ra-param={BRIDGE},600,0",
        "dhcp-option=option:router",
        "no-resolv",
        "local=/#/",
    ]


def test_a_machines_name_stands_for_both_its_addresses() -> None:
    assert dnsmasq_hosts([WEB]) == "52:54:00:00:00:0a,[fd57::10],192.168.57.10,web\n"
    assert dnsmasq_names(SIX, [WEB]) == "192.168.57.10 web.lab.internal web\nfd57::10 web.lab.internal web\n"


@pytest.mark.parametrize(
    ("card", "bridge"),
    [("eth0", "br-eth0"), ("enp0s31f6.20", "br-enp0s31f6.20"), ("enx0123456789ab", "br-682f754b6e")],
)
def test_a_bridge_around_a_card_is_named_after_it_and_never_like_one_of_ours(card: str, bridge: str) -> None:
    assert bridge_around(card) == bridge
    assert len(bridge) <= 15
    assert not is_ours(bridge)


def test_ours_are_bridges_and_taps_of_machines_alone() -> None:
    assert is_ours(BRIDGE)
    assert is_ours("ot00000a")
    assert not any(is_ours(name) for name in ("eth0", "obmc0", "other0", "br-eth0", f"{BRIDGE}0"))
