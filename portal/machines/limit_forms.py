"""The form of a machine's limits: its share of the processors, and two numbers for each disk and each network card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.forms import BoundField
from django.utils.translation import gettext_lazy

from portal.machines.forms import between
from portal.machines.limits import CardLimits, DiskLimits
from portal.machines.models import Disk, Machine, Nic
from workers.contract.disks import MOST_IOPS, MOST_MIB_PER_SECOND
from workers.contract.networks import MOST_MBIT
from workers.contract.spec import LEAST_CPU_WEIGHT, MOST_CPU_WEIGHT, NORMAL_CPU_WEIGHT

OWN = "own"
_WEIGHTS = {"low": 25, "normal": NORMAL_CPU_WEIGHT, "high": 400}
_SHARES = [
    ("low", gettext_lazy("Low: a quarter of a normal one")),
    ("normal", gettext_lazy("Normal")),
    ("high", gettext_lazy("High: four times a normal one")),
    (OWN, gettext_lazy("A number of its own")),
]
_WEIGHT_WORDS = gettext_lazy("A share is a whole number from 1 to 10000; 100 is a normal one.")
_IOPS_WORDS = gettext_lazy("At least 1, at most 10000000, a whole number; empty: no limit.")
_MIB_WORDS = gettext_lazy("At least 1, at most 1000000, a whole number; empty: no limit.")
_MBIT_WORDS = gettext_lazy("At least 1, at most 30000, a whole number; empty: no limit.")


@dataclass(frozen=True)
class Row:
    """A disk or card with its two fields, for the page."""

    of: Disk | Nic
    first: BoundField
    second: BoundField


class LimitsForm(forms.Form):
    """An empty number is no limit. What is not on the page that was sent stays as it is."""

    share = forms.ChoiceField(
        choices=_SHARES,
        error_messages=dict.fromkeys(("required", "invalid_choice"), gettext_lazy("Choose one of these.")),
    )
    weight = forms.IntegerField(
        min_value=LEAST_CPU_WEIGHT,
        max_value=MOST_CPU_WEIGHT,
        required=False,
        error_messages=between(_WEIGHT_WORDS),
    )

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, machine: Machine, disks: Iterable[Disk], cards: Iterable[Nic]
    ) -> None:  # fmt: skip
        self._disks = [disk for disk in disks if not disk.is_leaving]
        self._cards = [nic for nic in cards if not nic.is_leaving]
        super().__init__(data, initial=_initial(machine, self._disks, self._cards))
        for disk in self._disks:
            self.fields[f"iops-{disk.pk}"] = _number(MOST_IOPS, _IOPS_WORDS)
            self.fields[f"mib-{disk.pk}"] = _number(MOST_MIB_PER_SECOND, _MIB_WORDS)
        for nic in self._cards:
            self.fields[f"in-{nic.pk}"] = _number(MOST_MBIT, _MBIT_WORDS)
            self.fields[f"out-{nic.pk}"] = _number(MOST_MBIT, _MBIT_WORDS)

    def clean(self) -> dict[str, Any]:
        """A number of its own has to be said."""
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("share") == OWN and cleaned.get("weight") is None and not self.has_error("weight"):
            self.add_error("weight", _WEIGHT_WORDS)
        return cleaned

    def disk_rows(self) -> list[Row]:
        """Operations and MB a second of each disk."""
        return [Row(disk, self[f"iops-{disk.pk}"], self[f"mib-{disk.pk}"]) for disk in self._disks]

    def card_rows(self) -> list[Row]:
        """Megabits a second to the machine and from it, of each card."""
        return [Row(nic, self[f"in-{nic.pk}"], self[f"out-{nic.pk}"]) for nic in self._cards]

    def wanted(self) -> dict[str, Any]:
        """The checked form as the service takes it."""
        share = self.cleaned_data["share"]
        return {
            "cpu_weight": self.cleaned_data["weight"] if share == OWN else _WEIGHTS[share],
            "disks": {
                disk.pk: DiskLimits(
                    self._sent(f"iops-{disk.pk}", disk.iops), self._sent(f"mib-{disk.pk}", disk.mib_per_second)
                )
                for disk in self._disks
            },
            "cards": {
                nic.pk: CardLimits(
                    self._sent(f"in-{nic.pk}", nic.mbit_in), self._sent(f"out-{nic.pk}", nic.mbit_out)
                )
                for nic in self._cards
            },
        }  # fmt: skip

    def _sent(self, name: str, now: int | None) -> int | None:
        number: int | None = self.cleaned_data[name] if name in self.data else now
        return number


def _number(most: int, words: Any) -> forms.IntegerField:
    return forms.IntegerField(min_value=1, max_value=most, required=False, error_messages=between(words))


def _initial(machine: Machine, disks: Iterable[Disk], cards: Iterable[Nic]) -> dict[str, Any]:
    share = next((name for name, weight in _WEIGHTS.items() if weight == machine.cpu_weight), OWN)
    values: dict[str, Any] = {"share": share, "weight": machine.cpu_weight if share == OWN else None}
    for disk in disks:
        values |= {f"iops-{disk.pk}": disk.iops, f"mib-{disk.pk}": disk.mib_per_second}
    for nic in cards:
        values |= {f"in-{nic.pk}": nic.mbit_in, f"out-{nic.pk}": nic.mbit_out}
    return values
