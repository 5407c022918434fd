"""The people of the site, for administrators."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db.models import Exists, OuterRef, Q, QuerySet

from portal.accounts.models import Invitation, User
from portal.rights.levels import Level


def people_found(query: str) -> QuerySet[User]:
    """Who has an account, by name or address; with whether there is a second factor. Those who wait are not among them."""
    found = User.objects.filter(awaits_approval=False).annotate(
        has_second_factor=Exists(Authenticator.objects.filter(user=OuterRef("pk")))
    )
    if query:
        found = found.filter(Q(username__icontains=query) | Q(email__icontains=query))
    return found.order_by("username")


def people_waiting() -> QuerySet[User]:
    """Who registered and was not let in yet, the longest waiting first."""
    return User.objects.filter(awaits_approval=True).order_by("date_joined")


def invitations_open() -> QuerySet[Invitation]:
    """Which nobody has used, expired ones too."""
    return Invitation.objects.filter(used_at=None).select_related("team", "invited_by")


def sessions_of(user: User) -> list[UserSession]:
    """Where somebody is signed in, the newest first. Three queries each, and what is over is forgotten."""
    living: list[UserSession] = UserSession.objects.purge_and_list(user)
    return sorted(living, key=lambda each: each.created_at, reverse=True)


def person_level(user: User, user_id: int) -> Level | None:
    """What somebody may know of a person; None where nothing. At most one query."""
    if user.pk == user_id:
        return Level.OWN
    if not user.is_auditor or not User.objects.filter(pk=user_id).exists():
        return None
    return Level.OWN if user.is_administrator else Level.SEE
