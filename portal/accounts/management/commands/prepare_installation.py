"""`manage.py prepare_installation`: database, static files, the private network; what a start needs, in one go."""

from __future__ import annotations

import shutil
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from portal.networks.services import private_network


class Command(BaseCommand):
    """Safe to run again."""

    help = "Prepare database and static files."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Do it."""
        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False)
        for folder in settings.STATIC_ROOT.parent.iterdir():
            if folder != settings.STATIC_ROOT:  # an earlier version's
                shutil.rmtree(folder, ignore_errors=True)
        private_network()
