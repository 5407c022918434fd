"""Beginning and ending to act as somebody else. The session becomes that person's, so that pages and sockets agree."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.http import HttpRequest
from django.middleware.csrf import rotate_token
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.audit.actions import Action
from portal.audit.origin import BEHIND, of_request
from portal.audit.services import of_person, record
from portal.live import publish
from portal.notices.services import tell
from portal.refusal import Refused

SECONDS = 3600
LONGEST_REASON = 200
_BACKEND = settings.AUTHENTICATION_BACKENDS[0]


def impersonation_begin(*, request: HttpRequest, person: User, reason: str, by: User) -> None:
    """From the next request on the session is that person's. Raises Refused.

    Never as somebody who decides for others: an administrator could say yes in an approver's name to what they asked for.
    """
    reason = " ".join(reason.replace("\x00", "").split())[:LONGEST_REASON]
    if not by.is_administrator or BEHIND in request.session:
        raise Refused(_("Only an administrator can act as somebody else, and only as themselves."))
    if not person.is_active:
        raise Refused(_("The account is switched off. Nothing was changed."))
    if person.is_approver:
        raise Refused(_("Nobody acts as an administrator or an approver. Nothing was changed."))
    if not reason:
        raise Refused(_("Say why: the reason is kept, and the person reads it."), "reason")
    until = int(time.time()) + SECONDS
    with transaction.atomic():
        record(
            Action.IMPERSONATION_BEGUN,
            by=by,
            about=of_person(person),
            details={"reason": reason, "seconds": SECONDS},
        )
        tell([person], "impersonated", link="/activity/mine/", who=by.get_username(), reason=reason)
        said = {"id": by.pk, "name": by.get_username(), "hash": by.get_session_auth_hash(), "until": until}
        _become(
            request, person, {BEHIND: said | {"backend": request.session.get(BACKEND_SESSION_KEY, _BACKEND)}}
        )


def impersonation_end(*, request: HttpRequest) -> User | None:
    """The session is the administrator's again, or nobody's where they may not sign in any more; who that is."""
    said = request.session[BEHIND]
    person = User.objects.filter(pk=request.session.get(SESSION_KEY, 0)).first()
    by = administrator_behind(request.session)
    with transaction.atomic():
        if person is not None:
            who = by or User(pk=said["id"], username=said["name"])
            origin = of_request(request)
            record(Action.IMPERSONATION_ENDED, by=who, about=of_person(person), origin=_openly(origin))
        if by is None:
            _leave(request)
        else:
            _become(request, by, {}, backend=said.get("backend", _BACKEND))
    return by


def administrator_behind(session: SessionBase) -> User | None:
    """Who acts in this session as somebody else; None where they were switched off, or have another password by now. One query."""
    said = session[BEHIND]
    by = User.objects.filter(pk=said["id"]).first()
    if by is None or not by.is_administrator:
        return None
    return by if constant_time_compare(said["hash"], by.get_session_auth_hash()) else None


def is_over(session: SessionBase) -> bool:
    """Its hour is over."""
    return bool(session[BEHIND]["until"] <= time.time())


def _become(request: HttpRequest, user: User, more: dict[str, Any], *, backend: str = _BACKEND) -> None:
    """Nothing of the one's session is left in the other's; no signal of a sign-in, since nobody signed in."""
    _leave(request)
    request.session[SESSION_KEY] = str(user.pk)
    request.session[BACKEND_SESSION_KEY] = backend
    request.session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    request.session.update(more)
    request.session.save()
    rotate_token(request)
    request.user = user


def _leave(request: HttpRequest) -> None:
    key = request.session.session_key
    request.session.flush()
    if key:
        transaction.on_commit(lambda: publish.session_ended(key))


def _openly(origin: Any) -> Any:
    """The administrator's own doing, not done as the person."""
    return type(origin)(origin.address, origin.session)
