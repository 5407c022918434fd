"""Adding a line, in the same transaction as what it tells of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, transaction

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.audit import chain
from portal.audit.actions import OPERATION, ObjectKind, Result
from portal.audit.models import Entry
from portal.audit.origin import Origin, Person, present
from portal.machines.models import Machine
from workers.contract.messages import OperationState

log = structlog.get_logger()
_PLAIN = (str, int, bool)
"""What is said of a changed field; rows and JSON are not."""

_RESULTS = {
    OperationState.DONE: Result.DONE,
    OperationState.FAILED: Result.FAILED,
    OperationState.SUPERSEDED: Result.OVERTAKEN,
}


def record(
    action: str,
    *,
    by: User | AnonymousUser | Person | None = None,
    about: tuple[ObjectKind, object, str] | None = None,
    result: Result = Result.DONE,
    operation_id: UUID | None = None,
    origin: Origin | None = None,
    details: Mapping[str, object] | None = None,
) -> Entry:
    """Add a line: `by` did `action` to `about` (kind, id, name). Address and session are the present request's.

    Where an administrator acts as `by`, the line names both. `details` are of JSON.
    """
    where = origin or present()
    person = _person(by)
    actor, acting_for = (where.behind, person) if where.behind and person.id else (person, Person())
    kind, object_id, name = about or ("", "", "")
    entry = Entry(
        actor_id=actor.id,
        actor_name=actor.name,
        acting_for_id=acting_for.id,
        acting_for_name=acting_for.name,
        action=action,
        object_kind=kind,
        object_id=str(object_id)[:64],
        object_name=_plain(name)[:150],
        address=where.address,
        session=where.session,
        operation_id=operation_id,
        result=result,
        details_json=json.dumps(
            dict(details or {}), sort_keys=True, separators=(",", ":"), default=str
        ).replace("\\u0000", ""),
    )
    entry.save()
    transaction.on_commit(_chain)
    return entry


def operation_asked(operation: Operation, by: User | None, said: Mapping[str, object] | None = None) -> Entry:
    """Somebody asked for an operation; no one did where the site asks by itself. `said`: fields that were changed with it."""
    plain = {key: str(value) for key, value in (said or {}).items() if isinstance(value, _PLAIN)}
    return record(
        f"{OPERATION}{operation.kind}",
        by=by,
        about=_of(operation),
        result=Result.ASKED,
        operation_id=operation.pk,
        details=plain | _told(operation),
    )


def operation_ended(operation: Operation) -> None:
    """An operation is over; its line names who asked, and from where."""
    asked = Entry.objects.filter(operation_id=operation.pk, result=Result.ASKED).first()
    details = _told(operation) | ({"error": operation.error_code} if operation.error_code else {})
    origin, by = Origin(), Person()
    if asked is not None:
        by = Person(asked.actor_id, asked.actor_name)
        origin = Origin(asked.address, asked.session)
        if asked.acting_for_id is not None:
            by = Person(asked.acting_for_id, asked.acting_for_name)
            origin = Origin(asked.address, asked.session, Person(asked.actor_id, asked.actor_name))
    record(
        f"{OPERATION}{operation.kind}",
        by=by,
        about=_of(operation),
        result=_RESULTS[OperationState(operation.state)],
        operation_id=operation.pk,
        origin=origin,
        details=details,
    )


def of_machine(machine: Machine) -> tuple[ObjectKind, object, str]:
    """A machine, for `about`."""
    return (ObjectKind.MACHINE, machine.pk, machine.name)


def of_person(user: User) -> tuple[ObjectKind, object, str]:
    """A person, for `about`."""
    return (ObjectKind.PERSON, user.pk, user.get_username())


def _of(operation: Operation) -> tuple[ObjectKind, object, str]:
    if operation.machine_id is not None:
        return (ObjectKind.MACHINE, operation.machine_id, operation.machine_name)
    host = operation.host
    return (ObjectKind.HOST, host.pk if host else "", host.name if host else "")


def _told(operation: Operation) -> dict[str, Any]:
    told = {"host": operation.host.name if operation.host else ""}
    return told | ({"about": str(operation.about)} if operation.about else {})


def _person(by: User | AnonymousUser | Person | None) -> Person:
    if isinstance(by, Person):
        return by
    return Person(by.pk, by.get_username()) if isinstance(by, User) else Person()


def _plain(name: str) -> str:
    return name.replace("\x00", "")


def _chain() -> None:
    """Right after the commit; where that fails the periodic task does it."""
    try:
        chain.extend()
    except DatabaseError as exc:
        log.warning("lines not chained yet", error=str(exc))
