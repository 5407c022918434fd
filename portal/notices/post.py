"""Handing letters to the mail server. A server that is away loses none: they wait for it. One that it refuses
for now is tried again, less and less often, for three days."""

from __future__ import annotations

import smtplib
import threading
from datetime import timedelta

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connections
from django.db.models import F
from django.utils import timezone

from portal.notices.models import Letter

_AT_ONCE = 100
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=1)
_GIVEN_UP_AFTER = timedelta(days=3)
_lock = threading.Lock()
log = structlog.get_logger()


def send_waiting() -> int:
    """Try each letter whose time has come, over one connection; how many were taken. One process at a time is enough."""
    if not settings.HAS_MAIL or not _lock.acquire(blocking=False):
        return 0
    try:
        now = timezone.now()
        waiting = Letter.objects.filter(sent_at=None, given_up_at=None, next_at__lte=now)
        letters = list(waiting.select_related("person")[:_AT_ONCE])
        return _send(letters) if letters else 0
    finally:
        _lock.release()


def send_in_a_thread() -> None:
    """Not in a thread of the worker's own: those take the hosts' reports, and a mail server may take long."""

    def run() -> None:
        try:
            send_waiting()
        except Exception:
            log.exception("letters not sent")
        finally:
            connections.close_all()

    threading.Thread(target=run, name="post", daemon=True).start()


def _send(letters: list[Letter]) -> int:
    connection: BaseEmailBackend = get_connection()
    try:
        connection.open()
    except (OSError, smtplib.SMTPException) as exc:
        for (
            letter
        ) in letters:  # the server is away: none of them was refused, so none is tried less often for it
            _later(letter, exc, is_its_own=False)
        return 0
    sent = 0
    try:
        for letter in letters:
            if not _taken(letter):
                continue
            try:
                EmailMessage(letter.subject, letter.body, to=[letter.to], connection=connection).send()
            except (OSError, smtplib.SMTPException, ValueError) as exc:
                if _is_broken_off(exc):
                    _later(letter, exc, is_its_own=False)
                    break
                _later(letter, exc, is_its_own=True)
                continue
            Letter.objects.filter(pk=letter.pk).update(sent_at=timezone.now(), problem="")
            sent += 1
    finally:
        try:
            connection.close()
        except (OSError, smtplib.SMTPException) as exc:
            log.info("mail server broke off", error=str(exc))
    log.info("letters sent", sent=sent, tried=len(letters))
    return sent


def _taken(letter: Letter) -> bool:
    """Mark that it is being tried, so that no second process sends it too, and that one which dies here tries again later."""
    soon = timezone.now() + _pause(letter.tries)
    waiting = Letter.objects.filter(pk=letter.pk, tries=letter.tries, sent_at=None, given_up_at=None)
    return bool(waiting.update(tries=F("tries") + 1, next_at=soon))


def _later(letter: Letter, exc: Exception, *, is_its_own: bool) -> None:
    log.warning("letter not taken", letter=letter.pk, error=str(exc))
    now = timezone.now()
    changes: dict[str, object] = {"problem": f"{type(exc).__name__}: {exc}"[:300].replace("\x00", "")}
    if not is_its_own:
        changes["next_at"] = now + _FIRST_PAUSE
    elif now - letter.written_at > _GIVEN_UP_AFTER or _is_for_ever(exc):
        changes["given_up_at"] = now
    Letter.objects.filter(pk=letter.pk, sent_at=None).update(**changes)


def _pause(tries: int) -> timedelta:
    pause: timedelta = _FIRST_PAUSE * 2 ** min(tries, 10)
    return min(_LONGEST_PAUSE, pause)


def _is_broken_off(exc: Exception) -> bool:
    """The server went away; it said nothing of this letter."""
    if isinstance(exc, smtplib.SMTPException):
        return isinstance(exc, smtplib.SMTPServerDisconnected)
    return isinstance(exc, OSError)


def _is_for_ever(exc: Exception) -> bool:
    """The server says that it will never take it (5xx), or the address is none."""
    if isinstance(exc, smtplib.SMTPRecipientsRefused):
        return all(500 <= code < 600 for code, _words in exc.recipients.values())
    if isinstance(exc, smtplib.SMTPResponseException):
        return 500 <= exc.smtp_code < 600
    return isinstance(exc, ValueError)
