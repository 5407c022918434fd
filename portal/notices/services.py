"""Telling people: one sentence, onto their page, into their mail, to the web hooks, in the transaction of what it tells of."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.hooks.services import hooks_tell
from portal.live import publish
from portal.notices.kinds import KINDS, NoticeKind, Way, kinds_for
from portal.notices.models import Choice, Letter, Notice

_KEPT = timedelta(days=90)
_LONGEST = 600
_LONGEST_SUBJECT = 120


def tell(people: Iterable[User], kind: str, *, link: str = "", **values: object) -> None:
    """Tell each of them, once, in the way that they chose; web hooks hear of it once. Call it inside a transaction.

    `link` is a path of this site, `values` what the kind's sentence has gaps for. A person without a mail address, and a site
    without a mail server, has the page alone.
    """
    said = KINDS[kind]
    text = _plain(str(said.sentence) % values)[:_LONGEST]
    everybody = {person.pk: person for person in people if person.is_active}
    ways = _ways(everybody, said)
    shown = [person for pk, person in everybody.items() if ways[pk] is not Way.NONE or said.is_always_told]
    Notice.objects.bulk_create(Notice(person=each, kind=kind, text=text, link=link) for each in shown)
    if settings.HAS_MAIL:
        Letter.objects.bulk_create(
            _letter(each, text, link)
            for each in everybody.values()
            if ways[each.pk] is Way.MAIL and each.email
        )
    for each in shown:
        transaction.on_commit(partial(publish.notices_changed, each.pk))
    hooks_tell(
        kind, text=text, link=link, people=[each.get_username() for each in everybody.values()], values=values
    )


def administrators() -> list[User]:
    """Whom what concerns the whole site is told."""
    return list(User.objects.filter(is_staff=True, is_active=True))


def approvers() -> list[User]:
    """Who may say yes or no."""
    return [user for user in User.objects.filter(is_active=True) if user.is_approver]


def notices_read(*, person: User, notice_id: int | None = None) -> int:
    """Mark one as read, or all; how many were not yet."""
    unread = Notice.objects.filter(person=person, read_at=None)
    if notice_id is not None:
        unread = unread.filter(pk=notice_id)
    read = unread.update(read_at=timezone.now())
    if read:
        publish.notices_changed(person.pk)
    return read


def choices_set(*, person: User, ways: dict[str, Way]) -> None:
    """Where each kind of notice goes from now on; kinds that are not named stay as they are."""
    known = {kind.key for kind in kinds_for(administrator=person.is_administrator)}
    with transaction.atomic():
        for kind, way in ways.items():
            if kind in known:
                Choice.objects.update_or_create(person=person, kind=kind, defaults={"way": way})


def clear_old() -> int:
    """Remove notices and letters that nobody needs any more; how many."""
    limit = timezone.now() - _KEPT
    removed = Notice.objects.filter(at__lt=limit).delete()[0]
    removed += Letter.objects.filter(sent_at__lt=limit).delete()[0]
    return removed + Letter.objects.filter(given_up_at__lt=limit).delete()[0]


def _ways(people: dict[int, User], kind: NoticeKind) -> dict[int, Way]:
    chosen = Choice.objects.filter(person__in=list(people), kind=kind.key).values_list("person", "way")
    return dict.fromkeys(people, kind.default) | {person: Way(way) for person, way in chosen}


def _letter(person: User, text: str, link: str) -> Letter:
    address = settings.ORIGIN
    body = _(
        "Hello %(name)s,\n\n%(text)s\n\n%(link)s\n\n"
        "You get this mail because of what you chose: %(choices)s\nOffshoot at %(site)s\n"
    ) % {
        "name": person.first_name or person.get_username(),
        "text": text,
        "link": f"{address}{link or '/notices/'}",
        "choices": f"{address}/notices/choices/",
        "site": address,
    }
    subject = text if len(text) <= _LONGEST_SUBJECT else text[: _LONGEST_SUBJECT - 1].rstrip() + "…"
    return Letter(person=person, to=person.email, subject=subject, body=body)


def _plain(text: str) -> str:
    """One line, without what a database or a mail's head does not take."""
    return " ".join(text.replace("\x00", "").split())
