"""The forms of backups: one now, a plan, and a machine made of one."""

from __future__ import annotations

from datetime import time

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.backups.models import MOST_KEPT, BackupPlan, Every
from portal.backups.services import PlanWish
from portal.refusal import Refused

WEEKDAYS = (
    _("Monday"), _("Tuesday"), _("Wednesday"), _("Thursday"), _("Friday"), _("Saturday"), _("Sunday"),
)  # fmt: skip
_CHOOSE = {
    "required": _("Choose one of these."),
    "invalid_choice": _("Choose one of these."),
    "max_length": _("Choose one of these."),
}
_KEEP = _("A whole number from 1 to %(most)d.") % {"most": MOST_KEPT}


class _WithRefusal(forms.Form):
    def add_refusal(self, refusal: Refused) -> None:
        """Say it at the field that can be changed."""
        self.add_error(refusal.field if refusal.field in self.fields else None, refusal.message)


class BackUpForm(_WithRefusal):
    """A backup now."""

    place = forms.CharField(max_length=32, error_messages=_CHOOSE)
    whole = forms.BooleanField(required=False)


class PlanForm(_WithRefusal):
    """When the machine is backed up by itself; times are UTC."""

    is_on = forms.BooleanField(required=False)
    every = forms.ChoiceField(choices=Every.choices, error_messages=_CHOOSE)
    weekday = forms.TypedChoiceField(choices=list(enumerate(WEEKDAYS)), coerce=int, error_messages=_CHOOSE)
    at = forms.TimeField(
        input_formats=["%H:%M"],
        error_messages={"required": _("Choose a time."), "invalid": _("A time like 02:30.")},
    )
    place = forms.CharField(max_length=32, error_messages=_CHOOSE)
    keep = forms.IntegerField(
        min_value=1,
        max_value=MOST_KEPT,
        error_messages=dict.fromkeys(("required", "invalid", "min_value", "max_value"), _KEEP),
    )

    def wish(self) -> PlanWish:
        """What the service takes."""
        return PlanWish(**self.cleaned_data)

    @classmethod
    def of(cls, plan: BackupPlan | None, *, place: str) -> PlanForm:
        """The plan as it is, or what is proposed."""
        if plan is None:
            proposed = {"is_on": True, "every": Every.DAY, "weekday": 0, "at": time(2, 30), "keep": 7}
            return cls(initial=proposed | {"place": place})
        fields = ("is_on", "every", "weekday", "at", "place", "keep")
        return cls(initial={field: getattr(plan, field) for field in fields})


class RestoreForm(_WithRefusal):
    """A new machine made of a backup."""

    name = forms.CharField(
        max_length=63,
        error_messages={
            "required": _("It needs a name."),
            "max_length": _("A name has at most 63 characters."),
        },
    )
