"""Networks on paper: whole results, compared."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

from tests.lab.wishes import PRIVATE
from workers.plan.network import (
    DnsmasqFiles,
    PluggedNic,
    WiredNetwork,
    dnsmasq_configuration,
    dnsmasq_hosts,
    ruleset,
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


def test_the_rules_of_one_card_whole() -> None:
    expected = f"""table inet offshoot
delete table inet offshoot
table bridge offshoot
delete table bridge offshoot
table inet offshoot {{
chain forward {{
type filter hook forward priority filter; policy accept;
iifname "{BRIDGE}" oifname "{BRIDGE}" accept
iifname "{BRIDGE}" oifname {{ "{BRIDGE}" }} drop
iifname "{BRIDGE}" ip saddr 192.168.57.0/24 accept
iifname "{BRIDGE}" drop
oifname "{BRIDGE}" ct state established,related accept
oifname "{BRIDGE}" drop
}}
chain input {{
type filter hook input priority filter; policy accept;
iifname "{BRIDGE}" ct state established,related accept
iifname "{BRIDGE}" udp sport 68 udp dport 67 accept
iifname "{BRIDGE}" ip daddr 192.168.57.1 udp dport 53 accept
iifname "{BRIDGE}" ip daddr 192.168.57.1 tcp dport 53 accept
iifname "{BRIDGE}" ip daddr 192.168.57.1 icmp type echo-request accept
iifname "{BRIDGE}" drop
}}
chain postrouting {{
type nat hook postrouting priority srcnat; policy accept;
ip saddr 192.168.57.0/24 ip daddr != 192.168.57.0/24 oifname != "{BRIDGE}" masquerade
}}
}}
table bridge offshoot {{
chain from_ot00000a {{
ether saddr != 52:54:00:00:00:0a drop
ether type arp arp saddr ether != 52:54:00:00:00:0a drop
ether type arp arp saddr ip {{ 0.0.0.0, 192.168.57.10 }} accept
ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
udp sport 67 drop
ip saddr 192.168.57.10 accept
drop
}}
chain prerouting {{
type filter hook prerouting priority filter; policy accept;
iifname "ot00000a" jump from_ot00000a
}}
}}
"""
    assert ruleset([WiredNetwork(PRIVATE, (NIC,))]) == expected


def test_without_networks_only_our_own_tables_are_removed() -> None:
    assert ruleset([]).splitlines() == [
        "table inet offshoot",
        "delete table inet offshoot",
        "table bridge offshoot",
        "delete table bridge offshoot",
    ]
