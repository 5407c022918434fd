"""Who may do what: every address, WebSocket and topic of the portal, as every kind of person, against the table of rights."""

from __future__ import annotations

import json
import logging
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import models, transaction
from django.forms.models import model_to_dict
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve, reverse
from django.utils import timezone

from portal.accounts.models import Invitation, User
from portal.activity.models import Operation
from portal.asgi import websocket_routes
from portal.backups.models import Backup, BackupPlan
from portal.classes.models import Class, Member
from portal.console.models import ConsoleTicket
from portal.exports.models import Export
from portal.flavours.models import Flavour
from portal.hooks.models import Delivery, Hook
from portal.images import parts
from portal.images.models import Download, Image, Upload
from portal.leases.models import Lease, LeaseRules, Schedule
from portal.live import publish
from portal.machines.models import Disk, Machine, Nic, Snapshot, Template
from portal.machines.specs import spec_of
from portal.networks.models import Network, PublishedPort, Uplink
from portal.notices.models import Choice, Notice
from portal.quotas.amounts import Limits
from portal.quotas.models import Grant, NetworkToAskFor, Quota, Raise
from portal.quotas.services import quota_set
from portal.requests.models import Event, Request, Rules
from portal.requests.services import machine_ask
from portal.rights.levels import Level
from portal.rights.may import May
from portal.rights.models import Offer, Share
from portal.rights.table import RIGHTS, SOCKETS, TOPICS, Of, Right, Who, right_of
from portal.screens.models import Screen as Picture
from portal.screens.services import screens_ask
from portal.teams.models import Membership, Role, Team
from tests.web.people import PASSWORD, done, host_heard, image_named, machine_of, nobody, signed_in, wish
from tests.web.site import Browser, Screen, Site, code_of
from workers.contract.spec import GIB
from workers.contract.tokens import Purpose, issue

TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "10", "Upload-Metadata": "filename YQ=="}
SEE, VIEW_CONSOLE, USE_CONSOLE, OPERATE, MANAGE, OWN = Level


@dataclass(frozen=True)
class Person:
    """Somebody of the cast, and what the table of rights calls what they have; None where there is nothing for them."""

    machine: Level | None = None
    template: Level | None = None
    image: Level | None = OPERATE
    team: Level | None = None
    share: Level | None = None
    role: Role | None = None
    """In the team, whose the machine and what was made of it is then; else it is Ann's alone."""
    staff: bool = False
    approves: bool = False
    audits: bool = False

    def level_of(self, of: Of, name: str) -> Level | None:
        """Of what the addresses of the test name."""
        if of is Of.PERSON:
            return OWN if name == "owner" or self.staff else SEE if self.audits else None
        if of is Of.CLASS:
            mine = name == "owner" or self.role is Role.OWNER or self.staff
            return OWN if mine else SEE if self.audits else None
        if of is Of.REQUEST and name != "owner":
            return SEE if self.staff or self.approves or self.audits else None
        if of in (Of.UPLOAD, Of.OFFER, Of.REQUEST, Of.NOTICE):
            return (
                OWN
                if name
                == {Of.UPLOAD: "owner", Of.OFFER: "stranger", Of.REQUEST: "owner", Of.NOTICE: "owner"}[of]
                else None
            )
        found: Level | None = getattr(self, {Of.BACKUP: "machine"}.get(of, of.name.lower()))
        return found

    def holds(self, who: Who, *, changes: bool) -> bool:
        """As the words of `Who` say."""
        return {
            Who.SIGNED_IN: True,
            Who.DOER: not self.audits,
            Who.TEACHER: self.staff or self.role is Role.OWNER,
            Who.APPROVER: self.approves or self.staff or (self.audits and not changes),
            Who.AUDITOR: self.audits or self.staff,
            Who.ADMINISTRATOR: self.staff,
        }[who]


PEOPLE = {
    "stranger": Person(),
    "may look at its screen": Person(VIEW_CONSOLE, share=VIEW_CONSOLE),
    "may use its screen": Person(USE_CONSOLE, share=USE_CONSOLE),
    "may operate it": Person(OPERATE, share=OPERATE),
    "may manage it": Person(MANAGE, share=MANAGE),
    "owner": Person(OWN, OWN, OWN),
    "viewer of the team": Person(VIEW_CONSOLE, VIEW_CONSOLE, team=VIEW_CONSOLE, role=Role.VIEWER),
    "member of the team": Person(MANAGE, MANAGE, team=MANAGE, role=Role.MEMBER),
    "owner of the team": Person(OWN, OWN, team=OWN, role=Role.OWNER),
    "approver": Person(approves=True),
    "auditor": Person(SEE, SEE, SEE, SEE, audits=True),
    "administrator": Person(OWN, OWN, OWN, OWN, staff=True),
}
CHANGING = [name for name, right in RIGHTS.items() if right.changes is not None and right.reads is None]
OF_A_MACHINE = [name for name, right in RIGHTS.items() if right.of is Of.MACHINE]
METHODS = {
    "images:uploads": ("options", "post"),
    "images:upload": ("head", "delete"),
    "exports:receive": ("head", "patch"),
    "machines:export-file": ("head", "post"),
}
"""Where an address is for other methods than GET and POST."""

MAY_BE_MISSING = {
    "account_session_end", "mfa_deactivate_totp", "mfa_view_recovery_codes", "mfa_generate_recovery_codes", "mfa_add_webauthn",
    "impersonation:end", "mfa_edit_webauthn", "mfa_remove_webauthn",
}  # fmt: skip
"""About what is somebody's own, and nobody of the cast has one."""


def names(resolver: URLResolver, space: str = "") -> Iterator[str]:
    for each in resolver.url_patterns:
        if isinstance(each, URLPattern):
            yield f"{space}{each.name}"
        elif each.namespace != "admin":  # web/test_admin walks those
            yield from names(each, f"{space}{each.namespace}:" if each.namespace else space)


@pytest.fixture(autouse=True)
def folders(settings: LazySettings, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings.EXPORT_DIR = settings.UPLOAD_DIR = settings.LIBRARY_DIR = tmp_path_factory.mktemp("library")


@pytest.fixture
def team(db: None) -> Team:
    team = Team.objects.create(name="physics")
    Membership.objects.create(team=team, user=User.objects.create_user("first"), role=Role.OWNER)
    return team


@pytest.fixture
def addresses(running: Machine, ann: User, ben: User, team: Team) -> dict[str, str]:
    """Every address of the table, of things that are Ann's; what is offered is offered to Ben."""
    image = image_named(added_by=ann)
    upload = Upload.objects.create(owner=ann, name="netinst", length_bytes=100)
    Picture.objects.create(machine=running, taken_at=int(time.time()), png=b"png")
    download = Download.objects.create(key="debian-netinst", name="Debian")
    hardware = spec_of(running).model_dump(mode="json")
    snapshot = Snapshot.objects.create(
        machine=running, name="clean", is_ready=True, spec=spec_of(running).to_wire()["body"]
    )
    template = Template.objects.create(owner=ann, host=running.host, name="base", hardware=hardware)
    backup = Backup.objects.create(
        machine=running, source_id=running.pk, machine_name="web", owner=ann, host=running.host, place="main",
        state="ready", spec=hardware,
    )  # fmt: skip
    export = Export.objects.create(
        machine=running, format="ova", file_name="web.ova", is_ready=True, size_bytes=3, sha256="ab" * 32
    )
    parts.make_folder(export.path.parent)
    export.path.write_bytes(b"ova")
    nic = running.nics.get()
    port = PublishedPort.objects.create(
        nic=nic, host=running.host, protocol="tcp", host_port=20000, guest_port=22
    )
    share = Share.objects.create(machine=running, user=User.objects.create_user("carl"), level=OPERATE)
    offer = Offer.objects.create(machine=running, to=ben, by=ann)
    invitation = Invitation.objects.create(token_hash="00", email="x@example.org", expires_at=timezone.now())
    request = machine_ask(by=ann, wish=wish("asked"), reason="a course", until=None)
    quota_set(of=ann, limits=Limits(machines=50))
    raised = Raise.objects.create(user=ann, machines=60, ends_on=timezone.now().date())
    notice = Notice.objects.create(person=ann, kind="machine_ended", text="It ended.")
    hook = Hook.objects.create(name="chat", address="https://chat.example.org/", kinds=["machine_ended"])
    made = Class.objects.create(name="course", template=template, template_name="base", made_by=ann)
    Member.objects.create(in_class=made, person=ann, person_name="ann", machine=running, machine_name="web")
    parts_of_addresses: dict[str, Any] = {
        "machine_id": running.pk, "image_id": image.pk, "upload_id": upload.pk, "download_id": download.pk,
        "wish": "pause", "snapshot_id": snapshot.pk, "disk_id": running.disks.get().pk, "nic_id": nic.pk,
        "template_id": template.pk, "backup_id": backup.pk, "export_id": export.pk, "port_id": port.pk,
        "share_id": share.pk, "offer_id": offer.pk, "team_id": team.pk, "network_id": nic.network_id,
        "host_id": running.host_id, "name": running.host.name, "user_id": ann.pk, "invitation_id": invitation.pk,
        "token": "wrong", "uidb36": "1", "key": "wrong", "session_id": 1, "pk": 1,
        "notice_id": notice.pk, "hook_id": hook.pk,
        "request_id": request.pk, "flavour_id": Flavour.objects.values_list("pk", flat=True)[0], "whose": "every_person",
        "class_id": made.pk, "quota_id": Quota.objects.get().pk, "raise_id": raised.pk,
    }  # fmt: skip
    return dict(_reversed(get_resolver(), parts_of_addresses))


def _reversed(
    resolver: URLResolver, known: dict[str, Any], space: str = "", above: str = ""
) -> Iterator[tuple[str, str]]:
    for each in resolver.url_patterns:
        route = above + str(each.pattern)
        if isinstance(each, URLPattern):
            name = f"{space}{each.name}"
            wanted = re.findall(r"<(?:\w+:)?(\w+)>", route)
            yield name, reverse(name, kwargs={part: known[part] for part in wanted})
        elif each.namespace != "admin":
            yield from _reversed(each, known, f"{space}{each.namespace}:" if each.namespace else space, route)


def account_of(name: str, person: Person, machine: Machine, team: Team) -> User:
    """Who plays the part; Ann and Ben play theirs. What the machine is to them is made so."""
    known = {"owner": "ann", "stranger": "ben"}.get(name)
    if known is not None:
        return User.objects.get_or_create(username=known)[0]
    user = User.objects.create_user(
        name.replace(" ", "-"),
        password=PASSWORD,
        is_staff=person.staff,
        approves=person.approves,
        audits=person.audits,
    )
    if person.share is not None:
        Share.objects.create(machine=machine, user=user, level=person.share)
    if person.role is not None:
        Membership.objects.create(team=team, user=user, role=person.role)
        for model in (Machine, Template, Backup, Class):
            model._default_manager.update(team=team)
    return user


def everything() -> list[dict[str, Any]]:
    """All that a request could have changed."""
    tables: tuple[type[models.Model], ...] = (
        Machine, Disk, Nic, Snapshot, Operation, Image, Upload, Backup, BackupPlan, Export, ConsoleTicket, User, Template,
        Network, Uplink, PublishedPort, Share, Offer, Team, Membership, Download, Invitation,
        Request, Event, Rules, Quota, Raise, Grant, NetworkToAskFor, Flavour, Notice, Choice, Hook, Delivery,
        Lease, Schedule, LeaseRules, Class, Member,
    )  # fmt: skip
    # The last sign-in of a person changes with every browser of the test.
    return [
        model_to_dict(row, exclude=["last_login", "members"]) | {"pk": row.pk}
        for table in tables
        for row in table._default_manager.order_by("pk")
    ]


def is_door(answer: HttpResponse) -> bool:
    return answer.status_code == 302 and answer["Location"].startswith("/sign-in/")


def refusal_of(name: str, right: Right, person: Person | None, who: str, *, changes: bool) -> int | None:
    """The status by which the table turns the person away; None where it lets them in. 302: to the door."""
    needed, other = (right.changes, right.reads) if changes else (right.reads, right.changes)
    if needed in (Who.ANYBODY, Who.HOST):
        return None
    if person is None:
        return 401 if right.json else 302
    if right.of is not None:
        level = person.level_of(right.of, who)
        if level is None:
            return 404
        if needed is None:
            return 405
        return None if isinstance(needed, Level) and level >= needed else 403
    asked, as_change = (other, not changes) if needed is None else (needed, changes)
    assert isinstance(asked, Who), name
    if asked not in (Who.ANYBODY, Who.HOST) and not person.holds(asked, changes=as_change):
        return 403 if person.audits else 404
    return 405 if needed is None else None


def led_astray(page: HttpResponse, person: Person | None, who: str) -> Iterator[str]:
    """The links and buttons of a page that would turn its reader away."""
    if not page.get("Content-Type", "").startswith("text/html"):
        return
    text = page.content.decode()
    buttons = re.findall(r'<form[^>]*method="post"[^>]*action="(/[^"?#]*)"', text)
    links = re.findall(r'<a [^>]*href="(/[^"?#]*)', text)
    for address, changes in [*((each, True) for each in buttons), *((each, False) for each in links)]:
        name = resolve(address).view_name
        right = right_of(name)
        assert right is not None, address
        if refusal_of(name, right, person, who, changes=changes) is not None:
            yield f"{address} ({name})"


def test_what_a_template_asks_of_the_table_is_there_to_be_asked() -> None:
    asked = {
        name
        for template in Path("templates").rglob("*.html")
        for name in re.findall(r"\bmay\.(\w+)", template.read_text())
    }
    assert len(asked) > 40
    for name in asked:
        assert May(OWN)[name], name


def test_every_address_has_its_row_and_every_row_an_address() -> None:
    found = set(names(get_resolver()))
    assert [name for name in sorted(found) if right_of(name) is None] == []
    assert {name for name in RIGHTS if not name.endswith(":*")} - found == set()


def test_every_websocket_has_its_row_and_every_row_a_websocket() -> None:
    assert sorted(route.name for route in websocket_routes) == sorted(SOCKETS)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Nobody reads what is logged of two thousand requests."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("who", ["nobody", *PEOPLE])
def test_every_address_receives_each_person_as_the_table_says(
    addresses: dict[str, str], running: Machine, team: Team, who: str
) -> None:
    person = PEOPLE.get(who)
    browser = Client() if person is None else signed_in(account_of(who, person, running, team))
    before = everything()
    wrong = []
    for name in sorted(addresses, key=lambda name: name == "account_logout"):  # that one last
        right = right_of(name)
        assert right is not None
        for method, changes in zip(METHODS.get(name, ("get", "post")), (False, True), strict=True):
            refused = refusal_of(name, right, person, who, changes=changes)
            with transaction.atomic():
                answer = getattr(browser, method)(addresses[name], headers=TUS)
                transaction.set_rollback(
                    refused is None
                )  # what is let in is undone; what is refused is compared below
            fits = answer.status_code == refused
            if refused is None and right.reads is not Who.HOST and right.changes is not Who.ANYBODY:
                fits = answer.status_code < 500 and answer.status_code not in (401, 403, 405)
                fits &= answer.status_code != 404 or name in MAY_BE_MISSING
                fits = (fits and not is_door(answer)) or name in (
                    "health",
                    "account_logout",
                    "people:sign-out",
                )
            elif refused is None:
                fits = answer.status_code < 500
            elif refused == 302:
                fits = is_door(answer)
            if answer.status_code == 200 and method == "get":
                wrong += [f"{name} leads to {each}" for each in led_astray(answer, person, who)]
            if not fits:
                wrong.append(f"{method} {name}: {answer.status_code}, by the table {refused or 'let in'}")
    assert wrong == []
    assert everything() == before


def test_an_address_without_a_row_is_nobodys(boss: User, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = signed_in(boss)
    assert browser.get("/networks/").status_code == 200
    monkeypatch.delitem(RIGHTS, "networks:list")
    assert browser.get("/networks/").status_code == 404
    assert Client().get("/networks/").status_code == 404


def test_a_strangers_machine_looks_like_one_that_is_not_there(
    addresses: dict[str, str], ben: User, running: Machine
) -> None:
    browser = signed_in(ben)
    for name in OF_A_MACHINE:
        method = getattr(browser, "get" if RIGHTS[name].reads is not None else "post")
        hidden = method(addresses[name])
        missing = method(addresses[name].replace(str(running.pk), str(nobody())))
        assert hidden.status_code == missing.status_code == 404
        if RIGHTS[name].json:
            assert hidden.json() == missing.json()
            continue
        assert "There is nothing here" in hidden.content.decode()
        assert _without_token(hidden) == _without_token(missing)


def _without_token(page: HttpResponse) -> bytes:
    """It is another one in each answer."""
    return re.sub(rb'value="\w{64}"', b"", page.content)


def test_a_method_that_an_address_is_not_for_is_refused(
    addresses: dict[str, str], ann: User, boss: User
) -> None:
    hers, the_administrators = signed_in(ann), signed_in(boss)
    before = everything()
    for name, right in RIGHTS.items():
        browser = hers if right.of in (Of.UPLOAD, Of.MACHINE, Of.REQUEST, Of.NOTICE) else the_administrators
        if (
            name.endswith(":*") or name == "home" or right.of is Of.OFFER
        ):  # a redirect, whatever the method; Ben's
            continue
        if name == "account_login":  # who is signed in already is sent on, whatever the method
            browser = Client()
        # Django's form views take a PUT for a POST.
        methods = {"delete"} if ":" not in name else {"put", "delete"} - set(METHODS.get(name, ()))
        methods |= {"get"} if right.reads is None else {"post"} if right.changes is None else set()
        for method in methods:
            assert getattr(browser, method)(addresses[name], headers=TUS).status_code == 405, (name, method)
    assert everything() == before


def test_nothing_changes_without_the_pages_token(addresses: dict[str, str], ann: User) -> None:
    before = everything()
    hers = signed_in(ann, csrf=True)
    for name in (*CHANGING, "images:uploads", "account_login", "account_change_password", "machines:new"):
        browser = Client(enforce_csrf_checks=True) if name == "account_login" else hers
        post = getattr(browser, METHODS.get(name, ("get", "post"))[1])
        answer = post(addresses[name], {"name": "web"}, headers=TUS)
        assert answer.status_code == 403, name
        assert "This page was open for too long" in answer.content.decode()
        forged = post(addresses[name], headers=TUS | {"X-CSRFToken": "A" * 32})
        assert forged.status_code == 403, name
    assert everything() == before


def test_a_list_shows_a_persons_own_machines_and_all_to_an_administrator(
    running: Machine, ann: User, ben: User, boss: User
) -> None:
    link = f"/machines/{running.pk}/"
    assert link in signed_in(ann).get("/machines/").content.decode()
    assert link in signed_in(boss).get("/machines/").content.decode()
    for query in ("", "?q=web", "?q=192.168", "?q=ann", "?q=rack"):
        assert link not in signed_in(ben).get(f"/machines/{query}").content.decode()


WHAT_IS_SET = {
    "quotas:list": "Machines: 1 / 60",
    "quotas:of-all": "<dt>Processors</dt><dd>100</dd>",
    "quotas:of-person": "<dt>Machines</dt><dd>50</dd>",
    "quotas:of-team": "<dt>Disk</dt><dd>7 GB</dd>",
    "flavours:list": "<strong>Small</strong>",
    "rules": "<dt>After how many days an undecided request expires</dt><dd>9</dd>",
    "lease-rules": "<dt>How many days after its end a machine is deleted</dt><dd>4</dd>",
    "hooks:list": "chat.example.org",
    "hooks:detail": '<dd class="mono">chat.example.org</dd>',
}
"""The pages of the settings, and what is to be read there."""


@pytest.fixture
def what_is_set(addresses: dict[str, str], team: Team) -> Hook:
    """The rules and limits of those pages, and the web hook, whose receiver knows a sender by the address."""
    Rules.objects.create(pk=Rules.ONLY, days=9)
    LeaseRules.objects.create(pk=LeaseRules.ONLY, grace_days=4)
    quota_set(of=team, limits=Limits(disk_bytes=7 * GIB))
    Hook.objects.update(address="https://chat.example.org/services/only-senders-know")
    return Hook.objects.get()


def test_an_auditor_reads_what_is_set_without_a_form_a_button_or_a_secret(
    addresses: dict[str, str], what_is_set: Hook
) -> None:
    browser = signed_in(User.objects.create_user("otto", audits=True))
    for name, words in WHAT_IS_SET.items():
        page = browser.get(addresses[name]).content.decode()
        content = page.split("<main", 1)[1].split("</main>")[0]
        assert words in content, name
        for element in ('method="post"', "<button", "<dialog", '<input class="form-check'):
            assert element not in content, name
        for secret in (what_is_set.secret, "only-senders-know"):
            assert secret not in page, name
        menu = page.split('class="account-menu-items"')[1].split("</details>")[0]
        for entry in ("quotas:list", "hooks:list", "classes:list"):
            assert f'href="{addresses[entry]}"' in menu
        assert reverse("admin:index") not in menu


def test_an_auditor_changes_nothing_of_what_is_set(addresses: dict[str, str], what_is_set: Hook) -> None:
    browser = signed_in(User.objects.create_user("otto", audits=True))
    before = everything()
    typed = {
        "machines": "1", "days": "3", "name": "other", "address": what_is_set.address, "way": "down", "cpus": "1",
        "kinds": "machine_ended", "memory_gib": "1", "disk_gib": "1", "extend_days": "1", "extensions": "1",
        "grace_days": "1", "first_reminder_days": "7", "last_reminder_days": "1", "idle_days": "1",
    }  # fmt: skip
    spaces = ("quotas:", "flavours:", "rules", "lease-rules", "hooks:")
    changing = [name for name, right in RIGHTS.items() if name.startswith(spaces) and right.changes]
    assert len(changing) > 12
    for name in changing:
        assert browser.post(addresses[name], typed).status_code == 403, name
    assert everything() == before


def test_a_disc_that_is_anothers_is_not_deleted(addresses: dict[str, str], ben: User) -> None:
    answer = signed_in(ben).post(addresses["images:delete"])
    assert answer.status_code == 403
    assert "Only the one whose it is may do that" in answer.content.decode()
    assert Image.objects.exists()


def test_no_form_makes_a_machine_for_somebody_else(running: Machine, ann: User, ben: User) -> None:
    fields = {"owner": str(ann.pk), "host": "1", "size": "small", "disk_gib": "1", "disk_kind": "growing"}
    network = str(running.nics.get().network_id)
    answer = signed_in(ben).post("/machines/new/", fields | {"name": "mine", "network": network})
    assert answer.status_code == 302
    assert Machine.objects.get(name="mine").owner == ben


def test_who_was_switched_off_is_signed_out_at_the_next_request(running: Machine, ann: User) -> None:
    browser = signed_in(ann)
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert browser.get(f"/machines/{running.pk}/").status_code == 302
    assert browser.post(f"/machines/{running.pk}/force-off/").status_code == 302
    assert Operation.objects.filter(kind="force_off").count() == 0


def test_an_image_token_opens_no_page_and_a_session_no_image(
    addresses: dict[str, str], running: Machine, ann: User, settings: LazySettings
) -> None:
    image = Image.objects.get()
    token = issue(key=settings.FLEET_KEY, purpose=Purpose.IMAGE, subject=str(image.pk))
    bearer = {"Authorization": f"Bearer {token}"}
    assert Client().get("/machines/", headers=bearer).status_code == 302
    assert signed_in(ann).get(addresses["images:file"]).status_code == 401


@pytest.mark.parametrize(
    "address", ["/machines/?q=%00", "/machines/?page=x", "/machines/?page=-1&q=%F0", "/hosts/%00/"]
)
def test_an_odd_address_is_no_error_of_ours(rack: object, boss: User, address: str) -> None:
    assert signed_in(boss).get(address).status_code in (200, 404)


def test_hosts_are_named_by_the_health_page_to_this_very_machine_only(rack: object, db: None) -> None:
    assert Client().get("/health/").json()["hosts"] == {"rack-1": True}
    for elsewhere in (
        Client(REMOTE_ADDR="10.0.0.9").get("/health/"),
        Client().get("/health/", headers={"X-Forwarded-For": "10.0.0.9"}),
    ):
        assert elsewhere.json() == {"ok": False, "database": True, "broker": False}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("of_the_team", [False, True], ids=["Ann's machine", "the team's machine"])
def test_every_topic_and_the_console_receive_each_person_as_the_table_says(
    site: Site, ann: User, ben: User, of_the_team: bool
) -> None:
    host_heard(gateway=f"unix:{site.gateway_socket}")
    machine = done(machine_of(ann))
    team = Team.objects.create(name="physics")
    Membership.objects.create(team=team, user=User.objects.create_user("first"), role=Role.OWNER)
    cast = {
        name: (person, account_of(name, person, machine, team))
        for name, person in PEOPLE.items()
        if (person.role is not None) == of_the_team or person.staff or person.audits or name == "stranger"
    }
    with Screen(site, machine.pk) as screen:
        for name, (person, user) in cast.items():
            host_heard(gateway=f"unix:{site.gateway_socket}")  # a host that is silent for long has no console
            with Browser(site, user) as browser:
                assert heard_by(browser, machine, user) == topics_of(person), name
                Picture.objects.all().delete()
                may_ask = person.machine is not None and person.machine >= TOPICS["screens"].looking
                assert screens_ask(user, [machine.pk]) == may_ask, name
                assert console_of(browser, machine, screen) == what_a_console_is_for(person), name
    with Browser(site, None) as outside:
        with outside.socket("/ws/live/") as live:
            assert code_of(live) == 4401
        with outside.console(machine, "x" * 43) as console:
            assert code_of(console) == 4401


def topics_of(person: Person) -> set[str]:
    """What somebody may be told of, by the table."""
    found = set()
    for topic, right in TOPICS.items():
        if topic == "screens":
            continue
        level = person.machine if right.of is Of.MACHINE else None
        if level is not None and level >= right.looking:
            found.add(topic)
        if isinstance(right.reads, Who) and person.holds(right.reads, changes=False):
            found.add(topic)
    return found - (set() if person.machine is not None else {"machines"})  # their list has no such machine


def heard_by(browser: Browser, machine: Machine, user: User) -> set[str]:
    """What a page is told that watches everything, when everything changes. Messages keep their order."""
    found = set[str]()
    with browser.socket("/ws/live/") as live:
        topics = [
            f"machine:{machine.pk}",
            *(set(TOPICS) - {"machine"}),
            f"fleet:{machine.pk}",
            "machine",
            "nothing",
        ]
        live.send(json.dumps({"watch": topics}))
        assert json.loads(live.recv(timeout=20)) == {"watching": True}
        publish.machine_changed(machine.pk)
        publish.fleet_changed()
        publish.networks_changed()
        publish.requests_changed(user.pk)
        publish.notices_changed(user.pk)
        publish.hooks_changed()
        time.sleep(0.1)  # what is told together has no order
        publish.library_changed()
        while "library" not in found:
            found |= {topic.partition(":")[0] for topic in json.loads(live.recv(timeout=20))["changed"]}
    return found


KEY = b"\x04\x01\x00\x00\x00\x00\x00\x61"
PLEASE = b"\x03\x00\x00\x00\x00\x00\x00\x10\x00\x10"


def what_a_console_is_for(person: Person) -> str:
    right, level = SOCKETS["console"], person.machine
    if level is None or level < right.looking:
        return "nothing"
    assert isinstance(right.changes, Level)
    return "using" if level >= right.changes else "looking"


def console_of(browser: Browser, machine: Machine, screen: Screen) -> str:
    """What comes through of a key that is pressed."""
    ticket = browser.web.post(f"/console/{machine.pk}/ticket/")
    if ticket.status_code in (403, 404):
        assert screen.nobody_came()
        return "nothing"
    with browser.console(machine, ticket.json()["ticket"]) as console, screen.looked_at() as vnc:
        console.send(b"RFB 003.008\n\x01\x01" + KEY)
        console.send(PLEASE)
        return "using" if KEY in until(vnc, PLEASE) else "looking"


def until(source: socket.socket, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        piece = source.recv(65536)
        assert piece, found
        found += piece
    return found
