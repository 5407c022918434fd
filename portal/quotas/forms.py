"""The form of a quota: seven numbers, each of which may be left out."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.quotas.amounts import LABELS, UNITS, Field, Limits

_MOST = {Field.MEMORY_MIB: 1_000_000, Field.DISK_BYTES: 10_000_000}
_WORDS = _("A whole number from 0 on, or nothing where there is no limit.")


class LimitsForm(forms.Form):
    """Memory and disk in GB; an empty field limits nothing."""

    def __init__(self, *args: Any, limits: Limits | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in Field:
            now = limits.of(field) if limits is not None else None
            errors = dict.fromkeys(("invalid", "min_value", "max_value"), _WORDS)
            label = LABELS[field]
            self.fields[field] = forms.IntegerField(
                min_value=0,
                max_value=_MOST.get(field, 1_000_000),
                required=False,
                label=f"{label} (GB)" if field in UNITS else str(label),
                initial=None if now is None else _in_units(field, now),
                error_messages=errors,
            )

    def limits(self) -> Limits:
        """The checked form."""
        typed = ((field, self.cleaned_data.get(field)) for field in Field)
        return Limits(**{field: None if n is None else n * UNITS.get(field, 1) for field, n in typed})


def _in_units(field: Field, amount: int) -> int:
    """Whole units, rounded up, so that nobody loses by a form that is sent unchanged."""
    return -(-amount // UNITS.get(field, 1))
