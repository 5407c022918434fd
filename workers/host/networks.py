"""Plugging machines into networks: the first one makes bridge, DHCP and rules, the last one takes them away.

Which cards are plugged in stands in files (`networks/<id>/nics/<mac>.json`); bridge, dnsmasq and rules are always made
to match all of them, so that a call that was killed half-way is put right by the next.
"""

from __future__ import annotations

import functools
import grp
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any
from uuid import UUID

from workers.config import HostConfig
from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.messages import NicFacts
from workers.contract.networks import FirewallSpec, NetworkKind, NetworkSpec, NicModel, NicSpec
from workers.contract.spec import MachineSpec
from workers.host import dhcp, firewall, forwarding, links, shaping, taps
from workers.host.files import read_json, write_json
from workers.host.gathered import Gathered
from workers.host.locks import locked
from workers.killpoints import reached
from workers.plan.names import bridge_mac, bridge_name, bridge_of, tap_mac, tap_name, tap_name_of
from workers.plan.network import PluggedNic, WiredNetwork, plugged


def plug(config: HostConfig, spec: MachineSpec) -> None:
    """Bridge, DHCP, DNS, NAT and the rules for all cards of the machine; idempotent.

    Before anything is changed: raises LinkError with code BRIDGE_MISSING where a bridge of the host's own is not there,
    FirewallError with code PORT_TAKEN where a program of the host listens at a port that is to be published.
    """
    with _lock(config):
        for nic in spec.nics:
            if nic.network.bridge is not None:
                links.require_bridge(nic.network.bridge)
        _refuse_taken_ports(config, spec)
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
    _settle(config, {nic.network.id for nic in spec.nics})


def _refuse_taken_ports(config: HostConfig, spec: MachineSpec) -> None:
    wanted = {port for nic in spec.nics for port in nic.ports}
    if not wanted:
        return
    published = {port for _, nic in _cards(config).values() for port in nic.ports}
    taken = firewall.ports_in_use(sorted(wanted - published, key=str))
    if taken:
        words = ", ".join(f"{port.protocol.value} {port.host_port}" for port in taken)
        raise firewall.FirewallError(
            f"a program of {config.name} listens there: {words}", code=ErrorCode.PORT_TAKEN
        )


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
            shaping.forget_card(tap_name_of(path.stem))
            path.unlink(missing_ok=True)
    _settle(config, {UUID(path.parent.parent.name) for path in mine})


def unplug_card(config: HostConfig, nic: NicSpec) -> None:
    """Take one card out of its network, which goes with its last one; the machine's other cards stay."""
    with _lock(config):
        _unsettled(config).touch()
        shaping.forget_card(tap_name(nic))
        _nic_file(config, nic.network.id, nic.mac).unlink(missing_ok=True)
    _settle(config, {nic.network.id})


def open_card(nic: NicSpec) -> int:
    """A new tap for one card, limited as it is wanted, as an open descriptor. Raises LinkError, LimitError."""
    if nic.network.bridge is not None:
        links.require_bridge(nic.network.bridge)
    tap = tap_name(nic)
    descriptor = taps.open_tap(
        tap,
        bridge=bridge_of(nic.network),
        mac=tap_mac(nic),
        guest_mac=nic.mac,
        virtio_header=nic.model is NicModel.VIRTIO,
    )
    try:
        shaping.forget_card(tap)
        if nic.mbit_in is not None or nic.mbit_out is not None:
            shaping.limit_card(tap, mbit_in=nic.mbit_in, mbit_out=nic.mbit_out)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def has_tap(nic: NicSpec) -> bool:
    """The card's tap is there: its qemu has an open cable."""
    return links.link_exists(tap_name(nic))


def nic_facts(config: HostConfig, spec: MachineSpec) -> tuple[NicFacts, ...]:
    """The machine's cards as they are on this host."""
    facts = []
    for nic in spec.nics:
        leases = dhcp.leased_addresses(config.state.network(nic.network.id))
        tap = tap_name(nic)
        facts.append(
            NicFacts(
                mac=nic.mac,
                bridge=bridge_of(nic.network),
                tap=tap if links.link_exists(tap) else "",
                leased_address=leases.get(nic.mac),
            )
        )
    return tuple(facts)


@dataclass(frozen=True)
class Found:
    """What a check found. `righted` is what was put right, in words; `lost` are machines' cards without a tap.

    `troubles` is what could not be put right: a LinkError, DhcpError or FirewallError each.
    """

    righted: tuple[str, ...] = ()
    lost: tuple[tuple[UUID, str], ...] = ()
    """Machine and MAC: a tap that is gone cannot be given to its qemu again without pulling the card."""
    troubles: tuple[OffshootError, ...] = ()


def check(config: HostConfig, is_living: Callable[[UUID], bool]) -> Found:
    """Everything of all networks is as it should be, or is made so: bridges, ports, dnsmasq, forwarding, rules.

    Where all is well, and nobody else has changed rules, it runs no program. What fails keeps nothing else from being
    put right. `is_living`: a qemu of this machine runs, so that each of its cards has a tap. Raises LinkError where the
    host's addresses cannot be read.
    """
    righted: list[str] = []
    lost: list[tuple[UUID, str]] = []
    troubles: list[OffshootError] = []
    with _lock(config):
        cards = _cards(config)
        wired = _networks(cards)
        present = links.all_addresses()
        for each in wired:
            with _noted(troubles):
                _check_bridge(config, each, present, righted)
        _check_taps(wired, cards, is_living, righted, lost, troubles)
        with _noted(troubles):
            _check_forwarding(config, wired, righted)
        with _noted(troubles):
            _check_rules(config, wired, righted)
    return Found(tuple(righted), tuple(lost), tuple(troubles))


@contextmanager
def _noted(troubles: list[OffshootError]) -> Iterator[None]:
    try:
        yield
    except OffshootError as exc:
        troubles.append(exc)


def _check_bridge(
    config: HostConfig,
    wired: WiredNetwork,
    present: Mapping[int, set[links.Interface]],
    righted: list[str],
) -> None:
    network = wired.network
    if network.kind is NetworkKind.BRIDGED:
        return
    name, gateways = bridge_name(network.id), [each for each in _gateways(network) if each is not None]
    right = links.bridge_is_right(
        name, mac=bridge_mac(network.id), addresses=gateways, present=present
    ) and dhcp.serves(network, wired.nics, **_dhcp_settings(config, network))
    if not right:
        _make(config, wired)
        righted.append(f"bridge and dnsmasq of {network.id}")


def _check_taps(
    wired: Sequence[WiredNetwork],
    cards: Mapping[Path, tuple[dict[str, Any], PluggedNic]],
    is_living: Callable[[UUID], bool],
    righted: list[str],
    lost: list[tuple[UUID, str]],
    troubles: list[OffshootError],
) -> None:
    bridges = {str(each.network.id): bridge_of(each.network) for each in wired}
    told = {bridge: taps.ports_by_mac(bridge) for bridge in bridges.values()}
    living: dict[str, bool] = {}
    for path, (card, nic) in cards.items():
        bridge, machine, tap = bridges.get(path.parent.parent.name), card["machine"], nic.tap
        if bridge is None or taps.is_plugged(tap, bridge=bridge, guest_mac=nic.mac, told=told[bridge]):
            continue
        if machine not in living:
            living[machine] = is_living(UUID(machine))
        if not living[machine]:
            continue
        if not links.link_exists(tap):
            lost.append((UUID(machine), nic.mac))
        elif links.link_exists(bridge):  # one of the host's own that is gone is its administrator's
            with _noted(troubles):
                taps.plug_tap(tap, bridge=bridge, guest_mac=nic.mac)
                righted.append(f"tap {tap}")


def _check_forwarding(config: HostConfig, wired: Sequence[WiredNetwork], righted: list[str]) -> None:
    if forwarding.match(config.state.networks, [each.network for each in wired]):
        righted.append("forwarding")


def _check_rules(config: HostConfig, wired: Sequence[WiredNetwork], righted: list[str]) -> None:
    if not firewall.is_in_force(config.state.networks, wired):
        firewall.apply_whole(config.state.networks, wired)
        righted.append("rules")


def _settle(config: HostConfig, touched: set[UUID]) -> None:
    """Make the host match the files of these networks: once for all who have changed some meanwhile.

    Where fifty machines start together nft would otherwise read all rules of the host fifty times, one after another.
    """
    _gathered(config.state.networks).do(frozenset(touched), partial(_match, config))


@functools.cache
def _gathered(_folder: Path) -> Gathered:
    return Gathered()


def _match(config: HostConfig, touched: frozenset[UUID]) -> None:
    """First what is needed, then the rules, then what is no longer needed: networks without a card, whoever left them so."""
    with _lock(config):
        _unsettled(config).touch()
        wired = _wired(config)
        by_id = {network.network.id: network for network in wired}
        for network_id in touched & by_id.keys():
            _make(config, by_id[network_id])
        forwarding.match(config.state.networks, [each.network for each in wired])
        try:
            firewall.apply(config.state.networks, wired)
            reached("rules set")
        finally:  # a bridge that nobody needs does not stay for rules that were refused
            for network_id in (touched | _without_cards(config)) - by_id.keys():
                folder = config.state.network(network_id)
                dhcp.stop_dnsmasq(folder)
                links.remove_bridge(bridge_name(network_id))
                shutil.rmtree(folder, ignore_errors=True)
        _unsettled(config).unlink(missing_ok=True)


def _without_cards(config: HostConfig) -> set[UUID]:
    """Networks that are there, but for no machine: of a call that was killed or failed half-way too."""
    folders = config.state.networks.glob("*/")
    return {UUID(folder.name) for folder in folders if not any(folder.glob("nics/*.json"))}


def _make(config: HostConfig, wired: WiredNetwork) -> None:
    """The network's bridge and its dnsmasq; a bridged one has neither of us."""
    network = wired.network
    if network.kind is NetworkKind.BRIDGED:
        return
    four, six = _gateways(network)
    links.ensure_bridge(bridge_name(network.id), mac=bridge_mac(network.id), address=four, address6=six)
    reached("bridge made")
    dhcp.ensure_dnsmasq(network, wired.nics, **_dhcp_settings(config, network))


def _gateways(network: NetworkSpec) -> tuple[IPv4Interface, IPv6Interface | None]:
    four = IPv4Interface(f"{network.gateway}/{network.own_subnet.prefixlen}")
    if network.subnet6 is None:
        return four, None
    return four, IPv6Interface(f"{network.gateway6}/{network.subnet6.prefixlen}")


def _dhcp_settings(config: HostConfig, network: NetworkSpec) -> dict[str, Any]:
    return {
        "folder": config.state.network(network.id),
        "user": config.machine_user,
        "group": grp.getgrgid(config.gid).gr_name,
        "upstream": config.dns_upstream,
    }


_READ: dict[Path, tuple[tuple[int, int], dict[str, Any], PluggedNic]] = {}
"""Cards as they were read last: the check looks at hundreds that did not change. Each change is a new file."""


def _cards(config: HostConfig) -> dict[Path, tuple[dict[str, Any], PluggedNic]]:
    """All cards by their files: as they were written, and as they are plugged in. Call it under the lock."""
    found = {}
    for path in sorted(config.state.networks.glob("*/nics/*.json")):
        stat = path.stat()
        version = (stat.st_ino, stat.st_mtime_ns)
        known = _READ.get(path)
        if known is None or known[0] != version:
            card = read_json(path)
            if card is None:
                continue
            known = _READ[path] = (version, card, _plugged(card))
        found[path] = known[1:]
    for path in [path for path in _READ if path not in found and path.is_relative_to(config.state.networks)]:
        del _READ[path]
    return found


def _wired(config: HostConfig) -> tuple[WiredNetwork, ...]:
    return _networks(_cards(config))


def _networks(cards: Mapping[Path, tuple[dict[str, Any], PluggedNic]]) -> tuple[WiredNetwork, ...]:
    nics: dict[Path, list[PluggedNic]] = {}
    for path, (_, nic) in cards.items():
        nics.setdefault(path.parent.parent, []).append(nic)
    networks = []
    for folder, cards_there in nics.items():
        raw = read_json(folder / "network.json")
        if raw is not None:
            network = NetworkSpec.model_validate_json(json.dumps(raw))
            networks.append(WiredNetwork(network, tuple(cards_there)))
    return tuple(networks)


def _plugged(card: dict[str, Any]) -> PluggedNic:
    if "nic" not in card:  # written by an earlier version
        return PluggedNic(tap=card["tap"], mac=card["mac"], address=IPv4Address(card["address"]))
    may_pass = card["firewall"]
    return plugged(
        NicSpec.model_validate_json(json.dumps(card["nic"])),
        FirewallSpec.model_validate_json(json.dumps(may_pass)) if may_pass else None,
    )


def _unsettled(config: HostConfig) -> Path:
    """There from before cards are changed until the host matches them."""
    return config.state.networks / "unsettled"


def _nic_file(config: HostConfig, network_id: UUID, mac: str) -> Path:
    return config.state.network(network_id) / "nics" / f"{mac.replace(':', '')}.json"


def _lock(config: HostConfig) -> AbstractContextManager[None]:
    config.state.networks.mkdir(parents=True, exist_ok=True, mode=0o755)
    return locked(config.state.networks / ".lock")
