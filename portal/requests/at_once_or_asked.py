"""How a form ends: what it wants is done at once, or asked for where that is what it takes."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpResponseRedirect
from django.shortcuts import redirect

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.quotas.hold import ToBeAskedFor
from portal.requests.forms import AskForm
from portal.requests.more import Clone, OfMachine, Restored
from portal.requests.services import more_ask


def at_once_or_asked(
    *,
    by: User,
    do: Callable[[], Operation],
    wish: Callable[[], OfMachine | Clone | Restored],
    ask_form: AskForm,
    then: Callable[[Operation], HttpResponseRedirect],
) -> HttpResponseRedirect:
    """Where to go on: from what was done, or to the request. Raises Refused; ToBeAskedFor where the form does not say why."""
    try:
        return then(do())
    except ToBeAskedFor:
        if not ask_form.is_valid():
            raise
    asked = more_ask(by=by, wish=wish(), **ask_form.cleaned_data)
    return redirect("requests:detail", request_id=asked.pk)
