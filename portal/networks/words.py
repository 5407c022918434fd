"""The kinds of networks, in words for somebody who has never heard of a bridge."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from workers.contract.networks import NetworkKind

Words = str | Promise


@dataclass(frozen=True)
class KindWords:
    """What a network of this kind is called, what it is good for, and its icon."""

    kind: NetworkKind
    name: Words
    description: Words
    icon: str


KINDS = {
    words.kind: words
    for words in (
        KindWords(
            NetworkKind.NAT,
            _("Behind the host"),
            _(
                "Machines reach the internet and each other. From outside nobody reaches a machine, "
                "but by the ports that its owner publishes. Right for nearly everything."
            ),
            "router",
        ),
        KindWords(
            NetworkKind.ISOLATED,
            _("Closed, no way out"),
            _("Machines reach each other and nothing else: for tests, and for what must not get out."),
            "lock",
        ),
        KindWords(
            NetworkKind.BRIDGED,
            _("On your own network"),
            _(
                "Machines are like devices of your own network: its router gives them their addresses, "
                "and everything in it reaches them."
            ),
            "diagram-3",
        ),
    )
}
