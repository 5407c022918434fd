"""What of a machine's hardware counts only from its next start on, in words."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.live.templatetags.page import mib
from portal.machines.models import Machine


def pending_words(machine: Machine) -> list[str]:
    """One entry a change that waits; empty where none does. Two queries where disks or cards wait, else none."""
    words = [_in_words(machine, name) for name in machine.pending if isinstance(name, str)]
    return [each for each in words if each]


def _in_words(machine: Machine, name: str) -> str:
    what, _sign, now = name.partition("=")
    if now.isdecimal():
        return _size(machine, what, int(now))
    what, _sign, slot = name.partition(":")
    if what == "disk" and slot.isdecimal():
        stays = machine.disks.filter(position=int(slot), is_leaving=False).exists()
        words = _("disk %(number)d is plugged in") if stays else _("disk %(number)d is taken out")
        return words % {"number": int(slot) + 1}
    if what == "nic" and slot.isdecimal():
        stays = machine.nics.filter(position=int(slot), is_leaving=False).exists()
        words = (
            _("network card %(number)d is plugged in") if stays else _("network card %(number)d is taken out")
        )
        return words % {"number": int(slot) + 1}
    return {
        "firmware": _("another firmware"),
        "tpm": _("with a security chip (TPM)") if machine.tpm else _("without a security chip (TPM)"),
        "guest": _("the hardware that its system expects"),
    }.get(name, "")


def _size(machine: Machine, what: str, now: int) -> str:
    """Empty where it is so already: a change that failed was taken back, and its host has not been asked since."""
    most = machine.memory_most_mib or machine.memory_mib
    if what == "cpus" and machine.cpus != now:
        words = ngettext(
            "%(wanted)d processor (now %(now)d)", "%(wanted)d processors (now %(now)d)", machine.cpus
        )
        return words % {"wanted": machine.cpus, "now": now}
    if what == "memory" and machine.memory_mib > now:
        return _("%(wanted)s of memory (now %(now)s)") % {"wanted": mib(machine.memory_mib), "now": mib(now)}
    if what == "memory_most" and most != now:
        return _("at most %(wanted)s of memory (now %(now)s)") % {"wanted": mib(most), "now": mib(now)}
    return ""
