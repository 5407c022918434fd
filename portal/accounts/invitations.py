"""Inviting a person by a link that works once, for a week."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass
from datetime import timedelta

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts import mail
from portal.accounts.models import Invitation, User
from portal.accounts.people import Roles
from portal.audit.actions import Action, ObjectKind
from portal.audit.services import of_person, record
from portal.refusal import Refused
from portal.teams.models import Membership, Role, Team

LASTS = timedelta(days=7)
_TOKEN_BYTES = 32


@dataclass(frozen=True)
class Wish:
    """Who is invited, as what."""

    email: str
    name: str
    roles: Roles
    team: Team | None
    team_role: Role


def invite(*, wish: Wish, by: User) -> str:
    """The link, which is shown this once; mailed too, where there is a mail server. Raises Refused."""
    if User.objects.filter(email__iexact=wish.email).exists():
        raise Refused(_("Somebody with this address has an account already. Nobody was invited."), "email")
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    about = (ObjectKind.PERSON, "", wish.name or wish.email)
    record(Action.INVITED, by=by, about=about, details=asdict(wish.roles) | {"team": str(wish.team or "")})
    Invitation.objects.create(
        token_hash=_hash(token),
        email=wish.email.lower(),
        name=wish.name,
        administrator=wish.roles.administrator,
        approves=wish.roles.approver,
        audits=wish.roles.auditor,
        team=wish.team,
        team_role=wish.team_role,
        invited_by=by,
        expires_at=timezone.now() + LASTS,
    )
    link = f"{settings.ORIGIN}{reverse('invitation', args=[token])}"
    mail.write("invitation", wish.email, link=link, by=by, team=wish.team)
    return link


def withdraw(*, invitation_id: int, by: User | None = None) -> None:
    """Its link is good no longer. Raises Refused."""
    with transaction.atomic():
        found = Invitation.objects.filter(pk=invitation_id, used_at=None)
        email = found.values_list("email", flat=True).first()
        if email is None or not found.delete()[0]:
            raise Refused(_("This invitation was used or withdrawn already. Nothing was changed."))
        record(Action.INVITATION_WITHDRAWN, by=by, about=(ObjectKind.PERSON, "", email))


def invitation_of(token: str) -> Invitation | None:
    """The invitation that this link is for, while it is good."""
    return (
        Invitation.objects.select_related("team", "invited_by")
        .filter(token_hash=_hash(token), used_at=None, expires_at__gt=timezone.now())
        .first()
    )


def accept(*, token: str, name: str, password: str) -> User:
    """The account of somebody who was invited, in its team and with its roles. Raises Refused."""
    try:
        with transaction.atomic():
            return _accept(token, name, password)
    except IntegrityError as exc:
        raise Refused(_("Somebody has this name already. Choose another."), "username") from exc


def _accept(token: str, name: str, password: str) -> User:
    now = timezone.now()
    good = Invitation.objects.filter(token_hash=_hash(token), used_at=None, expires_at__gt=now)
    if not good.update(used_at=now):
        raise Refused(
            _("This link is good no longer: it was used, withdrawn, or its week is over. Ask for another.")
        )
    invitation = Invitation.objects.select_related("team").get(token_hash=_hash(token))
    user = User.objects.create_user(
        username=name,
        email=invitation.email,
        password=password,
        is_staff=invitation.administrator,
        is_superuser=invitation.administrator,
        approves=invitation.approves,
        audits=invitation.audits,
    )
    is_anothers = EmailAddress.objects.filter(email=invitation.email, verified=True).exists()
    EmailAddress.objects.create(user=user, email=invitation.email, primary=True, verified=not is_anothers)
    if invitation.team is not None:
        Membership.objects.create(team=invitation.team, user=user, role=invitation.team_role)
    Invitation.objects.filter(pk=invitation.pk).update(used_by=user)
    record(Action.INVITATION_USED, by=user, about=of_person(user))
    return user


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
