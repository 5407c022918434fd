"""What an administrator does with an account: roles, off and on, a link for a new password, no second factor."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from allauth.account.adapter import get_adapter
from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts import mail, sessions
from portal.accounts.models import User
from portal.audit.actions import Action
from portal.audit.services import of_person, record
from portal.live import publish
from portal.refusal import Refused


@dataclass(frozen=True)
class Roles:
    """What somebody is for the site."""

    administrator: bool = False
    approver: bool = False
    auditor: bool = False


def roles_set(*, user: User, roles: Roles, by: User | None = None) -> None:
    """Other roles. Who was an administrator is signed out everywhere, so that no open page goes on as one. Raises Refused."""
    with transaction.atomic():
        was_administrator = _lock_administrators(user)
        if was_administrator and not roles.administrator:
            _refuse_the_last(user, _("the last administrator: make another one first"))
        User.objects.filter(pk=user.pk).update(
            is_staff=roles.administrator,
            is_superuser=roles.administrator,
            approves=roles.approver,
            audits=roles.auditor,
        )
        record(Action.ROLES_SET, by=by, about=of_person(user), details=asdict(roles))
        transaction.on_commit(lambda: publish.rights_changed([user.pk]))
        if was_administrator and not roles.administrator:
            sessions.end_all(user=user)


def switch_off(*, user: User, by: User | None = None) -> None:
    """Nobody signs in with the account any more, and who is signed in is signed out; machines stay. Raises Refused."""
    with transaction.atomic():
        if _lock_administrators(user):
            _refuse_the_last(user, _("the last administrator: make another one first"))
        if not User.objects.filter(pk=user.pk, is_active=True).update(is_active=False):
            raise Refused(_("This account is switched off already. Nothing was changed."))
        record(Action.SWITCHED_OFF, by=by, about=of_person(user))
        sessions.end_all(user=user)


def switch_on(*, user: User, by: User | None = None) -> None:
    """Back again. Raises Refused."""
    with transaction.atomic():
        if not User.objects.filter(pk=user.pk, is_active=False, awaits_approval=False).update(is_active=True):
            raise Refused(_("This account is not switched off. Nothing was changed."))
        record(Action.SWITCHED_ON, by=by, about=of_person(user))


def second_factor_remove(*, user: User, by: User | None = None) -> None:
    """For somebody who lost the phone and the codes: the password alone opens the account again. Raises Refused."""
    with transaction.atomic():
        removed, _rows = Authenticator.objects.filter(user=user).delete()
        if not removed:
            raise Refused(_("This account has no second factor. Nothing was changed."))
        record(Action.SECOND_FACTOR, by=by, about=of_person(user), details={"what": "removed"})
    mail.write("second_factor_removed", user.email, user=user)


def password_link(*, user: User, by: User | None = None) -> str:
    """A link by which the person chooses a new password, once, within a day; mailed too where that is possible. Raises Refused."""
    if not user.is_active:
        raise Refused(_("This account is switched off: switch it on first. No link was made."))
    record(Action.PASSWORD_LINK, by=by, about=of_person(user))
    key = f"{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}"
    link: str = get_adapter().get_reset_password_from_key_url(key)
    mail.write("password_link", user.email, user=user, link=link)
    return link


def address_set(*, user: User, email: str) -> EmailAddress:
    """Another mail address, at once: there is no mail server by which it could be confirmed."""
    with transaction.atomic():
        EmailAddress.objects.filter(user=user).delete()
        User.objects.filter(pk=user.pk).update(email=email)
        return EmailAddress.objects.create(user=user, email=email, primary=True, verified=False)


def _lock_administrators(user: User) -> bool:
    """Is this one of them? None becomes or ceases to be one until the transaction ends."""
    rows = User.objects.select_for_update().filter(is_staff=True, is_active=True).order_by("pk")
    return user.pk in [each.pk for each in rows]


def _refuse_the_last(user: User, what: str) -> None:
    others = User.objects.filter(is_staff=True, is_active=True).exclude(pk=user.pk)
    if not others.exists():
        raise Refused(
            _("%(name)s is %(what)s. Nothing was changed.") % {"name": user.get_username(), "what": what}
        )
