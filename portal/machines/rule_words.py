"""Rules of a firewall as sentences. Pure."""

from __future__ import annotations

from django.utils.translation import gettext as _

from workers.contract.networks import Direction, FirewallRule, Protocol

KNOWN = {22: "SSH", 80: "HTTP", 443: "HTTPS", 3389: "RDP", 53: "DNS", 25: "SMTP"}


def sentence(rule: FirewallRule) -> str:
    """For example “Allow SSH (TCP 22) from anywhere”."""
    words = {
        (True, Direction.IN): _("Allow %(what)s from %(peer)s"),
        (True, Direction.OUT): _("Allow %(what)s to %(peer)s"),
        (False, Direction.IN): _("Block %(what)s from %(peer)s"),
        (False, Direction.OUT): _("Block %(what)s to %(peer)s"),
    }[rule.allow, rule.direction]
    peer = str(rule.peer) if rule.peer is not None else _("anywhere")
    if rule.peer is not None and rule.peer.prefixlen == rule.peer.max_prefixlen:
        peer = str(rule.peer.network_address)
    return words % {"what": _what(rule), "peer": peer}


def _what(rule: FirewallRule) -> str:
    if rule.protocol is Protocol.ANY:
        return _("everything")
    if rule.protocol is Protocol.PING:
        return _("ping")
    name = rule.protocol.value.upper()
    if rule.first_port is None:
        return _("all %(protocol)s") % {"protocol": name}
    if rule.first_port != rule.last_port:
        return f"{name} {rule.first_port}–{rule.last_port}"
    known = KNOWN.get(rule.first_port) if rule.protocol is Protocol.TCP or rule.first_port == 53 else None
    return f"{known} ({name} {rule.first_port})" if known else f"{name} {rule.first_port}"
