"""Networks on paper: whole results, compared."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

from tests.lab.wishes import PRIVATE
from workers.plan.network import (
    DnsmasqFiles,
    PluggedNic,
    dnsmasq_configuration,
    dnsmasq_hosts,
)

NIC = PluggedNic(tap="ot00000a", mac="52:54:00:00:00:0a", address=IPv4Address("192.168.57.10"))
BRIDGE = "ob5b1f2c9e7a34"


def test_dnsmasq_serves_its_bridge_only_and_knows_only_its_machines() -> None:
    files = DnsmasqFiles(hosts=Path("/n/hosts"), leases=Path("/n/leases"), pid=Path("/n/pid"))
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
        "dhcp-hostsfile=/n/hosts",
        "dhcp-leasefile=/n/leases",
        "pid-file=/n/pid",
        "user=offshoot-vm",
        "group=offshoot-vm",
        "no-hosts",
        "domain-needed",
        "bogus-priv",
        "quiet-dhcp",
    ]
    assert dnsmasq_hosts([NIC]) == "52:54:00:00:00:0a,192.168.57.10\n"
