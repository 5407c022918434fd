"""The forms of requests: why and until when, an answer, a decision, the rules."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.networks.models import Network
from portal.quotas.amounts import LABELS, UNITS, Field, Limits
from portal.requests.wish import Less, Wish
from portal.requests.wishes import LargerQuota
from workers.contract.spec import GIB

_LONGEST = 2000
_TOO_LONG = gettext_lazy("That is too long: at most 2000 characters.")


class AskForm(forms.Form):
    """The end of a wizard whose machine has to be asked for."""

    reason = forms.CharField(
        max_length=_LONGEST,
        widget=forms.Textarea,
        error_messages={
            "required": gettext_lazy("Say what you need it for: whoever decides knows nothing of it yet."),
            "max_length": _TOO_LONG,
        },
    )
    until = forms.DateField(
        required=False,
        error_messages={"invalid": gettext_lazy("Give a day, or leave it empty.")},
    )

    def clean_until(self) -> Any:
        """A day to come, of this century."""
        until = self.cleaned_data["until"]
        today = timezone.localdate()
        if until is not None and not today < until <= today + timedelta(days=3660):
            raise forms.ValidationError(_("Give a day from tomorrow on, at most ten years away."))
        return until


class LargerQuotaForm(AskForm):
    """The limits that are wanted instead of those of now; only what is limited is there."""

    def __init__(self, *args: Any, limits: Limits, can_end: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not can_end:
            del self.fields["until"]
        self.limited = [field for field in Field if limits.of(field) is not None]
        for field in self.limited:
            now = limits.of(field) or 0
            self.fields[field] = _number(field, now)

    def wanted(self) -> LargerQuota:
        """The checked form."""
        return _quota(self.cleaned_data)

    def numbers(self) -> list[forms.BoundField]:
        """The fields of the limits."""
        return [self[field] for field in self.limited]


class AnswerForm(forms.Form):
    """What a person answers."""

    answer = forms.CharField(max_length=_LONGEST, required=False)


class DecideForm(forms.Form):
    """A decision; the fields for less stand beside it and count only for that."""

    decision = forms.ChoiceField(
        choices=[(each, each) for each in ("approve", "approve_less", "ask_back", "decline")]
    )
    comment = forms.CharField(
        max_length=_LONGEST, required=False, widget=forms.Textarea, error_messages={"max_length": _TOO_LONG}
    )

    def __init__(
        self, *args: Any, kept: Wish | None, until: date | None, can_end: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.kept = kept
        if isinstance(kept, LargerQuota):
            for field, wanted in kept.wanted.items():
                self.fields[field] = _number(field, wanted)
        less_of = kept.less_of if kept is not None else {}
        if "cpus" in less_of:
            self.fields["cpus"] = _number(Field.CPUS, less_of["cpus"])
        if "memory_mib" in less_of:
            self.fields["memory_gib"] = forms.DecimalField(
                required=False, min_value=0, max_value=4096, max_digits=7, decimal_places=2,
                label=_("Memory (GB)"), initial=less_of["memory_mib"] / 1024,
            )  # fmt: skip
        if "disk_bytes" in less_of:
            self.fields["disk_gib"] = forms.IntegerField(
                required=False, min_value=1, max_value=65536, label=_("Disk (GB)"),
                initial=-(-less_of["disk_bytes"] // GIB),
            )  # fmt: skip
        if can_end:
            self.fields["until"] = forms.DateField(
                required=False, label=_("Until when"), initial=until,
                error_messages={"invalid": gettext_lazy("Give a day, or leave it empty.")},
            )  # fmt: skip

    def numbers(self) -> list[forms.BoundField]:
        """The fields for less."""
        return [self[name] for name in self.fields if name not in ("decision", "comment", "until")]

    def less(self) -> dict[str, Any]:
        """What the service takes for less."""
        data = self.cleaned_data
        until = {"until": data.get("until")}
        if isinstance(self.kept, LargerQuota):
            return until | {"quota": _quota(data)}
        memory, disk = data.get("memory_gib"), data.get("disk_gib")
        less = Less(
            cpus=data.get("cpus") or None,
            memory_mib=max(64, int(memory * 1024)) if memory else None,
            disk_bytes=disk * GIB if disk else None,
        )
        return until | {"less": less}


class DecideManyForm(forms.Form):
    """One decision for many."""

    decision = forms.ChoiceField(choices=[("approve", "approve"), ("decline", "decline")])
    comment = forms.CharField(max_length=_LONGEST, required=False, error_messages={"max_length": _TOO_LONG})


class RulesForm(forms.Form):
    """How asking goes."""

    days = forms.IntegerField(
        min_value=1,
        max_value=365,
        error_messages=dict.fromkeys(
            ("required", "invalid", "min_value", "max_value"), gettext_lazy("From 1 to 365 days.")
        ),
    )
    approve_own = forms.BooleanField(required=False)
    networks = forms.ModelMultipleChoiceField(queryset=Network.objects.none(), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        networks = self.fields["networks"]
        if isinstance(networks, forms.ModelMultipleChoiceField):
            networks.queryset = Network.objects.order_by("name")


def _number(field: Field, now: int) -> forms.IntegerField:
    words = gettext_lazy("A whole number.")
    label = LABELS[field]
    return forms.IntegerField(
        required=False,
        min_value=0,
        max_value=10_000_000,
        initial=-(-now // UNITS.get(field, 1)),
        label=f"{label} (GB)" if field in UNITS else str(label),
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), words),
    )


def _quota(data: dict[str, Any]) -> LargerQuota:
    typed = ((field, data.get(field)) for field in Field)
    return LargerQuota(**{field.value: n * UNITS.get(field, 1) for field, n in typed if n is not None})
