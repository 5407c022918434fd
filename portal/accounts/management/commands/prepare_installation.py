"""`manage.py prepare_installation`: database, static files, the first administrator; everything a start needs, in one go."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from portal.accounts.services import ensure_administrator
from portal.networks.services import private_network


class Command(BaseCommand):
    """Prints one JSON object: the administrator, if one was made. Safe to run again."""

    help = "Prepare database, static files and the first administrator."

    def add_arguments(self, parser: CommandParser) -> None:
        """--stamp TEXT is written beside the database when all is done."""
        parser.add_argument("--stamp", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False)
        private_network()
        made = ensure_administrator()
        if options["stamp"]:
            (settings.PORTAL_DIR / "prepared").write_text(options["stamp"])
        self.stdout.write(json.dumps({"administrator": asdict(made) if made else None}))
