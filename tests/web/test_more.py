"""Asking for more for a machine that is there, and for copies above the quota: the forms that else refuse end in a request."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from portal.backups.models import Backup, BackupState
from portal.flavours.models import Flavour
from portal.leases.models import Lease
from portal.machines import hardware
from portal.machines.models import Machine
from portal.machines.specs import spec_of
from portal.networks.models import Network
from portal.quotas.account import Account
from portal.quotas.amounts import Limits
from portal.quotas.limits import limits_of
from portal.quotas.models import Grant
from portal.quotas.services import networks_to_ask_for, quota_set
from portal.refusal import Refused
from portal.requests import services
from portal.requests.models import Request, State
from portal.requests.more import MoreSize
from portal.rights.levels import Level
from portal.rights.sharing import share_set, share_withdraw
from portal.teams.models import Membership, Role, Team
from tests.web import people
from tests.web.people import decides, done, host_heard, machine_of, signed_in
from workers.contract.messages import Observed
from workers.contract.spec import GIB

pytestmark = pytest.mark.django_db


@pytest.fixture
def amy(db: None) -> User:
    """Decides about requests, and is no administrator."""
    return User.objects.create_user("amy", password=people.PASSWORD, approves=True)


@pytest.fixture(autouse=True)
def web(ann: User, rack: object) -> Machine:
    """Ann's machine; her quota is what it takes and one processor more."""
    machine = done(machine_of(ann))
    limits = Limits(machines=1, running=1, cpus=2, memory_mib=512, disk_bytes=10 * GIB)
    quota_set(of=ann, limits=limits)
    return machine


def sends(user: User, machine: Machine, path: str, **fields: Any) -> Any:
    """The person sends a form of the machine's pages."""
    return signed_in(user).post(f"/machines/{machine.pk}/{path}/", fields)


def size(machine: Machine, **fields: Any) -> dict[str, Any]:
    return {"name": machine.name, "cpus": 1, "memory_gib": "0.5", "memory_most_gib": "", **fields}


def asked(user: User, machine: Machine, path: str, **fields: Any) -> Request:
    """What was asked for by a form that says why."""
    answer = sends(user, machine, path, **{"reason": "it is slow", **fields})
    assert answer.status_code == 302, answer.content.decode()
    assert answer["Location"].startswith("/requests/"), answer["Location"]
    return Request.objects.get(pk=answer["Location"].split("/")[2])


def test_within_the_quota_the_machine_grows_at_once(ann: User, web: Machine) -> None:
    answer = sends(ann, web, "hardware/size", **size(web, cpus=2), reason="x")
    assert answer["Location"] == f"/machines/{web.pk}/hardware/"
    web.refresh_from_db()
    assert (web.cpus, Request.objects.count()) == (2, 0)


def test_more_processors_than_the_quota_are_asked_for_and_there_when_approved(
    ann: User, amy: User, web: Machine
) -> None:
    page = sends(ann, web, "hardware/size", **size(web, cpus=4))
    assert page.status_code == 422
    assert "Your quota is 2 processors" in page.content.decode()
    assert "Say what you need it for" in page.content.decode()
    row = asked(ann, web, "hardware/size", **size(web, cpus=4, memory_gib="2"))
    web.refresh_from_db()
    assert (web.cpus, row.wanted, row.state) == (1, "size", State.WAITING)
    assert (
        "You have asked for this already"
        in signed_in(ann).get(f"/machines/{web.pk}/hardware/").content.decode()
    )
    page = signed_in(amy).get(f"/requests/{row.pk}/").content.decode()
    for words in (
        "More for “web”", "4 processors instead of 1 processor, 2 GB of memory instead of 512 MB of memory",
        "That would be 4 processors; the quota is 2 processors.", "What ann has", "rack-1", "fits", "it is slow",
    ):  # fmt: skip
        assert words in page, words
    decides(amy, row, "approve")
    web.refresh_from_db()
    assert (row.state, web.cpus, web.memory_mib, web.name) == (State.APPROVED, 4, 2048, "web")
    assert people.newest(web).requested_by == ann
    grant = Grant.objects.get()
    assert (grant.machine, grant.cpus, grant.memory_mib, grant.ends_on) == (web, 2, 1536, None)


def test_less_is_approved_and_never_less_than_there_is(ann: User, amy: User, web: Machine) -> None:
    row = asked(ann, web, "hardware/size", **size(web, cpus=8, memory_gib="1", memory_most_gib="4"))
    assert "more than was asked for" in decides(amy, row, "approve_less", cpus="9", memory_gib="4")
    assert "less than the machine has now" in decides(amy, row, "approve_less", cpus="8", memory_gib="0.25")
    decides(amy, row, "approve_less", cpus="3", memory_gib="2")
    web.refresh_from_db()
    assert (row.state, web.cpus, web.memory_mib, web.memory_most_mib) == (State.APPROVED_LESS, 3, 1024, 2048)


def test_what_was_approved_for_a_time_counts_no_longer_and_the_machine_stays(
    ann: User, amy: User, web: Machine
) -> None:
    day = timezone.localdate() + timedelta(days=30)
    row = asked(ann, web, "hardware/size", **size(web, cpus=4), until=day.isoformat())
    Request.objects.update(until=timezone.now().date() - timedelta(days=1))
    assert "The day until which it was asked for has passed" in decides(amy, row, "approve")
    Request.objects.update(until=day)
    later = (day + timedelta(days=1)).isoformat()
    assert "longer than was asked for" in decides(amy, row, "approve_less", until=later)
    earlier = day - timedelta(days=10)
    decides(amy, row, "approve_less", until=earlier.isoformat())
    assert (row.state, row.granted_until) == (State.APPROVED_LESS, earlier)
    assert limits_of(Account(ann.pk)).cpus == 4
    assert Grant.objects.get().ends_on == earlier
    Grant.objects.update(ends_on=timezone.now().date() - timedelta(days=1))
    assert limits_of(Account(ann.pk)).cpus == 2
    web.refresh_from_db()
    assert web.cpus == 4
    done(web)
    assert (
        "Your quota is 2 processors" in sends(ann, web, "hardware/size", **size(web, cpus=5)).content.decode()
    )
    assert sends(ann, web, "hardware/size", **size(web, cpus=3)).status_code == 302
    assert Lease.objects.count() == 0


def test_a_disk_and_a_larger_disk_are_asked_for_the_same_way(ann: User, amy: User, web: Machine) -> None:
    new = {"disk_gib": 50, "disk_kind": "growing", "disk_bus": "virtio", "pool": ""}
    row = asked(ann, web, "disks/add", **new)
    decides(amy, row, "approve_less", disk_gib="20")
    assert [disk.size_bytes // GIB for disk in web.disks.order_by("position")] == [10, 20]
    first = web.disks.get(position=0)
    row = asked(ann, web, f"disks/{first.pk}/grow", grow_gib=40)
    assert (
        "disk 1: 40 GB of disk instead of 10 GB of disk"
        in signed_in(amy).get(f"/requests/{row.pk}/").content.decode()
    )
    decides(amy, row, "approve")
    first.refresh_from_db()
    assert (first.size_bytes, row.state) == (40 * GIB, State.APPROVED)


def test_a_card_in_a_network_that_needs_an_approval_has_no_end(ann: User, amy: User, web: Machine) -> None:
    office = Network.objects.create(name="office", subnet="10.3.0.0/24")
    networks_to_ask_for(networks=[office.pk])
    card = {"network": str(office.pk), "nic_model": "virtio"}
    assert "That network needs an approval" in sends(ann, web, "cards/add", **card).content.decode()
    row = asked(ann, web, "cards/add", **card, until="2030-01-01")
    assert row.until is None
    page = signed_in(amy).get(f"/requests/{row.pk}/").content.decode()
    assert "The network “office” needs an approval." in page
    assert "Approve this much" not in page
    decides(amy, row, "approve")
    assert web.nics.filter(network=office).exists()


def test_a_size_that_is_marked_is_asked_for_within_the_quota_too(ann: User, amy: User, web: Machine) -> None:
    quota_set(of=ann, limits=Limits())
    Flavour.objects.filter(key="large").update(needs_approval=True)
    row = asked(ann, web, "hardware/size", **size(web, cpus=4, memory_gib="8"))
    assert (
        "A machine of that size needs an approval."
        in signed_in(amy).get(f"/requests/{row.pk}/").content.decode()
    )
    decides(amy, row, "approve")
    web.refresh_from_db()
    assert (web.cpus, Grant.objects.count()) == (4, 0)


def test_a_clone_above_the_quota_is_asked_for_and_made_when_approved(
    ann: User, amy: User, web: Machine
) -> None:
    done(web, Observed.OFF)
    Machine.objects.filter(pk=web.pk).update(power="off")
    clone = {"name": "second", "how": "full", "start": "on"}
    day = timezone.localdate() + timedelta(days=9)
    row = asked(ann, web, "clone", **clone, until=day.isoformat())
    page = signed_in(amy).get(f"/requests/{row.pk}/").content.decode()
    assert "Clone “second” of “web”" in page
    assert "That would be 2 machines; the quota is 1 machine." in page
    decides(amy, row, "approve")
    made = Machine.objects.get(name="second")
    assert (row.machine, made.owner, made.lease.ends_on) == (made, ann, day)
    assert made.disks.get().origin["kind"] == "copy"


def test_a_backup_is_restored_above_the_quota_the_same_way(ann: User, amy: User, web: Machine) -> None:
    backup = Backup.objects.create(
        machine=web, machine_name="web", source_id=web.pk, owner=ann, host=web.host, place="vault",
        state=BackupState.READY, spec=spec_of(web).model_dump(mode="json"),
    )  # fmt: skip
    address = f"/backups/{backup.pk}/restore/"
    assert "Your quota is 1 machine" in signed_in(ann).post(address, {"name": "again"}).content.decode()
    answer = signed_in(ann).post(address, {"name": "again", "reason": "the old one is broken"})
    row = Request.objects.get(pk=answer["Location"].split("/")[2])
    decides(amy, row, "approve")
    assert row.machine == Machine.objects.get(name="again", power="off")


def test_a_machine_that_has_changed_or_is_gone_is_said_in_words_and_nothing_is_decided(
    ann: User, amy: User, web: Machine
) -> None:
    row = asked(ann, web, "hardware/size", **size(web, cpus=4))
    grow = asked(ann, web, f"disks/{web.disks.get().pk}/grow", grow_gib=40)
    quota_set(of=ann, limits=Limits())
    hardware.machine_change_size(
        machine=web, name="renamed", cpus=2, memory_mib=512, memory_most_mib=None, by=ann
    )
    done(web)
    page = decides(amy, row, "approve")
    assert "The machine has changed since this was asked for" in page
    assert "4 processors instead of 2 processors" in page
    hardware.disk_grow(machine=web, disk_id=web.disks.get().pk, size_bytes=20 * GIB, by=ann)
    assert "has changed since" in decides(amy, grow, "approve")
    web.delete()
    assert "The machine is gone" in decides(amy, grow, "approve")
    assert {row.state, grow.state} == {State.WAITING}
    decides(amy, grow, "decline", comment="it is gone")
    assert grow.state == State.DECLINED


def test_where_its_host_has_no_room_nothing_is_decided(ann: User, amy: User, web: Machine) -> None:
    row = asked(ann, web, "hardware/size", **size(web, cpus=2, memory_gib="8"))
    host_heard(memory_free_mib=1000)
    assert "Its host rack-1 has not that much memory" in decides(amy, row, "approve")
    assert (row.state, Grant.objects.count()) == (State.WAITING, 0)


def test_only_who_may_change_the_machine_asks_and_a_strangers_is_not_there(
    ann: User, ben: User, amy: User, web: Machine
) -> None:
    fields = size(web, cpus=4) | {"reason": "mine"}
    assert sends(ben, web, "hardware/size", **fields).status_code == 404
    with pytest.raises(Refused, match="may not change it"):
        services.more_ask(by=ben, wish=wish_of(web), reason="mine")
    share_set(machine=web, to=ben, level=Level.OPERATE, by=ann)
    assert sends(ben, web, "hardware/size", **fields).status_code == 403
    with pytest.raises(Refused, match="may not change it"):
        services.more_ask(by=ben, wish=wish_of(web), reason="mine")
    share = share_set(machine=web, to=ben, level=Level.MANAGE, by=ann)
    row = asked(ben, web, "hardware/size", **fields)
    page = signed_in(amy).get(f"/requests/{row.pk}/").content.decode()
    assert "What ann has" in page  # it counts against whose it is
    share_withdraw(machine=web, share_id=share.pk, by=ann)
    assert "ben may not change it any more" in decides(amy, row, "approve")
    assert row.state == State.WAITING


def test_a_teams_machine_counts_against_the_team(ann: User, amy: User, web: Machine) -> None:
    team = Team.objects.create(name="lab")
    Membership.objects.create(team=team, user=ann, role=Role.OWNER)
    Machine.objects.filter(pk=web.pk).update(team=team)
    quota_set(of=team, limits=Limits(cpus=1))
    row = asked(ann, web, "hardware/size", **size(web, cpus=2))
    assert row.team == team
    page = signed_in(amy).get(f"/requests/{row.pk}/").content.decode()
    assert "What lab has" in page
    decides(amy, row, "approve")
    assert limits_of(Account(0, team.pk)).cpus == 2


def test_another_name_is_not_asked_for_with_the_size(ann: User, web: Machine) -> None:
    answer = sends(ann, web, "hardware/size", **size(web, cpus=4, name="other"), reason="x")
    assert "the size alone" in answer.content.decode()
    assert Request.objects.count() == 0


def wish_of(machine: Machine) -> MoreSize:
    return MoreSize.of(machine, cpus=4, memory_mib=512, memory_most_mib=None)
