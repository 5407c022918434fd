"""Quotas: what counts, when it is given back, and that nothing more is to be had than there is."""

from __future__ import annotations

import re
from typing import Any

import pytest

from portal.accounts.models import User
from portal.flavours.models import Flavour
from portal.machines import cloning, hardware, power, services, snapshots
from portal.machines.models import Machine, Template
from portal.machines.reports import observed_take, progress_take
from portal.machines.specs import spec_of
from portal.networks.models import Network
from portal.networks.ports import port_publish
from portal.networks.services import private_network
from portal.quotas.account import Account
from portal.quotas.amounts import Amounts, Field, Limits
from portal.quotas.bars import NEW_MACHINE, bars_of, homes_of
from portal.quotas.limits import TO_BEGIN_WITH, limits_of
from portal.quotas.models import Grant, Quota, Whose
from portal.quotas.services import (
    networks_to_ask_for,
    quota_remove,
    quota_set,
)
from portal.quotas.usage import used_by, used_by_all
from portal.refusal import Refused
from portal.rights import handing_over
from portal.rights.models import Offer
from portal.teams.models import Membership, Role, Team
from tests.web.people import done, machine_of, newest, seen, signed_in, told
from workers.contract.messages import Observed, OperationState
from workers.contract.networks import Protocol
from workers.contract.spec import GIB, DiskBus, DiskKind

pytestmark = pytest.mark.django_db
ONE = Amounts(machines=1, running=1, cpus=1, memory_mib=512, disk_bytes=10 * GIB)


def limit(user: User, **limits: int) -> None:
    quota_set(of=user, limits=Limits(**limits))


def has(user: User) -> Amounts:
    return used_by(Account(user.pk))


def add_disk(machine: Machine, gib: int) -> None:
    hardware.disk_add(
        machine=machine, size_bytes=gib * GIB, kind=DiskKind.GROWING, bus=DiskBus.VIRTIO, by=machine.owner
    )


def resize(machine: Machine, *, cpus: int = 1, memory_mib: int = 512, most: int | None = None) -> None:
    hardware.machine_change_size(
        machine=machine, name=machine.name, cpus=cpus, memory_mib=memory_mib, memory_most_mib=most,
        by=machine.owner,
    )  # fmt: skip


def publish(machine: Machine, port: int) -> None:
    port_publish(
        machine=machine, nic_id=machine.nics.get().pk, protocol=Protocol.TCP, guest_port=port, host_port=None,
        by=machine.owner,
    )  # fmt: skip


def off(machine: Machine) -> Machine:
    services.machine_force_off(machine=machine, by=machine.owner)
    return done(machine, Observed.OFF)


def fails(machine: Machine) -> None:
    progress_take(told(newest(machine), OperationState.FAILED))
    machine.refresh_from_db()


def test_what_somebody_has_is_counted_from_what_there_is(running: Machine, ann: User, ben: User) -> None:
    assert has(ann) == ONE
    add_disk(running, 5)
    done(running)
    publish(running, 22)
    done(running)
    resize(running, cpus=2, memory_mib=1024, most=2048)
    assert has(ann) == Amounts(
        machines=1, running=1, cpus=2, memory_mib=2048, disk_bytes=15 * GIB, published_ports=1
    )
    assert has(ben) == Amounts()
    assert used_by_all() == {Account(ann.pk): has(ann)}


def test_a_machine_of_a_team_counts_for_the_team(running: Machine, ann: User) -> None:
    team = Team.objects.create(name="web")
    Machine.objects.update(team=team)
    assert has(ann) == Amounts()
    assert used_by(Account(ann.pk, team.pk)) == ONE
    assert used_by_all() == {Account(0, team.pk): ONE}
    quota_set(of=team, limits=Limits(cpus=1))
    running.refresh_from_db()
    with pytest.raises(Refused, match="The quota of the team “web” is 1 processor"):
        resize(running, cpus=2)


def test_a_machine_that_gets_another_home_counts_there_and_is_refused_where_that_has_no_room(
    running: Machine, ann: User, ben: User
) -> None:
    team = Team.objects.create(name="web")
    Membership.objects.create(team=team, user=ann, role=Role.MEMBER)
    limit(ben, cpus=0)
    offer = handing_over.offer_make(machine=running, to=ben, by=ann)
    refused = signed_in(ben).post(f"/machines/offers/{offer.pk}/", {"name": "web", "answer": "take"})
    assert refused.status_code == 422
    assert "Your quota is 0 processors" in refused.content.decode()
    assert Offer.objects.filter(pk=offer.pk).exists()  # it can be taken when there is room
    quota_set(of=team, limits=Limits(machines=0))
    with pytest.raises(Refused, match="The quota of the team “web” is 0 machines"):
        handing_over.move_home(machine=running, team=team, by=ann)
    running.refresh_from_db()
    assert (running.owner, running.team) == (ann, None)

    limit(ben, cpus=1)
    quota_set(of=team, limits=Limits(machines=1))
    handing_over.move_home(machine=running, team=team, by=ann)
    assert (has(ann), used_by(Account(0, team.pk))) == (Amounts(), ONE)
    limit(ann, running=0)
    with pytest.raises(Refused, match="Your quota is 0 running machines"):  # nor back, past one's own
        handing_over.move_home(machine=running, team=None, by=ann)


@pytest.mark.parametrize(
    ("limits", "wish", "words", "field"),
    [
        ({"machines": 1}, {}, "Your quota is 1 machine. You have 1 machine, so 0 machines are left", None),
        ({"running": 1}, {}, "Your quota is 1 running machine", None),
        ({"cpus": 3}, {"cpus": 3}, "Your quota is 3 processors. You have 1 processor, so 2 processors are left, "
         "and this takes 3 processors", "cpus"),
        ({"memory_mib": 1000}, {}, "1000 MB of memory", "memory_gib"),
        ({"disk_bytes": 19 * GIB}, {}, "Your quota is 19 GB of disk", "disk_gib"),
    ],
)  # fmt: skip
def test_a_new_machine_that_takes_more_than_is_left_is_refused_in_words(
    running: Machine, ann: User, limits: dict[str, int], wish: dict[str, Any], words: str, field: str | None
) -> None:
    limit(ann, **limits)
    with pytest.raises(Refused) as refused:
        machine_of(ann, "more", **wish)
    assert words in refused.value.message
    assert "ask for more under “Requests”" in refused.value.message
    assert refused.value.field == field
    assert Machine.objects.count() == 1


def test_what_fits_exactly_is_to_be_had(running: Machine, ann: User) -> None:
    limit(ann, machines=2, running=2, cpus=2, memory_mib=1024, disk_bytes=20 * GIB)
    machine_of(ann, "more")
    assert has(ann).machines == 2


def test_hardware_grows_within_the_quota_only(running: Machine, ann: User) -> None:
    limit(ann, cpus=2, memory_mib=1024, disk_bytes=12 * GIB)
    for much in ({"cpus": 3}, {"memory_mib": 1025}, {"most": 1025}):
        with pytest.raises(Refused, match="Your quota"):
            resize(running, **much)
    with pytest.raises(Refused, match="12 GB of disk"):
        add_disk(running, 3)
    disk = running.disks.get()
    with pytest.raises(Refused, match="12 GB of disk"):
        hardware.disk_grow(machine=running, disk_id=disk.pk, size_bytes=13 * GIB, by=ann)
    running.refresh_from_db()
    assert (running.cpus, running.memory_mib, running.generation) == (1, 512, 1)
    resize(running, cpus=2, memory_mib=1024)
    done(running)
    hardware.disk_grow(machine=running, disk_id=disk.pk, size_bytes=12 * GIB, by=ann)
    assert has(ann).disk_bytes == 12 * GIB


def test_snapshots_and_published_ports_are_limited(running: Machine, ann: User) -> None:
    limit(ann, snapshots=1, published_ports=1)
    snapshots.snapshot_take(machine=running, name="one", description="", memory=False, by=ann)
    done(running)
    with pytest.raises(Refused, match="Your quota is 1 snapshot"):
        snapshots.snapshot_take(machine=running, name="two", description="", memory=False, by=ann)
    publish(running, 22)
    done(running)
    with pytest.raises(Refused, match="Your quota is 1 published port"):
        publish(running, 80)


def test_going_back_to_a_snapshot_of_a_larger_machine_takes_its_size_again(
    running: Machine, ann: User
) -> None:
    resize(running, cpus=4)
    done(running)
    snapshots.snapshot_take(machine=running, name="large", description="", memory=False, by=ann)
    done(running)
    resize(running, cpus=1)
    done(running)
    limit(ann, cpus=3)
    large = running.snapshots.get()
    with pytest.raises(Refused, match="Your quota is 3 processors. You have 1 processor"):
        snapshots.snapshot_revert(machine=running, snapshot=large, by=ann)
    limit(ann, cpus=4)
    snapshots.snapshot_revert(machine=running, snapshot=large, by=ann)


def test_as_many_run_at_once_as_the_quota_says(running: Machine, ann: User) -> None:
    limit(ann, running=1)
    off(running)
    other = done(machine_of(ann, "other"))
    with pytest.raises(Refused, match="Your quota is 1 running machine"):
        services.machine_start(machine=running, by=ann)
    power.machine_hibernate(machine=other, by=ann)
    with pytest.raises(Refused, match="running machine"):  # it still runs
        services.machine_start(machine=running, by=ann)
    done(other, Observed.SAVED)
    services.machine_start(machine=running, by=ann)
    with pytest.raises(Refused, match="running machine"):
        power.machine_wake(machine=other, by=ann)


def test_a_machine_that_is_being_shut_down_runs_until_it_is_off(running: Machine, ann: User) -> None:
    services.machine_shut_down(machine=running, by=ann)
    assert has(ann).running == 1
    done(running, Observed.OFF)
    assert has(ann).running == 0


def test_a_machine_whose_making_failed_gives_its_share_back_and_asks_anew(
    machine: Machine, ann: User
) -> None:
    limit(ann, machines=1)
    fails(machine)
    assert has(ann) == Amounts()
    other = machine_of(ann, "other")
    with pytest.raises(Refused, match="Your quota is 1 machine"):
        services.machine_start(machine=machine, by=ann)
    fails(other)
    services.machine_start(machine=machine, by=ann)
    assert has(ann) == ONE
    fails(machine)
    assert has(ann) == Amounts()
    services.machine_start(machine=machine, by=ann)
    done(machine)
    off(machine)
    services.machine_start(machine=machine, by=ann)
    fails(machine)  # a start that fails later takes nothing of what was made
    assert has(ann).machines == 1


def test_what_is_deleted_gives_its_share_back_at_once(running: Machine, ann: User) -> None:
    limit(ann, machines=1)
    services.machine_delete(machine=running, name="web", by=ann)
    assert has(ann) == Amounts()
    machine_of(ann, "next")
    observed_take(seen(running, Observed.GONE))
    assert has(ann) == ONE


def test_a_disk_counts_until_its_host_has_removed_it(running: Machine, ann: User) -> None:
    hardware.disk_remove(machine=running, disk_id=running.disks.get().pk, is_sure=True, by=ann)
    assert has(ann).disk_bytes == 10 * GIB
    done(running)
    assert has(ann).disk_bytes == 0


def test_a_quota_that_was_lowered_takes_nothing_away_and_stops_nobody_from_having_less(
    running: Machine, ann: User
) -> None:
    resize(running, cpus=4, memory_mib=2048)
    done(running)
    limit(ann, machines=0, running=0, cpus=1, memory_mib=512, disk_bytes=0)
    resize(running, cpus=2, memory_mib=1024)
    done(running)
    services.machine_restart(machine=running, by=ann)
    done(running)
    with pytest.raises(Refused, match="Your quota is 1 processor"):
        resize(running, cpus=3, memory_mib=1024)
    off(running)
    services.machine_delete(machine=running, name="web", by=ann)


def test_clones_and_machines_from_templates_count(running: Machine, ann: User) -> None:
    off(running)
    limit(ann, machines=1)
    with pytest.raises(Refused, match="Your quota is 1 machine"):
        cloning.machine_clone(machine=running, name="copy", linked=True, start=True, by=ann)
    assert Template.objects.count() == 0
    template = Template.objects.create(
        owner=ann, host=running.host, name="base", is_ready=True,
        hardware=spec_of(running).model_dump(mode="json"),
    )  # fmt: skip
    with pytest.raises(Refused, match="Your quota is 1 machine"):
        cloning.machine_from_template(
            template=template, owner=ann, name="copy", cpus=1, memory_mib=512, network=None, by=ann
        )


def test_an_own_quota_goes_before_that_of_all_others_and_an_administrator_has_none(
    ann: User, ben: User, boss: User
) -> None:
    assert limits_of(Account(ann.pk)) == TO_BEGIN_WITH[Whose.EVERY_PERSON]
    quota_set(of=Whose.EVERY_PERSON, limits=Limits(machines=3))
    limit(ben, machines=7)
    assert limits_of(Account(ann.pk)) == Limits(machines=3)
    assert limits_of(Account(ben.pk)) == Limits(machines=7)
    assert limits_of(Account(boss.pk)).are_none
    quota_remove(quota=Quota.objects.get(user=ben))
    assert limits_of(Account(ben.pk)) == Limits(machines=3)
    with pytest.raises(Refused):
        quota_remove(quota=Quota.objects.get(whose=Whose.EVERY_PERSON))
    limit(boss, machines=1)
    assert limits_of(Account(boss.pk)) == Limits(machines=1)


def test_bars_say_what_there_would_be_afterwards(running: Machine, ann: User) -> None:
    limit(ann, machines=4, cpus=2)
    machines, cpus = bars_of(Account(ann.pk), Amounts(machines=1, cpus=2))
    assert (machines.used, machines.afterwards, machines.limit, machines.is_over) == (1, 2, 4, False)
    assert (machines.now_percent, machines.more_percent) == (25, 25)
    assert (cpus.afterwards, cpus.is_over, cpus.now_percent, cpus.more_percent) == (3, True, 50, 50)


def test_the_bars_of_all_homes_say_what_those_of_each_say(running: Machine, ann: User) -> None:
    limited, granted, like_all = (Team.objects.create(name=name) for name in ("a", "b", "c"))
    for team in (limited, granted):
        machine = done(machine_of(ann, f"of {team}"))
        Machine.objects.filter(pk=machine.pk).update(team=team)
        quota_set(of=team, limits=Limits(machines=3, cpus=2))
        if team is granted:
            Grant.objects.create(machine=machine, cpus=5)
    chosen = Account(ann.pk, granted.pk)
    homes = homes_of(chosen, [limited, granted, like_all], ONE)
    assert [home.team for home in homes if home.is_chosen] == [granted]
    for home in homes:
        account = Account(ann.pk, home.team.pk if home.team else None)
        takes = ONE if account == chosen else Amounts()
        assert home.bars == bars_of(account, takes, NEW_MACHINE), home.team
    cpus = [bar for home in homes for bar in home.bars if bar.field is Field.CPUS]
    assert [(bar.used, bar.afterwards, bar.limit) for bar in cpus] == [
        (1, 1, 100), (1, 1, 2), (1, 2, 7), (0, 0, 200),
    ]  # fmt: skip


def test_each_page_on_which_something_is_used_shows_the_quota(running: Machine, ann: User) -> None:
    template = Template.objects.create(
        owner=ann, host=running.host, name="base", is_ready=True,
        hardware=spec_of(running).model_dump(mode="json"),
    )  # fmt: skip
    shown = {
        "/machines/new/": ["machines", "running", "cpus", "memory_mib", "disk_bytes"],
        f"/templates/{template.pk}/": ["machines", "running", "cpus", "memory_mib", "disk_bytes"],
        f"/machines/{running.pk}/copies/": ["machines", "running", "cpus", "memory_mib", "disk_bytes"],
        f"/machines/{running.pk}/hardware/": ["cpus", "memory_mib", "disk_bytes"],
        f"/machines/{running.pk}/snapshots/": ["snapshots"],
        f"/machines/{running.pk}/network/": ["published_ports"],
        "/requests/": [each.value for each in Field],
    }
    browser = signed_in(ann)
    for address, fields in shown.items():
        page = browser.get(address).content.decode()
        assert [each for each in Field if f'data-field="{each}"' in page] == fields, address
    assert (
        "data-field"
        not in signed_in(User.objects.create(username="b", is_staff=True))
        .get("/machines/new/")
        .content.decode()
    )


@pytest.mark.parametrize("form", ["/machines/new/", "template"])
def test_without_scripts_the_bars_are_those_of_the_choice_that_was_sent(
    running: Machine, ann: User, form: str
) -> None:
    template = Template.objects.create(
        owner=ann, host=running.host, name="base", is_ready=True,
        hardware=spec_of(running).model_dump(mode="json"),
    )  # fmt: skip
    address = f"/templates/{template.pk}/" if form == "template" else form
    mine, looked_at = (Team.objects.create(name=name) for name in ("mine", "looked at"))
    Membership.objects.create(team=mine, user=ann, role=Role.MEMBER)
    Membership.objects.create(team=looked_at, user=ann, role=Role.VIEWER)
    quota_set(of=mine, limits=Limits(machines=0))
    browser = signed_in(ann)
    assert shown_and_hidden(browser.get(address).content.decode()) == {"": True, str(mine.pk): False}
    fields = {"name": "more", "size": "small", "disk_gib": 10, "disk_kind": "growing", "team": mine.pk}
    answer = browser.post(address, fields | {"network": private_network().pk})
    assert answer.status_code == 422
    assert shown_and_hidden(answer.content.decode()) == {"": False, str(mine.pk): True}
    assert 'quota-bar is-over" data-field="machines" data-used="0"' in answer.content.decode()


def shown_and_hidden(page: str) -> dict[str, bool]:
    """Whose bars are in the page, and whether they are seen there without scripts."""
    return {whose: not hidden for whose, hidden in re.findall(r'data-quota-of="(\d*)"( hidden)?>', page)}


def test_a_wizard_that_would_go_over_says_so_and_shows_it(running: Machine, ann: User) -> None:
    limit(ann, machines=1)
    fields = {"name": "more", "size": "small", "disk_gib": 10, "disk_kind": "growing"}
    answer = signed_in(ann).post("/machines/new/", fields | {"network": private_network().pk})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "That would be 2 machines; the quota is 1 machine." in page
    assert 'quota-bar is-over" data-field="machines"' in page
    assert "Ask for it" in page
    assert Machine.objects.count() == 1


def test_a_size_that_needs_an_approval_is_not_to_be_had_by_another_way(running: Machine, ann: User) -> None:
    Flavour.objects.filter(key="large").update(needs_approval=True)
    for size in ({"cpus": 4, "memory_mib": 8192}, {"cpus": 3, "memory_mib": 1024}, {"memory_mib": 2049}):
        with pytest.raises(Refused, match="needs an approval"):
            machine_of(ann, "more", **size)
    with pytest.raises(Refused, match="needs an approval"):
        resize(running, cpus=3)
    machine_of(ann, "more", cpus=2, memory_mib=2048)
    resize(running, cpus=2, memory_mib=2048)


def test_a_network_that_needs_an_approval_takes_no_card_without_one(
    running: Machine, ann: User, boss: User
) -> None:
    office = Network.objects.create(name="office", subnet="10.3.0.0/24")
    networks_to_ask_for(networks=[office.pk])
    with pytest.raises(Refused, match="needs an approval"):
        machine_of(ann, "more", network=office)
    from workers.contract.spec import NicModel

    with pytest.raises(Refused, match="needs an approval"):
        hardware.card_add(machine=running, network=office, model=NicModel.VIRTIO, by=ann)
    hardware.card_add(machine=running, network=office, model=NicModel.VIRTIO, by=boss)
    done(running)
    resize(running, cpus=2)  # what is in it already stays


def test_an_administrator_sets_quotas_on_the_pages(running: Machine, ann: User, boss: User) -> None:
    browser, team = signed_in(boss), Team.objects.create(name="web")
    ways = {
        "every_person/": Quota.objects.filter(whose=Whose.EVERY_PERSON),
        "every_team/": Quota.objects.filter(whose=Whose.EVERY_TEAM),
        f"people/{ann.pk}/": Quota.objects.filter(user=ann),
        f"teams/{team.pk}/": Quota.objects.filter(team=team),
    }
    for address, rows in ways.items():
        fields = {"machines": "3", "memory_mib": "4", "disk_bytes": "50", "cpus": ""}
        assert browser.post(f"/settings/quotas/{address}", fields).status_code == 302
        row = rows.get()
        assert (row.machines, row.memory_mib, row.disk_bytes, row.cpus) == (3, 4096, 50 * GIB, None)
        wrong = browser.post(f"/settings/quotas/{address}", {"machines": "-1"})
        assert wrong.status_code == 422
        assert "A whole number from 0 on" in wrong.content.decode()
    page = browser.get("/settings/quotas/?q=an").content.decode()
    assert "Machines: 1 / 3" in page
    assert "Processors: 1 / ∞" in page
    assert browser.post(f"/settings/quotas/{Quota.objects.get(user=ann).pk}/remove/").status_code == 302
    assert not Quota.objects.filter(user=ann).exists()


def test_an_administrator_edits_reorders_hides_and_removes_sizes(ann: User, boss: User, rack: object) -> None:
    browser = signed_in(boss)
    fields = {"name": "Huge", "description": "builds", "cpus": 8, "memory_gib": "16.5", "disk_gib": 100}
    assert browser.post("/settings/sizes/new/", fields).status_code == 302
    assert browser.post("/settings/sizes/new/", fields).status_code == 422  # the name is taken
    huge = Flavour.objects.get(name="Huge")
    assert (huge.key, huge.memory_mib, huge.position) == ("huge", 16896, 3)
    browser.post(f"/settings/sizes/{huge.pk}/move/", {"way": "up"})
    assert [each.key for each in Flavour.objects.all()] == ["small", "medium", "huge", "large"]
    browser.post(f"/settings/sizes/{huge.pk}/", fields | {"cpus": 6, "needs_approval": "on"})
    huge.refresh_from_db()
    assert (huge.cpus, huge.needs_approval) == (6, True)
    assert "needs an approval" in signed_in(ann).get("/machines/new/").content.decode()
    browser.post(f"/settings/sizes/{huge.pk}/", fields | {"is_hidden": "on"})
    assert "Huge" not in signed_in(ann).get("/machines/new/").content.decode()
    for flavour in Flavour.objects.exclude(key="small"):
        browser.post(f"/settings/sizes/{flavour.pk}/remove/")
    last = browser.post(f"/settings/sizes/{Flavour.objects.get().pk}/remove/", follow=True)
    assert "That is the last size" in last.content.decode()
    assert [each.key for each in Flavour.objects.all()] == ["small"]
