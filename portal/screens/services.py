"""Asking for pictures of screens that somebody looks at, at most once a minute each, and keeping what comes."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterable
from uuid import UUID

import structlog
from django.db import transaction

from portal.accounts.models import User
from portal.live import publish
from portal.machines import dispatch
from portal.machines.models import Machine
from portal.machines.selectors import machines_for
from portal.rights.scope import at_least
from portal.rights.table import TOPICS
from portal.screens.models import Screen
from workers.contract.messages import Observed
from workers.contract.screens import MOST_SCREENS, SCREEN_SECONDS, LookAtScreens, ScreenSeen, is_png

_LIVING = (Observed.RUNNING, Observed.PAUSED)
log = structlog.get_logger()


def screens_ask(user: User, machine_ids: Iterable[UUID]) -> int:
    """Ask the hosts to look at these machines, as far as the person may see their screens and nobody asked just now; how many."""
    wanted = list(dict.fromkeys(machine_ids))[:MOST_SCREENS]
    visible = at_least(TOPICS["screens"].looking, machines_for(user)).filter(
        pk__in=wanted, observed__in=_LIVING
    )
    hosts = dict(visible.values_list("pk", "host__name"))
    now = int(time.time())
    due: dict[str, list[UUID]] = {}
    with transaction.atomic():
        Screen.objects.bulk_create([Screen(machine_id=each) for each in hosts], ignore_conflicts=True)
        for machine_id, host in hosts.items():
            mine = Screen.objects.filter(machine_id=machine_id, asked_at__lte=now - SCREEN_SECONDS)
            if mine.update(asked_at=now):  # 0 rows: somebody else who looks was quicker
                due.setdefault(host, []).append(machine_id)
    for host, machines in due.items():
        dispatch.look_at_screens(LookAtScreens(machines=tuple(machines)), host)
    return sum(len(machines) for machines in due.values())


def screen_take(seen: ScreenSeen) -> bool:
    """Keep a picture; False where it is none, late, or of a machine that is not this host's or does not run."""
    try:
        png = base64.b64decode(seen.png, validate=True)
    except binascii.Error:
        return False
    if not is_png(png) or abs(time.time() - seen.at) > SCREEN_SECONDS:
        log.warning("picture refused", host=seen.host, machine=str(seen.machine_id))
        return False
    with transaction.atomic():
        machine = Machine.objects.filter(pk=seen.machine_id, host__name=seen.host, observed__in=_LIVING)
        mine = Screen.objects.filter(machine_id=seen.machine_id, taken_at__lt=seen.at)
        if not machine.exists() or not mine.update(taken_at=seen.at, png=png):
            return False
        transaction.on_commit(lambda: publish.screen_seen(seen.machine_id, seen.at))
    return True
