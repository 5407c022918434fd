"""What administrators do with web hooks, and what is laid ready for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.audit.actions import Action, ObjectKind
from portal.audit.services import record
from portal.hooks.models import Delivery, Hook, new_secret
from portal.live import publish
from portal.refusal import Refused

TEST = "test"
MOST_HOOKS = 20
_KEPT = timedelta(days=30)


@dataclass(frozen=True)
class HookWish:
    """What an administrator asks for."""

    name: str
    address: str
    kinds: tuple[str, ...]
    is_on: bool = True


def hooks_tell(
    kind: str, *, text: str, link: str, people: Sequence[str], values: Mapping[str, object]
) -> None:
    """Lay a message ready for each hook that wants this kind; in the transaction of what it tells of. One query without any."""
    for hook in Hook.objects.filter(is_on=True):
        if kind in hook.kinds:
            _lay_ready(hook, kind, text=text, link=link, people=people, values=values)


def hook_create(*, wish: HookWish, by: User) -> Hook:
    """A new one, with a secret of its own. Raises Refused."""
    _require_address(wish.address)
    if Hook.objects.count() >= MOST_HOOKS:
        raise Refused(_("There are %(most)d web hooks already. Delete one first.") % {"most": MOST_HOOKS})
    with _unique_name(), transaction.atomic():
        hook = Hook.objects.create(
            name=wish.name, address=wish.address, kinds=sorted(wish.kinds), is_on=wish.is_on, made_by=by
        )
        _note(hook, by, "made")
    return hook


def hook_change(*, hook: Hook, wish: HookWish, by: User) -> None:
    """Another address, other kinds, on or off; switched on it begins anew with its failures. Raises Refused."""
    _require_address(wish.address)
    with _unique_name(), transaction.atomic():
        row = Hook.objects.select_for_update().get(pk=hook.pk)
        if wish.is_on and not row.is_on:
            row.failures = 0
        row.name, row.address, row.kinds, row.is_on = wish.name, wish.address, sorted(wish.kinds), wish.is_on
        row.save(update_fields=["name", "address", "kinds", "is_on", "failures"])
        if not row.is_on:
            give_up_waiting(row)
        _note(row, by, "changed")


def hook_new_secret(*, hook: Hook, by: User) -> None:
    """The old secret is good for nothing from now on."""
    with transaction.atomic():
        Hook.objects.filter(pk=hook.pk).update(secret=new_secret())
        _note(hook, by, "new secret")


def hook_delete(*, hook: Hook, by: User) -> None:
    """With all that was to be sent to it."""
    with transaction.atomic():
        _note(hook, by, "deleted")
        hook.delete()


def hook_test(*, hook: Hook, by: User) -> Delivery:
    """Lay a message ready that means nothing; also for one that is off."""
    with transaction.atomic():
        text = _("A test from %(who)s.") % {"who": by.get_username()}
        delivery = _lay_ready(hook, TEST, text=text, link="", people=[by.get_username()], values={})
        _note(hook, by, "tested")
        transaction.on_commit(publish.hooks_changed)
    return delivery


def give_up_waiting(hook: Hook) -> None:
    """Nothing more is sent to one that is off."""
    waiting = Delivery.objects.filter(hook=hook, done_at=None, given_up_at=None).exclude(kind=TEST)
    waiting.update(given_up_at=timezone.now())


def clear_old() -> int:
    """Remove deliveries that are over for long; how many."""
    limit = timezone.now() - _KEPT
    removed = Delivery.objects.filter(done_at__lt=limit).delete()[0]
    return removed + Delivery.objects.filter(given_up_at__lt=limit).delete()[0]


def _lay_ready(
    hook: Hook, kind: str, *, text: str, link: str, people: Sequence[str], values: Mapping[str, object]
) -> Delivery:
    delivery = Delivery(hook=hook, kind=kind)
    said = {
        "id": str(delivery.pk),
        "kind": kind,
        "at": delivery.at.isoformat(),
        "site": settings.ORIGIN,
        "text": text,
        "link": f"{settings.ORIGIN}{link}" if link else "",
        "people": list(people),
        "values": {key: str(value) for key, value in values.items()},
    }
    delivery.body = json.dumps(said, ensure_ascii=False).replace("\\u0000", "")
    delivery.save(force_insert=True)
    return delivery


def _require_address(raw: str) -> None:
    """Raises Refused for what is no address of the web. Where its name leads is looked at when something is sent."""
    try:
        parts = urlsplit(raw)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if (
        not fits
        or "@" in parts.netloc
        or parts.fragment
        or not raw.isascii()
        or not raw.isprintable()
        or " " in raw
    ):
        words = _("This must be an address like https://example.org/hook, without a name or password in it.")
        raise Refused(words, "address")


def _note(hook: Hook, by: User, what: str) -> None:
    about = (ObjectKind.HOOK, hook.pk, hook.name)
    record(
        Action.HOOK_CHANGED,
        by=by,
        about=about,
        details={"what": what, "host": hook.host},
    )


class _unique_name:
    """Somebody was quicker with the name: said in words."""

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(self, _kind: object, exc: BaseException | None, _trace: object) -> None:
        """Translate."""
        if isinstance(exc, IntegrityError):
            raise Refused(
                _("There is a web hook of this name already. Choose another name."), "name"
            ) from exc
