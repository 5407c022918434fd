"""People who register themselves: whether they may, and who of them is let in."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.accounts import mail
from portal.accounts.models import Registration, User
from portal.audit.actions import Action
from portal.audit.services import of_person, record
from portal.notices import services as notices
from portal.refusal import Refused

MOST_WAITING = 200
_THE_ROW = 1


def is_open() -> bool:
    """It is switched on, and not too many wait already."""
    return is_on() and waiting_count() < MOST_WAITING


def is_on() -> bool:
    """An administrator switched it on."""
    return Registration.objects.filter(pk=_THE_ROW, is_open=True).exists()


def waiting_count() -> int:
    """How many wait to be let in."""
    return User.objects.filter(awaits_approval=True).count()


def registration_set(*, is_open: bool, by: User | None = None) -> None:
    """On or off."""
    with transaction.atomic():
        Registration.objects.update_or_create(pk=_THE_ROW, defaults={"is_open": is_open})
        record(Action.REGISTRATION_SET, by=by, details={"open": is_open})


def tell_administrators(user: User) -> None:
    """That somebody waits, in the way that each of them chose."""
    with transaction.atomic():
        record(Action.REGISTERED, about=of_person(user))
        notices.tell(
            notices.administrators(), "account_waits", link=reverse("people:list"), who=user.get_username()
        )


def approve(*, user: User, by: User | None = None) -> None:
    """Let somebody in. Raises Refused."""
    with transaction.atomic():
        waiting = User.objects.filter(pk=user.pk, awaits_approval=True)
        if not waiting.update(awaits_approval=False, is_active=True):
            raise _somebody_was_quicker()
        record(Action.ACCOUNT_APPROVED, by=by, about=of_person(user))
    mail.write("approved", user.email, user=user, path=reverse("account_login"))


def decline(*, user: User, by: User | None = None) -> None:
    """Somebody is not let in; nothing of what they typed is kept. Raises Refused."""
    with transaction.atomic():
        if not User.objects.select_for_update().filter(pk=user.pk, awaits_approval=True).exists():
            raise _somebody_was_quicker()
        EmailAddress.objects.filter(user=user).delete()
        address, name = user.email, user.get_username()
        record(Action.ACCOUNT_DECLINED, by=by, about=of_person(user))
        user.delete()
    mail.write("declined", address, name=name)


def _somebody_was_quicker() -> Refused:
    return Refused(_("Somebody has decided that already. Nothing was changed."))
