"""The address of one machine as people type it: read, and told from what is nobody's. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from django.utils.translation import gettext as _

from portal.refusal import Refused


def address4_from(raw: str) -> IPv4Address | None:
    """A machine's IPv4 address; None where nothing was typed. Raises Refused at `address`."""
    text = raw.strip()
    if not text:
        return None
    try:
        found = IPv4Address(text)
    except ValueError as exc:
        raise Refused(_("Give an IPv4 address like 192.0.2.7, or leave it empty."), "address") from exc
    _refuse_nobodys(found, "address")
    return found


def address6_from(raw: str) -> IPv6Address | None:
    """A machine's IPv6 address; None where nothing was typed. Raises Refused at `address6`."""
    text = raw.strip()
    if not text:
        return None
    try:
        found = IPv6Address(text)
        if found.scope_id is not None:
            raise ValueError
    except ValueError as exc:
        raise Refused(_("Give an IPv6 address like 2001:db8::7, or leave it empty."), "address6") from exc
    if found.ipv4_mapped is not None:
        words = _("That is an IPv4 address in IPv6's clothes. Write it as %(address)s at “IPv4 address”.")
        raise Refused(words % {"address": found.ipv4_mapped}, "address6")
    _refuse_nobodys(found, "address6")
    return found


def _refuse_nobodys(address: IPv4Address | IPv6Address, field: str) -> None:
    why = _why_nobodys(address)
    if why:
        words = _("%(why)s Give the address that your network gives the machine.")
        raise Refused(words % {"why": why}, field)


def _why_nobodys(address: IPv4Address | IPv6Address) -> str:
    """Why no machine of a network has this address; empty where one may."""
    is_four = isinstance(address, IPv4Address)
    if address.is_unspecified or (is_four and address.packed[0] == 0):
        return _("That stands for no address at all.")
    if address.is_loopback:
        return _("By that, each system reaches itself alone (loopback).")
    if address.is_multicast:
        return _("That is a group's address (multicast).")
    if address.is_link_local:
        if is_four:
            return _("That is an address that systems take where no network gives them one (link-local).")
        return _("Link-local addresses need no lock: each machine may use them.")
    if address == IPv4Address("255.255.255.255"):
        return _("That is everybody's address (broadcast).")
    if address.is_reserved or (isinstance(address, IPv6Address) and address.is_site_local):
        return _("That range is reserved, and no machine's.")
    return ""
