"""The people of the site: auditors read, administrators change; for everybody else these pages are not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts import invitations, people, registration, selectors, sessions
from portal.accounts.forms import InviteForm, RolesForm
from portal.accounts.models import User
from portal.accounts.signed_in import user_of
from portal.audit.actions import Action
from portal.audit.services import of_person, record
from portal.refusal import Refused

_ROWS_A_PAGE = 50


@require_safe
def people_list(request: HttpRequest) -> HttpResponse:
    """All people, who waits to be let in, who was invited."""
    query = request.GET.get("q", "").replace("\x00", "").strip()[:100]  # PostgreSQL takes no NUL
    page = Paginator(selectors.people_found(query), _ROWS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "people": page.object_list,
        "page_obj": page,
        "total": page.paginator.count,
        "query": query,
        "waiting": selectors.people_waiting(),
        "invitations": selectors.invitations_open(),
        "registration_is_open": registration.is_on(),
    }
    return render(request, "people/list.html", context)


@require_safe
def detail(request: HttpRequest, user_id: int) -> HttpResponse:
    """One person: roles, teams, where they are signed in, what can be done."""
    person = _person(user_id)
    roles = {"administrator": person.is_staff, "approver": person.approves, "auditor": person.audits}
    context = {
        "person": person,
        "form": RolesForm(initial=roles),
        "sessions": selectors.sessions_of(person),
        "memberships": person.memberships.select_related("team"),
        "has_second_factor": Authenticator.objects.filter(user=person).exists(),
    }
    return render(request, "people/person.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invite(request: HttpRequest) -> HttpResponse:
    """A link for somebody new, shown once."""
    by = user_of(request)
    form = InviteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            link = invitations.invite(wish=form.wish(), by=by)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return _link(request, link, _("Invitation"), form.cleaned_data["email"], "invitation")
    status = 422 if request.method == "POST" else 200
    return render(request, "people/invite.html", {"form": form}, status=status)


@require_POST
def withdraw(request: HttpRequest, invitation_id: int) -> HttpResponse:
    """The link is good no longer."""
    return _done(
        request,
        lambda: invitations.withdraw(invitation_id=invitation_id, by=user_of(request)),
        _("The invitation was withdrawn: its link is good no longer."),
        redirect("people:list"),
    )


@require_POST
def registration_set(request: HttpRequest) -> HttpResponse:
    """Whether people may register themselves."""
    is_on = request.POST.get("is_on") == "yes"
    registration.registration_set(is_open=is_on, by=user_of(request))
    said = (
        _("People can register themselves now; you let them in here.")
        if is_on
        else _("Nobody can register now.")
    )
    messages.success(request, said)
    return redirect("people:list")


@require_POST
def approve(request: HttpRequest, user_id: int) -> HttpResponse:
    """Let somebody in who registered."""
    user = get_object_or_404(User, pk=user_id)
    said = _("%(name)s can sign in now.") % {"name": user.get_username()}
    return _done(
        request, lambda: registration.approve(user=user, by=user_of(request)), said, redirect("people:list")
    )


@require_POST
def decline(request: HttpRequest, user_id: int) -> HttpResponse:
    """Do not let somebody in who registered."""
    user = get_object_or_404(User, pk=user_id)
    said = _("%(name)s was declined; the account is gone.") % {"name": user.get_username()}
    return _done(
        request, lambda: registration.decline(user=user, by=user_of(request)), said, redirect("people:list")
    )


@require_POST
def roles_set(request: HttpRequest, user_id: int) -> HttpResponse:
    """Other roles."""
    user, form = _person(user_id), RolesForm(request.POST)
    form.full_clean()
    return _done(
        request,
        lambda: people.roles_set(user=user, roles=form.roles(), by=user_of(request)),
        _("The roles were changed."),
        _back(user),
    )


@require_POST
def switch_off(request: HttpRequest, user_id: int) -> HttpResponse:
    """Nobody signs in with this account any more."""
    user = _person(user_id)
    said = _("The account is switched off, and signed out everywhere. Its machines stay as they are.")
    return _done(request, lambda: people.switch_off(user=user, by=user_of(request)), said, _back(user))


@require_POST
def switch_on(request: HttpRequest, user_id: int) -> HttpResponse:
    """Back again."""
    user = _person(user_id)
    return _done(
        request,
        lambda: people.switch_on(user=user, by=user_of(request)),
        _("The account is switched on again."),
        _back(user),
    )


@require_POST
def sign_out(request: HttpRequest, user_id: int) -> HttpResponse:
    """Every session of somebody ends."""
    user = _person(user_id)
    ended = sessions.end_all(user=user)
    record(Action.SIGNED_OUT, by=user_of(request), about=of_person(user), details={"sessions": ended})
    said = ngettext("%(n)d session was ended.", "%(n)d sessions were ended.", ended) % {"n": ended}
    messages.success(request, said)
    return _back(user)


@require_POST
def second_factor_remove(request: HttpRequest, user_id: int) -> HttpResponse:
    """For somebody who lost it."""
    user = _person(user_id)
    said = _("The second factor was removed: the password alone opens the account now.")
    return _done(
        request, lambda: people.second_factor_remove(user=user, by=user_of(request)), said, _back(user)
    )


@never_cache
@require_POST
def password_link(request: HttpRequest, user_id: int) -> HttpResponse:
    """A link for a new password, shown once."""
    user = _person(user_id)
    try:
        link = people.password_link(user=user, by=user_of(request))
    except Refused as refusal:
        messages.error(request, refusal.message)
        return _back(user)
    return _link(
        request, link, _("New password"), user.email or user.get_username(), "password", mailed=user.email
    )


def _link(
    request: HttpRequest, link: str, title: str, whom: str, kind: str, *, mailed: str | None = None
) -> HttpResponse:
    address = whom if mailed is None else mailed
    context = {"link": link, "title": title, "whom": whom, "kind": kind, "address": address}
    return render(request, "people/link.html", context)


def _done(request: HttpRequest, act: Callable[[], Any], said: str, answer: HttpResponse) -> HttpResponse:
    try:
        act()
    except Refused as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, said)
    return answer


def _back(user: User) -> HttpResponse:
    return redirect("people:detail", user_id=user.pk)


def _person(user_id: int) -> User:
    return get_object_or_404(User, pk=user_id, awaits_approval=False)
