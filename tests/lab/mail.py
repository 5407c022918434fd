"""A mail server of the test's own, and its letters."""

from __future__ import annotations

import email
import email.policy
import logging
import re
import socket
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from django.conf import LazySettings

from tests.lab.waiting import wait_for

_LINK = re.compile(r"https?://\S+")


class MailServer:
    """Takes every letter, on a port of 127.0.0.1 that was free, or on the one that it is told."""

    def __init__(self, port: int = 0) -> None:
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd tells each word that is spoken
        self.letters: list[EmailMessage] = []
        self.refusals: list[str] = []
        """Answers for the next recipients, as "451 try later"; whoever comes after those is taken."""
        self.port = port or free_port()
        self._controller: Any = Controller(
            _Box(self.letters, self.refusals), hostname="127.0.0.1", port=self.port
        )
        self._is_open = True
        self._controller.start()

    @property
    def url(self) -> str:
        """As OFFSHOOT_MAIL_URL has it."""
        return f"smtp://127.0.0.1:{self.port}"

    def serve(self, settings: LazySettings) -> None:
        """The portal in this process sends by it; pytest-django would keep its letters otherwise."""
        settings.HAS_MAIL = True
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", self.port

    def letter_to(self, address: str, *, number: int = 1) -> EmailMessage:
        """The `number`th letter to somebody, once it has come."""

        def come() -> EmailMessage | None:
            theirs = [each for each in self.letters if each["To"] == address]
            return theirs[number - 1] if len(theirs) >= number else None

        return wait_for(f"letter {number} to {address}", come, seconds=20)

    def close(self) -> None:
        """No more; safe to call twice."""
        if self._is_open:
            self._is_open = False
            self._controller.stop()


def free_port() -> int:
    """A port at which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def link_in(letter: EmailMessage) -> str:
    """The last link of a letter: what it asks to follow."""
    return str(_LINK.findall(letter.get_content())[-1])


class _Box:
    """aiosmtpd's handler."""

    def __init__(self, letters: list[EmailMessage], refusals: list[str]) -> None:
        self._letters, self._refusals = letters, refusals

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Somebody it is for."""
        if self._refusals:
            return self._refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """A letter has come whole."""
        letter = email.message_from_bytes(envelope.content, _class=EmailMessage, policy=email.policy.default)
        self._letters.append(letter)
        return "250 OK"
