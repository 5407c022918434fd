"""What is asked of the system inside a machine."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from portal.accounts.signed_in import user_of
from portal.machines import selectors
from portal.machines.guest import guest_of, password_set
from portal.machines.guest_forms import PasswordForm
from portal.machines.views.acting import machine_page
from portal.refusal import Refused


@require_http_methods(["GET", "HEAD", "POST"])
def machine_password(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Set the password of an account in the machine."""
    user = user_of(request)
    machine = selectors.machine_for(user, machine_id)
    account = machine.seed["user"] if machine.seed else "root"
    form = PasswordForm(request.POST or None, initial={"account": account})
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            password_set(machine=machine, account=data["account"], password=data["password"], by=user)
        except Refused as refusal:
            form.add_error(refusal.field, refusal.message)
        else:
            return redirect("machines:detail", machine_id=machine_id)
    context = {"form": form, "guest": guest_of(machine, [])}
    status = 422 if form.errors else 200
    return machine_page(request, machine, "detail", "machines/password.html", context, status=status)
