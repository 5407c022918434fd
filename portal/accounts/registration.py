"""People who register themselves: whether they may, and who of them is let in."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.accounts import mail
from portal.accounts.models import Registration, User
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


def registration_set(*, is_open: bool) -> None:
    """On or off."""
    Registration.objects.update_or_create(pk=_THE_ROW, defaults={"is_open": is_open})


def tell_administrators(user: User) -> None:
    """By mail, that somebody waits."""
    boards = (
        User.objects.filter(is_staff=True, is_active=True).exclude(email="").values_list("email", flat=True)
    )
    for address in boards:
        mail.write("waiting", address, user=user, path=reverse("people:list"))


def approve(*, user: User) -> None:
    """Let somebody in. Raises Refused."""
    if not User.objects.filter(pk=user.pk, awaits_approval=True).update(
        awaits_approval=False, is_active=True
    ):
        raise _somebody_was_quicker()
    mail.write("approved", user.email, user=user, path=reverse("account_login"))


def decline(*, user: User) -> None:
    """Somebody is not let in; nothing of what they typed is kept. Raises Refused."""
    with transaction.atomic():
        if not User.objects.select_for_update().filter(pk=user.pk, awaits_approval=True).exists():
            raise _somebody_was_quicker()
        EmailAddress.objects.filter(user=user).delete()
        address, name = user.email, user.get_username()
        user.delete()
    mail.write("declined", address, name=name)


def _somebody_was_quicker() -> Refused:
    return Refused(_("Somebody has decided that already. Nothing was changed."))
