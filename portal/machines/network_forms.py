"""The forms of a machine's network page: a port to publish, the firewall, and a rule of it."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any
from uuid import UUID

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.machines.address_locks import Lock
from portal.machines.firewall import Kept
from portal.machines.forms import between
from portal.networks.addresses import address4_from, address6_from
from portal.networks.ranges import peer_from
from portal.refusal import Refused
from workers.contract.networks import Direction, FirewallRule, Protocol

OWN = "own"
SERVICES = [
    ("ssh", gettext_lazy("SSH (port 22)")),
    ("http", gettext_lazy("Web, HTTP (port 80)")),
    ("https", gettext_lazy("Web, HTTPS (port 443)")),
    ("rdp", gettext_lazy("Remote desktop, RDP (port 3389)")),
    (OWN, gettext_lazy("Another port")),
]
_SERVICE_PORTS = {"ssh": 22, "http": 80, "https": 443, "rdp": 3389}
KINDS = [
    ("ssh", gettext_lazy("SSH (TCP 22)")),
    ("web", gettext_lazy("Web (TCP 80 and 443)")),
    ("rdp", gettext_lazy("Remote desktop (TCP 3389)")),
    ("ping", gettext_lazy("Ping")),
    ("everything", gettext_lazy("Everything")),
    (OWN, gettext_lazy("Ports of your own")),
]
_RULE_PORTS = {"ssh": (22,), "web": (80, 443), "rdp": (3389,)}
PROTOCOLS = [(Protocol.TCP.value, "TCP"), (Protocol.UDP.value, "UDP")]
ACTIONS = [("allow", gettext_lazy("Allow")), ("block", gettext_lazy("Block"))]
DIRECTIONS = [
    (Direction.IN.value, gettext_lazy("coming in")),
    (Direction.OUT.value, gettext_lazy("going out")),
]
_CHOOSE = {
    "required": gettext_lazy("Choose one of these."),
    "invalid_choice": gettext_lazy("Choose one of these."),
}
_PORTS = re.compile(r"([0-9]{1,5})(?:\s*[-–]\s*([0-9]{1,5}))?")
_LAST_PORT = 65535


class _WithRefusal(forms.Form):
    def add_refusal(self, refusal: Refused) -> None:
        """Say it at the field that can be changed."""
        self.add_error(refusal.field if refusal.field in self.fields else None, refusal.message)


class PublishPortForm(_WithRefusal):
    """Which port of the machine is reached, and at which of its host's."""

    nic = forms.UUIDField(error_messages=_CHOOSE | {"invalid": _CHOOSE["required"]})
    service = forms.ChoiceField(choices=SERVICES, initial="ssh", error_messages=_CHOOSE)
    protocol = forms.ChoiceField(
        choices=PROTOCOLS, required=False, initial=Protocol.TCP.value, error_messages=_CHOOSE
    )
    guest_port = forms.IntegerField(
        min_value=1,
        max_value=_LAST_PORT,
        required=False,
        error_messages=between(gettext_lazy("A port is a number from 1 to 65535.")),
    )
    host_port = forms.IntegerField(
        min_value=1,
        max_value=_LAST_PORT,
        required=False,
        error_messages=between(gettext_lazy("A port is a number from 1 to 65535.")),
    )

    def clean(self) -> dict[str, Any]:
        """A service brings its port; another one is named."""
        cleaned: dict[str, Any] = super().clean() or {}
        known = _SERVICE_PORTS.get(cleaned.get("service", ""))
        if known is not None:
            self.errors.pop("guest_port", None)
            cleaned |= {"guest_port": known, "protocol": Protocol.TCP.value}
        elif cleaned.get("guest_port") is None and "guest_port" not in self.errors:
            self.add_error("guest_port", _("Say which port of the machine."))
        return cleaned

    def wanted(self) -> dict[str, Any]:
        """The checked form as the service takes it."""
        data = self.cleaned_data
        return {
            "nic_id": data["nic"],
            "protocol": Protocol(data["protocol"] or Protocol.TCP),
            "guest_port": data["guest_port"],
            "host_port": data["host_port"],
        }


class LockForm(_WithRefusal):
    """The addresses that a card in a bridged network may use alone; an empty one leaves its family open."""

    address = forms.CharField(required=False, label=gettext_lazy("IPv4 address"))
    address6 = forms.CharField(required=False, label=gettext_lazy("IPv6 address"))

    def clean_address(self) -> IPv4Address | None:
        """An address that a machine can have, or nothing."""
        try:
            return address4_from(self.cleaned_data["address"])
        except Refused as refusal:
            raise forms.ValidationError(refusal.message) from refusal

    def clean_address6(self) -> IPv6Address | None:
        """The same of IPv6."""
        try:
            return address6_from(self.cleaned_data["address6"])
        except Refused as refusal:
            raise forms.ValidationError(refusal.message) from refusal

    def wanted(self) -> dict[str, Any]:
        """The checked form as the service takes it."""
        return {"address": self.cleaned_data["address"], "address6": self.cleaned_data["address6"]}

    @classmethod
    def of(cls, nic_id: UUID, now: Lock) -> LockForm:
        """As it is."""
        return cls(initial={"address": now.address, "address6": now.address6}, auto_id=cls.ids(nic_id))

    @classmethod
    def ids(cls, nic_id: UUID) -> str:
        """The ids of a card's fields: a page has the form once for each card."""
        return f"lock-{nic_id}-%s"


class FirewallForm(_WithRefusal):
    """On or off, and what happens to what no rule is about."""

    state = forms.ChoiceField(choices=[("on", "on"), ("off", "off")], error_messages=_CHOOSE)
    comes_in = forms.ChoiceField(
        choices=[("blocked", "blocked"), ("allowed", "allowed")], error_messages=_CHOOSE
    )
    goes_out = forms.ChoiceField(
        choices=[("blocked", "blocked"), ("allowed", "allowed")], error_messages=_CHOOSE
    )

    def wanted(self) -> dict[str, Any]:
        """The checked form as the service takes it."""
        data = self.cleaned_data
        return {
            "is_on": data["state"] == "on",
            "allow_in": data["comes_in"] == "allowed",
            "allow_out": data["goes_out"] == "allowed",
        }

    @classmethod
    def of(cls, now: Kept | None) -> FirewallForm:
        """As it is, or what is proposed to begin with."""
        allow_in = now.spec.allow_in if now else False
        allow_out = now.spec.allow_out if now else True
        return cls(
            initial={
                "state": "on" if now and now.is_on else "off",
                "comes_in": "allowed" if allow_in else "blocked",
                "goes_out": "allowed" if allow_out else "blocked",
            }
        )


class RuleForm(_WithRefusal):
    """One more rule."""

    action = forms.ChoiceField(choices=ACTIONS, initial="allow", error_messages=_CHOOSE)
    direction = forms.ChoiceField(choices=DIRECTIONS, initial=Direction.IN.value, error_messages=_CHOOSE)
    what = forms.ChoiceField(choices=KINDS, initial="ssh", error_messages=_CHOOSE)
    protocol = forms.ChoiceField(
        choices=PROTOCOLS, required=False, initial=Protocol.TCP.value, error_messages=_CHOOSE
    )
    ports = forms.CharField(max_length=20, required=False)
    peer = forms.CharField(max_length=64, required=False)

    def clean_peer(self) -> IPv4Network | IPv6Network | None:
        """An address or a range; nothing is anyone."""
        try:
            found = peer_from(self.cleaned_data["peer"])
        except Refused as refusal:
            raise forms.ValidationError(refusal.message) from refusal
        return ip_network(found) if found else None

    def clean(self) -> dict[str, Any]:
        """Ports of one's own are named."""
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("what") != OWN:
            self.errors.pop("ports", None)
            return cleaned
        found = _PORTS.fullmatch(cleaned.get("ports", "").strip())
        first = int(found[1]) if found else 0
        last = int(found[2]) if found and found[2] else first
        if not 1 <= first <= last <= _LAST_PORT:
            self.add_error(
                "ports", _("Give a port like 8080, or a range like 8000-8100; ports go from 1 to 65535.")
            )
        cleaned["range"] = (first, last)
        return cleaned

    def rules(self) -> tuple[FirewallRule, ...]:
        """The checked form as rules: web is two of them."""
        data = self.cleaned_data
        common: dict[str, Any] = {
            "direction": Direction(data["direction"]),
            "allow": data["action"] == "allow",
            "peer": data["peer"],
        }
        match data["what"]:
            case "ping":
                return (FirewallRule(protocol=Protocol.PING, **common),)
            case "everything":
                return (FirewallRule(protocol=Protocol.ANY, **common),)
            case "own":
                first, last = data["range"]
                protocol = Protocol(data["protocol"] or Protocol.TCP)
                return (FirewallRule(protocol=protocol, first_port=first, last_port=last, **common),)
            case what:
                return tuple(
                    FirewallRule(protocol=Protocol.TCP, first_port=port, last_port=port, **common)
                    for port in _RULE_PORTS[what]
                )


class WhichRuleForm(forms.Form):
    """A rule that is there: its number, and of which rules the page spoke."""

    number = forms.IntegerField(min_value=0, max_value=1000)
    mark = forms.CharField(max_length=16)
    way = forms.ChoiceField(choices=[("up", "up"), ("down", "down")], required=False)
