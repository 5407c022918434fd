"""What is one's own: the account at a glance, passkeys, and the places where it is signed in."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.views import AddWebAuthnView
from allauth.usersessions.internal.flows.sessions import end_sessions
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.selectors import sessions_of
from portal.accounts.signed_in import user_of


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The account at a glance."""
    user = user_of(request)
    factors = Authenticator.objects.filter(user=user).values_list("type", flat=True)
    context = {
        "has_app": Authenticator.Type.TOTP in factors,
        "passkeys": list(factors).count(Authenticator.Type.WEBAUTHN),
        "sessions": len(sessions_of(user)),
        "memberships": user.memberships.select_related("team"),
    }
    return render(request, "account/index.html", context)


def add_passkey(request: HttpRequest) -> HttpResponse:
    """A new passkey, where browsers allow one."""
    if not settings.PASSKEY_HOST:
        raise Http404
    answer: HttpResponse = AddWebAuthnView.as_view()(request)
    return answer


@require_POST
def session_end(request: HttpRequest, session_id: int) -> HttpResponse:
    """Signed out there."""
    session = get_object_or_404(UserSession, pk=session_id, user=user_of(request))
    end_sessions(request, [session])
    messages.success(request, _("Signed out there. What was open in that browser is closed."))
    return redirect("usersessions_list")
