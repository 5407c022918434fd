"""Letters to people, sent beside the request by one thread; without a mail server they are not written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from smtplib import SMTPException

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string

_postman = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mail")
"""In this process, not by the broker: some letters hold a link that opens an account."""
log = structlog.get_logger()


def write(template: str, to: str, **context: object) -> None:
    """The letter `template`: its first line is the subject."""
    text = render_to_string(f"account/email/{template}.txt", {"origin": settings.ORIGIN, **context})
    subject, _line, body = text.strip().partition("\n")
    send(
        EmailMessage(
            f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}{subject.strip()}", body.strip() + "\n", to=[to]
        )
    )


def send(message: EmailMessage) -> None:
    """Soon. A letter that cannot be sent is logged, without its words: the person asks again."""
    if settings.HAS_MAIL and all(message.to):
        _postman.submit(_deliver, message)


def _deliver(message: EmailMessage) -> None:
    try:
        message.send()
    except (SMTPException, OSError) as exc:
        log.error("mail not sent", to=message.to, subject=message.subject, error=str(exc))
