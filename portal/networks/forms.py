"""The forms of networks, uplinks and bridges; ranges are checked by their services, which know the others."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.networks.changing import NetworkWish
from portal.networks.models import Network
from portal.refusal import Refused
from workers.contract.networks import NetworkKind

NO_IPV6, BEHIND, ROUTED = "no", "behind", "routed"
IPV6 = [
    (NO_IPV6, _("Without IPv6")),
    (BEHIND, _("With IPv6, kept behind the host")),
    (ROUTED, _("With IPv6, a range of your own that is routed to the host")),
]
_CHOOSE = {"required": _("Choose one of these."), "invalid_choice": _("Choose one of these.")}
_NAME = {"required": _("The network needs a name."), "max_length": _("A name has at most 63 characters.")}
_RANGE = {"max_length": _("That is longer than any range.")}


class _WithRefusal(forms.Form):
    def add_refusal(self, refusal: Refused) -> None:
        """Say it at the field that can be changed."""
        self.add_error(refusal.field if refusal.field in self.fields else None, refusal.message)


class NewNetworkForm(_WithRefusal):
    """A new network: its kind, its name and its ranges."""

    name = forms.CharField(max_length=63, error_messages=_NAME)
    kind = forms.ChoiceField(
        choices=[(kind.value, kind.value) for kind in NetworkKind],
        initial=NetworkKind.NAT.value,
        error_messages=_CHOOSE,
    )
    subnet = forms.CharField(max_length=64, required=False, error_messages=_RANGE)
    ipv6 = forms.ChoiceField(choices=IPV6, required=False, initial=NO_IPV6, error_messages=_CHOOSE)
    subnet6 = forms.CharField(max_length=64, required=False, error_messages=_RANGE)

    def wish(self) -> NetworkWish:
        """The checked form as the service takes it."""
        data = self.cleaned_data
        return NetworkWish(
            name=data["name"],
            kind=NetworkKind(data["kind"]),
            subnet=data["subnet"],
            subnet6=_range6(data),
            routed6=data["ipv6"] == ROUTED,
        )


class NameForm(_WithRefusal):
    """Another name."""

    name = forms.CharField(max_length=63, error_messages=_NAME)


class SubnetForm(_WithRefusal):
    """Another range."""

    subnet = forms.CharField(
        max_length=64, error_messages={"required": _("Give a range like 192.168.70.0/24."), **_RANGE}
    )


class Ipv6Form(_WithRefusal):
    """IPv6 or none."""

    ipv6 = forms.ChoiceField(choices=IPV6, error_messages=_CHOOSE)
    subnet6 = forms.CharField(max_length=64, required=False, error_messages=_RANGE)

    def wanted(self) -> dict[str, Any]:
        """The checked form as the service takes it."""
        return {"subnet6": _range6(self.cleaned_data), "routed": self.cleaned_data["ipv6"] == ROUTED}

    @classmethod
    def of(cls, network: Network, *, proposed: str) -> Ipv6Form:
        """As the network is, or what is proposed."""
        now = NO_IPV6 if not network.subnet6 else ROUTED if network.routed6 else BEHIND
        return cls(initial={"ipv6": now, "subnet6": network.subnet6 or proposed})


class UplinkForm(_WithRefusal):
    """A host's bridge."""

    host = forms.CharField(max_length=63, error_messages=_CHOOSE)
    bridge = forms.CharField(
        max_length=15, error_messages=_CHOOSE | {"max_length": _("Choose one of these.")}
    )


class MakeBridgeForm(_WithRefusal):
    """A bridge around a card of a host, after the person has said that they know what happens."""

    card = forms.CharField(max_length=15, error_messages=_CHOOSE | {"max_length": _("Choose one of these.")})
    sure = forms.BooleanField(required=False)


def _range6(data: dict[str, Any]) -> str:
    """Empty without IPv6; where it is wanted and nothing is typed, something that is refused at the field."""
    return "" if data["ipv6"] in ("", NO_IPV6) else data["subnet6"].strip() or "-"
