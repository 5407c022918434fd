"""`manage.py ensure_administrator`: the first administrator, with a password that is shown this once."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.utils.translation import gettext as _

from portal.accounts.services import ensure_administrator


class Command(BaseCommand):
    """Safe to run again: where there is an administrator, nothing is made."""

    help = "Make an administrator with a random password, where there is none yet."

    def add_arguments(self, parser: CommandParser) -> None:
        """--json for the launcher; --stamp TEXT is written beside the database when all is done."""
        parser.add_argument("--json", action="store_true")
        parser.add_argument("--stamp", default="")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Make it and print it."""
        made = ensure_administrator()
        if options["json"]:
            self.stdout.write(json.dumps({"administrator": asdict(made) if made else None}))
        elif made:
            self.stdout.write(_("Name: %(name)s") % {"name": made.name})
            self.stdout.write(_("Password, shown only this once: %(password)s") % {"password": made.password})
        else:
            self.stdout.write(_("There is an administrator already."))
        self.stdout.flush()
        if options["stamp"]:
            (settings.PORTAL_DIR / "prepared").write_text(options["stamp"])
