"""Bridges that would lock somebody out, or would not work: taken back, or refused before anything is changed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.lab.host import ROOT, LabHost
from tests.lab.network import ip
from tests.lab.switch import Switch
from tests.lab.switched import BRIDGE, CARD, Switched, bare, confirmed, hosts_on_a_switch, layout
from tests.lab.waiting import wait_for
from workers.contract.errors import ErrorCode
from workers.contract.jobs import Job, MakeBridge, RemoveBridge
from workers.contract.messages import DoJob
from workers.host import interfaces

HOST, NEW, OTHER = "198.51.100.11", "198.51.100.12", "198.51.100.2"
MAKE, REMOVE = MakeBridge(interface=CARD), RemoveBridge(bridge=BRIDGE)
_IN_THE_NAMESPACE = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from workers.host.neighbours import *; card = '{CARD}'; "
)
_CHECK = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from workers.config import host_config
from workers.host.uplinks import bring_all_over
print(bring_all_over(host_config({{"OFFSHOOT_HOST_STATE": sys.argv[1]}})))
"""


@pytest.fixture(scope="module")
def quiet() -> Iterator[Switched]:
    """A host without a way out, whose broker tells nothing about its card."""
    with hosts_on_a_switch(1, broker_here=True) as lab:
        yield lab


@pytest.fixture(scope="module")
def routed() -> Iterator[Switched]:
    """The same, but a router has told it a way out."""
    with hosts_on_a_switch(1, by_router=True) as lab:
        wait_for("the router is heard", lambda: gateway(lab.hosts[0], CARD), seconds=20)
        yield lab


def gateway(host: LabHost, link: str) -> str:
    """The router by which the host's default route over this interface goes."""
    words = host.network.inside("ip", "-6", "route", "show", "default", "dev", link, check=False).split()
    return words[2] if words else ""


def in_words(host: LabHost, words: str) -> str:
    """What these expressions of Python are on the host, where `neighbours` and the card are at hand."""
    return host.network.inside(sys.executable, "-c", f"{_IN_THE_NAMESPACE}print({words})").strip()


def heard(host: LabHost, *neighbours: str) -> None:
    """The host's table has them as reachable for the next half minute, whatever becomes of them."""
    for each in neighbours:
        host.network.inside("ping", "-c", "1", "-W", "2", each)


def checked(host: LabHost) -> str:
    """What the regular check says of cards that have something of their own again."""
    return host.network.inside(sys.executable, "-c", _CHECK, str(host.state.root)).strip()


def put_right(lab: Switched, *, since: int) -> list[str]:
    """What the host tells of its regular checks since that moment."""
    repairs = lab.ear.heartbeat(lab.hosts[0].name).usage.repairs
    return [repair.what for repair in repairs if repair.at >= since]


def taken_back(lab: Switched, message: DoJob) -> str:
    """In which words."""
    end = lab.ear.end_of(message.operation_id, seconds=60)
    assert end.error is not None
    assert end.error.code is ErrorCode.BRIDGE_TAKEN_BACK, end
    confirmed(lab.hosts[0])
    return end.error.detail


def asked(lab: Switched, job: Job, *, seen_at: str) -> DoJob:
    """The change is made there, and is not confirmed yet."""
    message = DoJob(operation_id=uuid4(), job=job)
    lab.ear.ask_job(lab.hosts[0].name, message)
    wait_for("it is changed", lambda: layout(lab.hosts[0], seen_at).get("addresses"), seconds=20)
    return message


def test_a_host_that_a_router_told_its_way_out_has_it_with_the_bridge_and_without(routed: Switched) -> None:
    [host] = routed.hosts
    router, before = gateway(host, CARD), layout(host, CARD)["addresses"]
    assert router.startswith("fe80::")
    routed.done(host, MAKE)
    assert gateway(host, BRIDGE) == router
    assert layout(host, BRIDGE)["addresses"] == before
    routed.done(host, REMOVE)
    assert gateway(host, CARD) == router
    assert layout(host, CARD)["addresses"] == before


def test_so_has_one_whose_systemd_networkd_listens_to_routers_instead_of_the_kernel() -> None:
    with hosts_on_a_switch(1, by_router=True, by_networkd=True) as lab:
        [host] = lab.hosts
        heard = f"net.ipv6.conf.{CARD}.accept_ra"
        wait_for(
            "it listens itself", lambda: host.network.inside("sysctl", "-n", heard).strip() == "0", seconds=20
        )
        router = wait_for("the router is heard", lambda: gateway(host, CARD), seconds=30)
        lab.done(host, MAKE)
        assert gateway(host, BRIDGE) == router
        lab.done(host, REMOVE)
        assert host.network.inside("sysctl", "-n", heard).strip() == "0"
        wait_for("it hears it again", lambda: gateway(host, CARD) == router, seconds=30)


def test_a_bridge_that_does_not_reach_the_router_that_told_the_way_out_is_taken_back(
    routed: Switched,
) -> None:
    [host] = routed.hosts
    router = gateway(host, CARD)
    message = asked(routed, MAKE, seen_at=BRIDGE)
    with routed.switch.pulled(host.network.host):
        assert f"the gateway {router}" in taken_back(routed, message)
    assert not layout(host, BRIDGE)
    wait_for("the router is heard again", lambda: gateway(host, CARD) == router, seconds=20)


def test_a_bridge_without_the_default_route_that_the_router_told_is_taken_back(routed: Switched) -> None:
    [host] = routed.hosts
    router = gateway(host, CARD)
    message = asked(routed, MAKE, seen_at=BRIDGE)
    wait_for("the router is heard", lambda: gateway(host, BRIDGE), seconds=20)
    # As where a program of the host listens to routers, instead of the kernel, and does so at the card.
    host.network.inside("sysctl", "-q", "-w", f"net.ipv6.conf.{BRIDGE}.accept_ra=0")
    host.network.inside("ip", "-6", "route", "del", "default", "dev", BRIDGE)
    assert f"a default route by {router}" in taken_back(routed, message)
    wait_for("the router is heard again", lambda: gateway(host, CARD) == router, seconds=20)


def test_of_the_neighbours_that_answered_one_is_enough_and_none_is_too_few(quiet: Switched) -> None:
    [host] = quiet.hosts
    before = layout(host, CARD)
    quiet.switch.near_address("add", OTHER)
    heard(host, Switch.NEIGHBOUR, OTHER)
    # One that the host still has in its table, but who has gone.
    host.network.inside(
        "ip", "neigh", "replace", "198.51.100.3", "lladdr", "52:54:00:00:00:03", "dev", CARD, "nud", "stale"
    )
    message = asked(quiet, MAKE, seen_at=BRIDGE)
    with quiet.switch.pulled(host.network.host):
        said = taken_back(quiet, message)
    assert "any neighbour of " in said
    assert {Switch.NEIGHBOUR, OTHER} <= set(said.replace(",", "").split())
    assert "198.51.100.3" not in said
    assert bare(host, before)

    heard(host, Switch.NEIGHBOUR, OTHER)
    message = asked(quiet, MAKE, seen_at=BRIDGE)
    quiet.switch.near_address("del", OTHER)
    assert quiet.ear.end_of(message.operation_id, seconds=60).error is None
    quiet.done(host, REMOVE)
    assert bare(host, before)


def test_a_gateway_that_is_silent_after_a_moment_is_not_taken_for_one_that_answers(quiet: Switched) -> None:
    [host] = quiet.hosts
    host.network.inside("ip", "route", "add", "default", "via", Switch.NEIGHBOUR, "dev", CARD)
    before = layout(host, CARD)
    message = asked(quiet, MAKE, seen_at=BRIDGE)
    wait_for("the host is reached", lambda: quiet.switch.reaches(HOST), seconds=20)
    host.network.inside(
        "ping", "-c", "1", Switch.NEIGHBOUR
    )  # so the host's table has it for the next half minute
    with quiet.switch.pulled(host.network.host):
        assert f"the gateway {Switch.NEIGHBOUR}" in taken_back(quiet, message)
    assert bare(host, before)

    quiet.done(host, MAKE)
    message = asked(quiet, REMOVE, seen_at=CARD)
    heard(host, Switch.NEIGHBOUR)
    with quiet.switch.pulled(host.network.host):
        assert f"the gateway {Switch.NEIGHBOUR}" in taken_back(quiet, message)
    assert layout(host, BRIDGE) == before
    quiet.done(host, REMOVE)
    assert bare(host, before)
    host.network.inside("ip", "route", "del", "default")


def test_who_answers_is_asked_whatever_the_table_has(quiet: Switched) -> None:
    [host] = quiet.hosts

    def table(address: str, state: str) -> None:
        words = (address, "lladdr", "52:54:00:00:00:09", "dev", CARD, "nud", state)
        host.network.inside("ip", "neigh", "replace", *words)

    host.network.inside("ip", "neigh", "flush", "dev", CARD)
    table(Switch.NEIGHBOUR, "permanent")
    for number, state in enumerate(("reachable", "stale", "noarp"), start=3):
        table(f"198.51.100.{number}", state)
    said = in_words(host, "sorted(known_neighbours(card)), answering(known_neighbours(card), card)")
    assert said == f"['{Switch.NEIGHBOUR}', '198.51.100.3', '198.51.100.4'] {{'{Switch.NEIGHBOUR}'}}"
    assert "PERMANENT" in host.network.inside("ip", "neigh", "show", Switch.NEIGHBOUR)  # and stays so
    for number in range(20, 40):
        table(f"198.51.100.{number}", "stale")
    assert in_words(host, "len(known_neighbours(card))") == "8"
    host.network.inside("ip", "neigh", "flush", "dev", CARD, "nud", "all")


def test_routers_and_neighbours_of_ipv6_are_asked_too(routed: Switched) -> None:
    [host] = routed.hosts
    router = gateway(host, CARD)
    asked_for = f"['{router}', '2001:db8:7::ff', '2001:db8:7::fe', '192.0.2.1']"
    said = in_words(
        host, f"ways_out(card), sorted(answering({asked_for}, card)), answering({asked_for}, 'gone0')"
    )
    assert said == f"('{router}',) ['2001:db8:7::ff', '{router}'] set()"


def test_a_card_that_the_hosts_own_firewall_names_gets_no_bridge_until_the_bridge_is_named_too(
    quiet: Switched,
) -> None:
    [host] = quiet.hosts
    before = layout(host, CARD)

    def nft(words: str) -> None:
        host.network.inside("nft", words)

    nft("add table inet own")
    nft("add chain inet own input { type filter hook input priority 0; policy drop; }")
    nft("add rule inet own input ct state established accept")
    nft(f'add rule inet own input iifname "{CARD}" tcp dport 22 accept')
    nft("add table ip nat; add set ip nat outside { type ifname; }")
    nft(f'add element ip nat outside {{ "{CARD}" }}')
    nft(f'add table ip6 other; add chain ip6 other c; add rule ip6 other c accept comment "{CARD}"')
    nft(f'add rule ip6 other c log prefix "{CARD}"')
    nft("add table inet early")
    nft(f"add chain inet early c {{ type filter hook ingress device {CARD} priority 0; }}")
    nft(f'add table bridge below; add chain bridge below c; add rule bridge below c iifname "{CARD}" accept')
    said = quiet.refused(host, MAKE)
    assert f"(nftables: inet own, ip nat). Put {BRIDGE} into those rules beside {CARD}" in said
    assert bare(host, before)
    assert not list(host.state.uplinks.glob("**/*.json"))

    nft(f'add rule inet own input iifname "{BRIDGE}" tcp dport 22 accept')
    assert "(nftables: ip nat)" in quiet.refused(host, MAKE)
    nft(f'add element ip nat outside {{ "{BRIDGE}" }}')
    nft('add table ip wild; add chain ip wild c; add rule ip wild c iifname "card*" accept')
    assert "(nftables: ip wild)" in quiet.refused(host, MAKE)
    nft('add rule ip wild c iifname "br-*" accept')
    quiet.done(host, MAKE)

    nft("delete table inet own; delete table ip nat; delete table inet early")
    assert layout(host, BRIDGE) == before
    nft(f'add table ip own; add chain ip own c; add rule ip own c iifname {{ "{BRIDGE}" }} accept')
    assert f"(nftables: ip own). Put {CARD} into those rules beside {BRIDGE}" in quiet.refused(host, REMOVE)
    assert layout(host, BRIDGE) == before
    host.network.inside("nft", "flush", "ruleset")
    quiet.done(host, REMOVE)
    assert bare(host, before)


def test_a_bridge_that_is_gone_is_made_again_whatever_the_firewall_names(quiet: Switched) -> None:
    [host] = quiet.hosts
    before = layout(host, CARD)
    quiet.done(host, MAKE)
    host.network.inside(
        "nft", f'add table ip own; add chain ip own c; add rule ip own c iifname "{CARD}" accept'
    )
    host.network.inside("ip", "link", "del", BRIDGE)
    wait_for("it is there again", lambda: layout(host, BRIDGE) == before, seconds=20)
    confirmed(host)
    host.network.inside("nft", "flush", "ruleset")
    quiet.done(host, REMOVE)


def test_a_card_on_which_a_macvlan_stands_gets_no_bridge(quiet: Switched) -> None:
    [host] = quiet.hosts
    inside, before = host.network.inside, layout(host, CARD)
    inside("ip", "link", "add", "macvlan0", "link", CARD, "type", "macvlan")
    assert "something else stands on it (macvlan0)" in quiet.refused(host, MAKE)
    assert not list(host.state.uplinks.glob("**/*.json"))
    container = f"{host.network.host}-c"
    ip("netns", "add", container)
    try:
        # Now nothing in the host's own namespace tells of it.
        ip("-n", host.network.host, "link", "set", "macvlan0", "netns", container)
        assert "such as a container's macvlan" in quiet.refused(host, MAKE)
    finally:
        ip("netns", "del", container)
    assert bare(host, before)
    assert not list(host.state.uplinks.glob("**/*.json"))


def test_a_vlan_on_a_card_is_in_no_bridges_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what /sys shows of one: this machine's kernel makes none."""
    for name, kind in ((CARD, ""), (f"{CARD}.7", "DEVTYPE=vlan\n"), ("ipvl0", "")):
        (folder / name).mkdir()
        (folder / name / "uevent").write_text(f"{kind}INTERFACE={name}\n")
        (folder / CARD / f"upper_{name}").symlink_to(folder / name)
    (folder / CARD / f"upper_{CARD}").unlink()
    monkeypatch.setattr(interfaces, "_SYS", folder)
    assert interfaces.what_stands_on(CARD) == ("ipvl0",)


def test_what_a_dhcp_client_puts_on_the_card_again_is_the_bridges_when_no_change_of_it_is_open(
    quiet: Switched,
) -> None:
    [host] = quiet.hosts
    inside = host.network.inside
    inside("ip", "route", "add", "default", "via", Switch.NEIGHBOUR, "dev", CARD)
    before = layout(host, CARD)
    quiet.done(host, MAKE)
    change = host.state.uplinks / "changes" / f"{BRIDGE}.json"
    change.write_text((host.state.uplinks / f"{BRIDGE}.json").read_text())
    begun = int(time.time())
    [known] = (each for each in before["addresses"] if each.startswith(HOST))
    inside("ip", "addr", "add", known, "dev", CARD, "valid_lft", "600", "preferred_lft", "600")
    inside("ip", "addr", "add", f"{NEW}/24", "dev", CARD)
    inside("ip", "route", "replace", "default", "via", Switch.NEIGHBOUR, "dev", CARD)
    on_card = layout(host, CARD)
    assert checked(host) == "()"
    assert layout(host, CARD) == on_card

    change.unlink()
    wait_for("the card is bare", lambda: layout(host, CARD) == {"addresses": [], "routes": []}, seconds=20)
    wait_for("the bridge has all", lambda: layout(host, BRIDGE)["routes"] == before["routes"], seconds=20)
    assert sorted(layout(host, BRIDGE)["addresses"]) == sorted([*before["addresses"], f"{NEW}/24"])
    for address in (HOST, NEW):
        assert quiet.switch.reaches(address)
    inside("ping", "-c", "1", "-W", "2", Switch.NEIGHBOUR)
    wait_for("it is told", lambda: f"bridge {BRIDGE}" in put_right(quiet, since=begun), seconds=20)

    inside("ip", "addr", "add", "169.254.7.7/16", "dev", CARD, "scope", "link")  # a client that hears nothing
    assert checked(host) == "()"
    inside("ip", "addr", "del", f"{NEW}/24", "dev", BRIDGE)
    quiet.done(host, REMOVE)
    inside("ip", "addr", "del", "169.254.7.7/16", "dev", CARD)
    assert bare(host, before)
    inside("ip", "route", "del", "default")
