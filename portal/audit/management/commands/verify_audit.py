"""`manage.py verify_audit`: is every line of the activity still there, and as it was written?"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from portal.audit.checking import begin_anew, check


class Command(BaseCommand):
    """Exits 1 where a line does not fit, naming the first."""

    help = "Check the chain of the activity from its first line to its end."

    def add_arguments(self, parser: CommandParser) -> None:
        """--begin-anew after an older database was put back on purpose."""
        words = "let the chain as it is now count, after an older database was put back; the reason is kept as a line"
        parser.add_argument("--begin-anew", metavar="REASON", default="", help=words)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it."""
        if options["begin_anew"]:
            begin_anew(reason=options["begin_anew"])
        found = check()
        if not found.is_whole:
            raise CommandError(found.problem)
        self.stdout.write(
            _("All %(count)d lines are there, and as they were written.") % {"count": found.count}
        )
        self.stdout.write(_("Last line's hash: %(hash)s") % {"hash": found.last or "–"})
