"""Ranges of addresses as people type them: read, checked, proposed. Pure but for the random part of a proposal."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)

from django.utils.translation import gettext as _

from portal.refusal import Refused

_PRIVATE = tuple(IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""The ranges that belong to nobody (RFC 1918)."""

_OWN6 = IPv6Network("fd00::/8")
"""IPv6 ranges that everybody may choose at random (RFC 4193)."""

_LARGEST, _SMALLEST = 16, 29
_LONGEST = 64
"""No range is longer as text; what is longer is not worth reading."""


def subnet_from(raw: str) -> IPv4Network:
    """A private range from /16 to /29. Raises Refused at `subnet`."""
    text = raw.strip()
    try:
        subnet = IPv4Network(text, strict=False)
        if "/" not in text or len(text) > _LONGEST:
            raise ValueError
    except ValueError as exc:
        raise Refused(_("Give a range like 192.168.70.0/24."), "subnet") from exc
    if not _SMALLEST >= subnet.prefixlen >= _LARGEST:
        words = _(
            "The range has a size from /16 (65,533 machines) to /29 (5 machines), like 192.168.70.0/24."
        )
        raise Refused(words, "subnet")
    if not any(subnet.subnet_of(each) for each in _PRIVATE):
        words = _(
            "That range belongs to somebody. Take one within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16."
        )
        raise Refused(words, "subnet")
    if text.partition("/")[0] != str(subnet.network_address):
        raise Refused(
            _("A range of that size begins at %(subnet)s: did you mean this one?") % {"subnet": subnet},
            "subnet",
        )
    return subnet


def subnet6_from(raw: str, *, routed: bool) -> IPv6Network:
    """A /64: one of one's own where it is routed, else one that was chosen at random. Raises Refused at `subnet6`."""
    text = raw.strip()
    try:
        subnet = IPv6Network(text)
        if len(text) > _LONGEST:
            raise ValueError
    except ValueError as exc:
        raise Refused(_("Give an IPv6 range like fd12:3456:789a:1::/64."), "subnet6") from exc
    if subnet.prefixlen != 64:
        raise Refused(_("An IPv6 network has exactly the size /64."), "subnet6")
    if not routed and not subnet.subnet_of(_OWN6):
        words = _(
            "Behind the host, the range begins with fd (like fd12:3456:789a:1::/64): take the one that is proposed."
        )
        raise Refused(words, "subnet6")
    if subnet.is_multicast or subnet.is_link_local or subnet.is_reserved or subnet.is_site_local:
        raise Refused(_("That range is not for machines. Give one that is routed to the host."), "subnet6")
    return subnet


def free_subnet(taken: Iterable[IPv4Network], first: IPv4Network) -> IPv4Network | None:
    """The first free 192.168.N.0/24, from `first` on and then from the beginning: the lowest are common at home."""
    ranges = list(taken)
    begin = first.network_address.packed[2] if first.subnet_of(_PRIVATE[2]) else 0
    for number in (*range(begin, 256), *range(begin)):
        subnet = IPv4Network(f"192.168.{number}.0/24")
        if not any(subnet.overlaps(each) for each in ranges):
            return subnet
    return None


def random_subnet6() -> IPv6Network:
    """A /64 that nobody else has, by chance (RFC 4193: 40 random bits)."""
    prefix = bytes((0xFD,)) + secrets.token_bytes(5) + bytes((0, 1)) + bytes(8)
    return IPv6Network((int.from_bytes(prefix), 64))


def peer_from(raw: str) -> str | None:
    """An address or a range, as the contract writes it; None for anyone. Raises Refused at `peer`."""
    text = raw.strip()
    if not text:
        return None
    words = _(
        "Give an address like 192.0.2.7, or a range like 10.0.0.0/8 or 2001:db8::/32; nothing means anyone."
    )
    if len(text) > _LONGEST or "%" in text:
        raise Refused(words, "peer")
    try:
        wide = ip_network(text, strict=False)
        first = ip_address(text.partition("/")[0])
    except ValueError as exc:
        raise Refused(words, "peer") from exc
    if isinstance(first, IPv6Address) and first.ipv4_mapped is not None:
        words = _("That is an IPv4 address in IPv6's clothes. Write it as %(address)s.")
        raise Refused(words % {"address": first.ipv4_mapped}, "peer")
    if first != wide.network_address:
        raise Refused(
            _("A range of that size begins at %(range)s: did you mean this one?") % {"range": wide}, "peer"
        )
    return str(wide)


def range_of(address: str) -> IPv4Network | None:
    """The IPv4 range that a host's card is in, of its address with its prefix; None for anything else."""
    try:
        found = ip_interface(address)
    except ValueError:
        return None
    return found.network if isinstance(found, IPv4Interface) and found.network.prefixlen < 32 else None
