"""Is every line still there, and as it was written? Walks the whole chain, a few lines in memory at a time.

The chain alone cannot tell a database of today from the same one of last week: an older end fits too. So each check keeps, in a
file outside of the database, how far the chain was; a later one must reach at least as far, through the same line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.audit import chain
from portal.audit.actions import Action, ObjectKind, Result
from portal.audit.models import Entry, Head
from portal.audit.services import record
from portal.notices.services import administrators, tell

log = structlog.get_logger()


@dataclass(frozen=True)
class Finding:
    """What a check found: how many lines fit, and in words what does not (empty where all do)."""

    count: int
    last: str
    problem: str = ""

    @property
    def is_whole(self) -> bool:
        """Nothing is missing, nothing was changed."""
        return not self.problem


@dataclass(frozen=True)
class Anchor:
    """How far the chain was at an earlier check."""

    count: int = 0
    hash: str = ""


def verify() -> Finding:
    """Walk the chain from its first line to its end; the first line that does not fit is named."""
    anchor = read_anchor()
    head = Head.objects.filter(pk=1).first() or Head()  # read first: what is added meanwhile comes after it
    lines = Entry.objects.filter(sequence__isnull=False, sequence__lte=head.count).order_by("sequence")
    count, last, broken = 0, "", ""
    for entry in lines.iterator(chunk_size=1000):
        fault = _fault(entry, count + 1, last, anchor)
        if fault:
            return Finding(count, last, fault)
        count, last = count + 1, entry.hash
        if entry.action == Action.LOG_BROKEN:
            words = _("Before line %(line)d lines were changed or removed: %(found)s.")
            broken = broken or words % {"line": count, "found": entry.details.get("found", "")}
        elif entry.action == Action.LOG_BEGUN_ANEW:  # somebody answers for it, in a line that stays
            broken = ""
    return Finding(count, last, broken or _fault_at_end(head, count, last, anchor))


def check(*, by: User | None = None) -> Finding:
    """Verify, write down what was found, and keep how far the chain was. A person's own check is a line itself."""
    chain.extend()
    found = verify()
    log.log(
        20 if found.is_whole else 40,
        "activity checked",
        lines=found.count,
        last=found.last,
        problem=found.problem,
    )
    if found.is_whole:
        _keep_anchor(Anchor(found.count, found.last))
    with transaction.atomic():
        if by is not None:
            result = Result.DONE if found.is_whole else Result.FAILED
            record(
                Action.LOG_CHECKED,
                by=by,
                about=(ObjectKind.SITE, "", ""),
                result=result,
                details={"found": found.problem},
            )
        Head.objects.filter(pk=1).update(
            checked_at=timezone.now(), checked_count=found.count, problem=found.problem[:300]
        )
    return found


def check_and_tell() -> None:
    """The periodic check; administrators hear of what an earlier one did not find."""
    before = Head.objects.filter(pk=1).values_list("problem", flat=True).first() or ""
    found = check()
    if not found.is_whole and found.problem[:300] != before:
        with transaction.atomic():
            tell(administrators(), "log_broken", link="/activity/", found=found.problem)


def begin_anew(*, reason: str, by: User | None = None) -> None:
    """Let the chain as it is now count, after an older database was put back; that, too, is a line."""
    before = read_anchor()
    with transaction.atomic():
        about = (ObjectKind.SITE, "", "")
        record(
            Action.LOG_BEGUN_ANEW,
            by=by,
            about=about,
            details={"reason": reason, "was_at": before.count, "was": before.hash},
        )
    settings.AUDIT_ANCHOR.unlink(missing_ok=True)


def read_anchor() -> Anchor:
    """How far it was; nothing where no check was made yet, or the file is not ours."""
    try:
        kept = json.loads(Path(settings.AUDIT_ANCHOR).read_text())
        return Anchor(int(kept["count"]), str(kept["hash"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Anchor()


def _fault(entry: Entry, expected: int, last: str, anchor: Anchor) -> str:
    if entry.sequence != expected:
        words = _("Line %(line)d is missing: after line %(before)d comes line %(next)d.")
        return words % {"line": expected, "before": expected - 1, "next": entry.sequence or 0}
    if entry.previous != last:
        words = _("Line %(line)d does not follow line %(before)d.")
        return words % {"line": expected, "before": expected - 1}
    if entry.hash != chain.hash_of(entry):
        return _("Line %(line)d is not as it was written.") % {"line": expected}
    if expected == anchor.count and entry.hash != anchor.hash:
        return _("Line %(line)d is another one than at the last check.") % {"line": expected}
    return ""


def _fault_at_end(head: Head, count: int, last: str, anchor: Anchor) -> str:
    if not chain.is_sealed(head) or (
        not head.count and Entry.objects.filter(sequence__isnull=False).exists()
    ):
        return _("The end of the activity was not written by this site.")
    if (head.count, head.hash) != (count, last):
        words = _("The last lines are missing: there were %(were)d, and there are %(are)d.")
        return words % {"were": head.count, "are": count}
    if count < anchor.count:
        words = _(
            "At the last check there were %(were)d lines, and there are %(are)d: an older database was put back."
        )
        return words % {"were": anchor.count, "are": count}
    return ""


def _keep_anchor(anchor: Anchor) -> None:
    path = Path(settings.AUDIT_ANCHOR)
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps({"count": anchor.count, "hash": anchor.hash}))
        beside.replace(path)
    except OSError as exc:
        log.warning("how far the activity is was not kept", error=str(exc))
