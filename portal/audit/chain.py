"""The chain: each line's hash covers what it says and the hash before it, so that a line that is changed or gone shows.

A line is added in the transaction of what it tells of, without waiting for anybody. Its place in the chain it gets right after
the commit, in a short transaction of its own that holds the head: a lock that was held for the whole of the first transaction
could wait in a ring with the locks of machines and hosts. The hashes are keyed with the site's secret, which is not in the
database: who can write to the database alone cannot make a chain that fits.
"""

from __future__ import annotations

import hmac
import json
from hashlib import sha256

import structlog
from django.conf import settings
from django.db import models, transaction

from portal.audit.actions import Action, ObjectKind, Result
from portal.audit.models import CONTENT, Entry, Head

_MOST_AT_ONCE = 500
log = structlog.get_logger()


def extend() -> int:
    """Give every line without one its place at the end of the chain; how many."""
    if not Entry.objects.filter(sequence=None).exists():
        return 0
    with transaction.atomic():
        head = _locked()
        found = _fault(head)
        if found:
            # It goes on from what is there, and says so in a line of its own, which cannot be taken out either.
            log.error("activity was tampered with", found=found)
            newest = Entry.objects.filter(sequence__isnull=False).order_by("-sequence").first()
            head.count = max(head.count, newest.sequence or 0 if newest else 0)
            head.hash = newest.hash if newest else ""
            Entry(
                action=Action.LOG_BROKEN,
                object_kind=ObjectKind.SITE,
                result=Result.FAILED,
                details_json=json.dumps({"found": found}),
            ).save()
        waiting = list(Entry.objects.filter(sequence=None).order_by("id")[:_MOST_AT_ONCE])
        rows: models.QuerySet[Entry] = models.QuerySet(
            Entry
        )  # the one place that writes a line a second time
        for entry in waiting:
            entry.sequence, entry.previous = head.count + 1, head.hash
            entry.hash = hash_of(entry)
            rows.filter(pk=entry.pk, sequence=None).update(
                sequence=entry.sequence, previous=entry.previous, hash=entry.hash
            )
            head.count, head.hash = entry.sequence, entry.hash
        head.seal = seal_of(head.count, head.hash)
        head.save(update_fields=["count", "hash", "seal"])
    return len(waiting)


def hash_of(entry: Entry) -> str:
    """Of all that the line says, its place, and the hash before it."""
    said = {field: getattr(entry, field) for field in CONTENT}
    said["at"] = entry.at.isoformat(timespec="microseconds")
    said["operation_id"] = str(entry.operation_id) if entry.operation_id else ""
    said |= {"id": entry.pk, "sequence": entry.sequence, "previous": entry.previous}
    return _keyed(json.dumps(said, sort_keys=True, separators=(",", ":")))


def seal_of(count: int, last: str) -> str:
    """Of the chain's end. An older one is as good as this one: see checking.py for what tells them apart."""
    return _keyed(f"head {count} {last}")


def is_sealed(head: Head) -> bool:
    """The head is one that this site wrote."""
    if not head.count and not head.seal:
        return not head.hash
    return hmac.compare_digest(head.seal, seal_of(head.count, head.hash))


def _locked() -> Head:
    Head.objects.bulk_create([Head()], ignore_conflicts=True)
    return Head.objects.select_for_update().get(pk=1)


def _fault(head: Head) -> str:
    """What is wrong with the end of the chain; empty where nothing is."""
    if not is_sealed(head):
        return f"the end of the chain, after line {head.count}, is not this site's"
    newest = Entry.objects.filter(sequence__isnull=False).order_by("-sequence").first()
    count, last = (newest.sequence, newest.hash) if newest else (0, "")
    if count != head.count:
        return f"there are lines up to {count}, and there were up to {head.count}"
    return "" if last == head.hash else f"line {head.count} is another one"


def _keyed(text: str) -> str:
    key = sha256(b"portal.audit" + settings.SECRET_KEY.encode()).digest()
    return hmac.digest(key, text.encode(), "sha256").hex()
