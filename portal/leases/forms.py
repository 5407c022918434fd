"""The forms of end dates, schedules and their rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.leases.models import WEEKDAYS, LeaseRules

_NUMBER = dict.fromkeys(("required", "invalid", "min_value", "max_value"), _("A number within the bounds."))


class LeaseForm(forms.Form):
    """A day."""

    ends_on = forms.DateField()


class ScheduleForm(forms.Form):
    """Days and hours; no day: no schedule."""

    weekdays = forms.TypedMultipleChoiceField(choices=WEEKDAYS, coerce=int, required=False)
    from_hour = forms.IntegerField(min_value=0, max_value=23)
    to_hour = forms.IntegerField(min_value=1, max_value=24)


if TYPE_CHECKING:
    _RulesForm = forms.ModelForm[LeaseRules]
else:  # Django's own cannot be subscripted
    _RulesForm = forms.ModelForm


class LeaseRulesForm(_RulesForm):
    """How long machines may stay."""

    class Meta:
        model = LeaseRules
        fields = (
            "extend_days", "extensions", "grace_days", "first_reminder_days", "last_reminder_days", "idle_days",
        )  # fmt: skip
        labels = {
            "extend_days": _("By how many days an end date is extended"),
            "extensions": _("How often what was granted may be extended"),
            "grace_days": _("How many days after its end a machine is deleted"),
            "first_reminder_days": _("First reminder, days before the end"),
            "last_reminder_days": _("Last reminder, days before the end"),
            "idle_days": _("After how many days without work a machine is pointed out"),
        }
        error_messages = dict.fromkeys(fields, _NUMBER)

    def clean(self) -> dict[str, Any]:
        """The last reminder comes after the first."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors and cleaned["last_reminder_days"] >= cleaned["first_reminder_days"]:
            self.add_error("last_reminder_days", _("Fewer days than the first reminder."))
        return cleaned
