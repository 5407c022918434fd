"""Plugging machines into networks: the first one makes bridge, DHCP and rules, the last one takes them away.

Which cards are plugged in stands in files (`networks/<id>/nics/<mac>.json`); bridge, dnsmasq and rules are always made
to match all of them, so that a call that was killed half-way is put right by the next.
"""

from __future__ import annotations

import grp
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any
from uuid import UUID

from workers.config import HostConfig
from workers.contract.messages import NicFacts
from workers.contract.networks import FirewallSpec, NetworkSpec, NicModel, NicSpec
from workers.contract.spec import MachineSpec
from workers.host import dhcp, firewall, links
from workers.host.files import read_json, write_json
from workers.host.locks import locked
from workers.killpoints import reached
from workers.plan.names import bridge_mac, bridge_name, tap_mac, tap_name
from workers.plan.network import PluggedNic, WiredNetwork

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def plug(config: HostConfig, spec: MachineSpec) -> None:
    """Bridge, DHCP, DNS, NAT and anti-spoofing rules for all cards of the machine; idempotent."""
    with _lock(config):
        _unsettled(config).touch()
        for network in {nic.network.id: nic.network for nic in spec.nics}.values():
            folder = config.state.network(network.id)
            (folder / "nics").mkdir(parents=True, exist_ok=True, mode=0o755)
            write_json(folder / "network.json", network.model_dump(mode="json"))
        for nic in spec.nics:
            card = {
                "machine": str(spec.machine_id),
                "tap": tap_name(nic),
                "nic": nic.model_dump(mode="json"),
                "firewall": spec.firewall.model_dump(mode="json") if spec.firewall else None,
            }
            write_json(_nic_file(config, nic.network.id, nic.mac), card)
        _match(config, {nic.network.id for nic in spec.nics})


def open_taps(spec: MachineSpec) -> tuple[int, ...]:
    """One new tap a card, in the order of the cards, as open descriptors; all of them or none."""
    descriptors: list[int] = []
    try:
        for nic in spec.nics:
            descriptors.append(open_card(nic))
    except BaseException:
        close_taps(descriptors)
        raise
    return tuple(descriptors)


def close_taps(descriptors: Iterable[int]) -> None:
    """The undo of open_taps: the taps go with their descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)


def unplug(config: HostConfig, machine_id: UUID) -> None:
    """Take the machine's cards out of their networks; networks without a card go."""
    with _lock(config):
        cards = {path: read_json(path) for path in config.state.networks.glob("*/nics/*.json")}
        mine = [path for path, card in cards.items() if card is None or card["machine"] == str(machine_id)]
        if not mine and not _unsettled(config).exists():
            return
        _unsettled(config).touch()
        for path in mine:
            path.unlink(missing_ok=True)
        # Networks without a card too: those of a call that was killed or failed half-way.
        used = {path.parent.parent.name for path in cards.keys() - set(mine)}
        empty = {path.name for path in config.state.networks.glob("*/")} - used
        _match(config, {UUID(name) for name in empty | {path.parent.parent.name for path in mine}})


def unplug_card(config: HostConfig, nic: NicSpec) -> None:
    """Take one card out of its network, which goes with its last one; the machine's other cards stay."""
    with _lock(config):
        _unsettled(config).touch()
        _nic_file(config, nic.network.id, nic.mac).unlink(missing_ok=True)
        _match(config, {nic.network.id})


def open_card(nic: NicSpec) -> int:
    """A new tap for one card, as an open descriptor. Raises LinkError."""
    return links.open_tap(
        tap_name(nic),
        bridge=bridge_name(nic.network.id),
        mac=tap_mac(nic),
        virtio_header=nic.model is NicModel.VIRTIO,
    )


def nic_facts(config: HostConfig, spec: MachineSpec) -> tuple[NicFacts, ...]:
    """The machine's cards as they are on this host."""
    facts = []
    for nic in spec.nics:
        leases = dhcp.leased_addresses(config.state.network(nic.network.id))
        tap = tap_name(nic)
        facts.append(
            NicFacts(
                mac=nic.mac,
                bridge=bridge_name(nic.network.id),
                tap=tap if links.link_exists(tap) else "",
                leased_address=leases.get(nic.mac),
            )
        )
    return tuple(facts)


def _match(config: HostConfig, touched: set[UUID]) -> None:
    """Make the host match the files: first what is needed, then the rules, then what is no longer needed."""
    wired = _wired(config)
    by_id = {network.network.id: network for network in wired}
    for network_id in touched & by_id.keys():
        network, nics = by_id[network_id].network, by_id[network_id].nics
        address = IPv4Interface(f"{network.gateway}/{network.own_subnet.prefixlen}")
        links.ensure_bridge(bridge_name(network_id), mac=bridge_mac(network_id), address=address)
        reached("bridge made")
        dhcp.ensure_dnsmasq(
            network,
            nics,
            folder=config.state.network(network_id),
            user=config.machine_user,
            group=grp.getgrgid(config.gid).gr_name,
            upstream=config.dns_upstream,
        )
    _forward(config, wanted=bool(wired))
    try:
        firewall.apply(config.state.networks, wired)
        reached("rules set")
    finally:  # a bridge that nobody needs does not stay for rules that were refused
        for network_id in touched - by_id.keys():
            folder = config.state.network(network_id)
            dhcp.stop_dnsmasq(folder)
            links.remove_bridge(bridge_name(network_id))
            shutil.rmtree(folder, ignore_errors=True)
    _unsettled(config).unlink(missing_ok=True)


def _wired(config: HostConfig) -> tuple[WiredNetwork, ...]:
    networks = []
    for folder in sorted(config.state.networks.glob("*/")):
        cards = [card for path in sorted(folder.glob("nics/*.json")) if (card := read_json(path)) is not None]
        raw = read_json(folder / "network.json")
        if raw is None or not cards:
            continue
        nics = tuple(_plugged(card) for card in cards)
        networks.append(WiredNetwork(NetworkSpec.model_validate_json(json.dumps(raw)), nics))
    return tuple(networks)


def _plugged(card: dict[str, Any]) -> PluggedNic:
    if "nic" not in card:  # written by an earlier version
        return PluggedNic(tap=card["tap"], mac=card["mac"], address=IPv4Address(card["address"]))
    nic = NicSpec.model_validate_json(json.dumps(card["nic"]))
    may_pass = card["firewall"]
    return PluggedNic(
        tap=card["tap"],
        mac=nic.mac,
        address=nic.address,
        address6=nic.address6,
        host_name=nic.host_name,
        ports=nic.ports,
        firewall=FirewallSpec.model_validate_json(json.dumps(may_pass)) if may_pass else None,
    )


def _forward(config: HostConfig, *, wanted: bool) -> None:
    """Switch forwarding on with the first network and, where we did so, off again with the last."""
    marker = config.state.networks / "forwarding-was-off"
    on = _FORWARDING.read_text().strip() == "1"
    if wanted and not on:
        marker.touch()
        _FORWARDING.write_text("1")
    if not wanted and marker.exists():
        _FORWARDING.write_text("0")
        marker.unlink()


def _unsettled(config: HostConfig) -> Path:
    """There from before cards are changed until the host matches them."""
    return config.state.networks / "unsettled"


def _nic_file(config: HostConfig, network_id: UUID, mac: str) -> Path:
    return config.state.network(network_id) / "nics" / f"{mac.replace(':', '')}.json"


def _lock(config: HostConfig) -> AbstractContextManager[None]:
    config.state.networks.mkdir(parents=True, exist_ok=True, mode=0o755)
    return locked(config.state.networks / ".lock")
