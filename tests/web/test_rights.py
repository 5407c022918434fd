"""Who may do what: every address of the portal, as each kind of person, with each method, with and without the token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import models
from django.forms.models import model_to_dict
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.backups.models import Backup, BackupPlan
from portal.console.models import ConsoleTicket
from portal.exports.models import Export
from portal.hooks.models import Delivery, Hook
from portal.images import parts
from portal.images.models import Download, Image, Upload
from portal.machines.models import Disk, Machine, Nic, Snapshot, Template
from portal.machines.specs import spec_of
from portal.networks.models import Network, PublishedPort, Uplink
from portal.notices.models import Choice, Notice
from tests.web.people import image_named, nobody, signed_in
from workers.contract.tokens import Purpose, issue

TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "10", "Upload-Metadata": "filename YQ=="}
PEOPLE = ("nobody", "stranger", "owner", "administrator")


@dataclass(frozen=True)
class Rule:
    """An address: the method that it is for, and what it answers to nobody, stranger, owner and administrator."""

    method: str
    nobody: int
    stranger: int
    owner: int
    administrator: int
    changes: bool = False
    """A GET is refused with 405, and it does nothing without the page's token."""
    refused: tuple[str, ...] = ()
    """Other methods that are refused with 405."""

    def answer_to(self, person: str) -> int:
        return int(getattr(self, person))


Answers = tuple[int, int, int, int]


def page(*answers: *Answers) -> Rule:
    return Rule("get", *answers, refused=("put", "patch", "delete"))


def reading(*answers: *Answers) -> Rule:
    return Rule("get", *answers, refused=("post", "put", "patch", "delete"))


def change(*answers: *Answers, method: str = "post") -> Rule:
    return Rule(method, *answers, changes=True, refused=("get", "put"))


RULES: dict[str, Rule] = {
    "home": Rule("get", 302, 302, 302, 302),
    "health": Rule("get", 503, 503, 503, 503, refused=("post", "put", "delete")),
    "accounts:sign-in": page(200, 302, 302, 302),
    "accounts:sign-out": change(302, 302, 302, 302),
    "accounts:password": page(302, 200, 200, 200),
    "machines:list": reading(302, 200, 200, 200),
    "machines:new": page(302, 200, 200, 200),
    "machines:detail": reading(302, 404, 200, 200),
    "machines:figures": reading(302, 404, 200, 200),
    "machines:figures-data": reading(302, 404, 200, 200),
    "machines:screen": reading(302, 404, 404, 404),  # there is no picture
    "machines:hardware": reading(302, 404, 200, 200),
    "machines:hardware-size": change(302, 404, 422, 422),
    "machines:hardware-boot": change(302, 404, 422, 422),
    "machines:hardware-limits": change(302, 404, 422, 422),
    "machines:disk-add": change(302, 404, 422, 422),
    "machines:disk-grow": change(302, 404, 422, 422),
    "machines:disk-remove": change(302, 404, 302, 302),
    "machines:card-add": change(302, 404, 422, 422),
    "machines:card-remove": change(302, 404, 302, 302),
    "machines:start": change(302, 404, 302, 302),
    "machines:shut-down": change(302, 404, 302, 302),
    "machines:restart": change(302, 404, 302, 302),
    "machines:force-off": change(302, 404, 302, 302),
    "machines:finish-installation": change(302, 404, 302, 302),
    "machines:insert-disc": change(302, 404, 302, 302),
    "machines:change-firmware": change(302, 404, 302, 302),
    "machines:network": reading(302, 404, 200, 200),
    "machines:port-publish": change(302, 404, 422, 422),
    "machines:port-withdraw": change(302, 404, 302, 302),
    "machines:firewall-set": change(302, 404, 422, 422),
    "machines:rule-add": change(302, 404, 422, 422),
    "machines:rule-remove": change(302, 404, 302, 302),
    "machines:rule-move": change(302, 404, 302, 302),
    "machines:copies": reading(302, 404, 200, 200),
    "machines:clone": change(302, 404, 422, 422),  # it needs the machine to be off, and a name
    "machines:publish": change(302, 404, 422, 422),
    "machines:move-disk": change(302, 404, 302, 302),
    "templates:list": reading(302, 200, 200, 200),
    "templates:use": page(302, 404, 200, 200),
    "templates:delete": change(302, 404, 302, 302),
    "machines:password": page(302, 404, 200, 200),
    "machines:pause": change(302, 404, 302, 302),
    "machines:resume": change(302, 404, 302, 302),
    "machines:reset": change(302, 404, 302, 302),
    "machines:hibernate": change(302, 404, 302, 302),
    "machines:wake": change(302, 404, 302, 302),
    "machines:start-anew": change(302, 404, 302, 302),
    "machines:autostart": change(302, 404, 302, 302),
    "machines:cancel": change(302, 404, 302, 302),
    "machines:delete": change(302, 404, 302, 302),
    "machines:backups": reading(302, 404, 200, 200),
    "machines:back-up": change(302, 404, 422, 422),
    "machines:backup-plan": change(302, 404, 422, 422),
    "machines:export": change(302, 404, 302, 302),
    "machines:export-file": Rule("head", 302, 404, 200, 200, refused=("post", "put", "patch", "delete")),
    "machines:export-remove": change(302, 404, 302, 302),
    "exports:receive": Rule("head", 401, 401, 401, 401, refused=("get", "post", "put", "delete")),
    "backups:list": reading(302, 200, 200, 200),
    "backups:verify": change(302, 404, 302, 302),
    "backups:restore": page(302, 404, 200, 200),
    "backups:delete": change(302, 404, 302, 302),
    "machines:snapshots": Rule("get", 302, 404, 200, 200, refused=("put", "patch", "delete")),
    "machines:snapshot-revert": change(302, 404, 302, 302),
    "machines:snapshot-delete": change(302, 404, 302, 302),
    "machines:snapshot-rename": change(302, 404, 302, 302),
    "console:ticket": change(302, 404, 200, 200),
    "images:library": reading(302, 200, 200, 200),
    "images:uploads": change(401, 201, 201, 201),
    "images:upload": change(401, 404, 204, 404, method="delete"),
    "images:delete": change(
        302, 302, 302, 302
    ),  # a disc is everybody's to see; who may not delete it is told so
    "images:download": change(302, 404, 404, 302),
    "images:download-change": change(302, 404, 404, 302),
    "images:edit": page(302, 404, 200, 200),
    "images:file": reading(401, 401, 401, 401),  # for hosts, which show a token
    "fleet:list": reading(302, 404, 404, 200),
    "fleet:detail": reading(302, 404, 404, 200),
    "fleet:figures-data": reading(302, 404, 404, 200),
    "fleet:bridge-make": change(302, 404, 404, 422),
    "fleet:bridge-remove": change(302, 404, 404, 302),
    "networks:list": reading(302, 200, 200, 200),
    "networks:new": page(302, 404, 404, 200),
    "networks:detail": reading(302, 404, 404, 200),
    "networks:rename": change(302, 404, 404, 422),
    "networks:subnet": change(302, 404, 404, 422),
    "networks:ipv6": change(302, 404, 404, 422),
    "networks:delete": change(302, 404, 404, 302),
    "networks:uplink-set": change(302, 404, 404, 422),
    "networks:uplink-remove": change(302, 404, 404, 302),
    "networks:uplink-bridge": change(302, 404, 404, 422),
    "machines:activity": reading(302, 404, 200, 200),
    "audit:site": reading(302, 404, 404, 200),
    "audit:mine": reading(302, 200, 200, 200),
    "audit:person": reading(302, 404, 200, 200),
    "audit:check": change(302, 404, 404, 302),
    "notices:list": reading(302, 200, 200, 200),
    "notices:bell": reading(302, 200, 200, 200),
    "notices:read": change(302, 302, 302, 302),
    "notices:choices": page(302, 200, 200, 200),
    "notices:open": change(302, 404, 302, 404),
    "hooks:list": reading(302, 404, 404, 200),
    "hooks:new": page(302, 404, 404, 200),
    "hooks:detail": page(302, 404, 404, 200),
    "hooks:test": change(302, 404, 404, 302),
    "hooks:secret": change(302, 404, 404, 302),
    "hooks:delete": change(302, 404, 404, 302),
    "impersonation:begin": change(302, 404, 404, 302),
    "impersonation:end": change(302, 404, 404, 404),
}
CHANGING = [name for name, rule in RULES.items() if rule.changes]
OF_A_MACHINE = [
    name for name in RULES if name.startswith(("machines:", "console:")) and RULES[name].stranger == 404
]


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
def addresses(running: Machine, ann: User) -> dict[str, str]:
    """Every address of the table, of things that are Ann's."""
    image = image_named(added_by=ann)
    upload = Upload.objects.create(owner=ann, name="netinst", length_bytes=100)
    arguments: dict[str, dict[str, Any]] = {name: {"machine_id": running.pk} for name in OF_A_MACHINE}
    download = Download.objects.create(key="debian-netinst", name="Debian")
    arguments["images:download-change"] = {"download_id": download.pk, "wish": "pause"}
    snapshot = Snapshot.objects.create(
        machine=running, name="clean", is_ready=True, spec=spec_of(running).to_wire()["body"]
    )
    for name in OF_A_MACHINE:
        if name.startswith("machines:snapshot-"):
            arguments[name]["snapshot_id"] = snapshot.pk
    arguments["images:upload"] = {"upload_id": upload.pk}
    arguments["images:delete"] = arguments["images:edit"] = arguments["images:file"] = {"image_id": image.pk}
    for name in ("machines:move-disk", "machines:disk-grow", "machines:disk-remove"):
        arguments[name]["disk_id"] = running.disks.get().pk
    arguments["machines:card-remove"]["nic_id"] = running.nics.get().pk
    template = Template.objects.create(
        owner=ann, host=running.host, name="base", hardware=spec_of(running).model_dump(mode="json")
    )
    arguments["templates:use"] = arguments["templates:delete"] = {"template_id": template.pk}
    backup = Backup.objects.create(
        machine=running, source_id=running.pk, machine_name="web", owner=ann, host=running.host, place="main",
        state="ready", spec=spec_of(running).model_dump(mode="json"),
    )  # fmt: skip
    for name in ("verify", "restore", "delete"):
        arguments[f"backups:{name}"] = {"backup_id": backup.pk}
    export = Export.objects.create(
        machine=running, format="ova", file_name="web.ova", is_ready=True, size_bytes=3, sha256="ab" * 32
    )
    parts.make_folder(export.path.parent)
    export.path.write_bytes(b"ova")
    arguments["exports:receive"] = {"export_id": export.pk}
    for name in ("file", "remove"):
        arguments[f"machines:export-{name}"]["export_id"] = export.pk
    nic = running.nics.get()
    port = PublishedPort.objects.create(
        nic=nic, host=running.host, protocol="tcp", host_port=20000, guest_port=22
    )
    arguments["machines:port-withdraw"]["port_id"] = port.pk
    for name in RULES:
        if name.startswith("fleet:") and name != "fleet:list":
            arguments[name] = {"name": "rack-1"}
        if name.startswith("networks:") and name not in ("networks:list", "networks:new"):
            arguments[name] = {"network_id": nic.network_id}
    for name in ("remove", "bridge"):
        arguments[f"networks:uplink-{name}"]["host_id"] = running.host_id
    notice = Notice.objects.create(person=ann, kind="machine_ended", text="It ended.")
    arguments["notices:open"] = {"notice_id": notice.pk}
    hook = Hook.objects.create(name="chat", address="https://chat.example.org/", kinds=["machine_ended"])
    for name in ("detail", "test", "secret", "delete"):
        arguments[f"hooks:{name}"] = {"hook_id": hook.pk}
    arguments["audit:person"] = arguments["impersonation:begin"] = {"user_id": ann.pk}
    return {name: reverse(name, kwargs=arguments.get(name)) for name in RULES}


@pytest.fixture
def people(ann: User, ben: User, boss: User) -> dict[str, User | None]:
    return {"nobody": None, "stranger": ben, "owner": ann, "administrator": boss}


def browser_of(user: User | None, *, csrf: bool = False) -> Client:
    return signed_in(user, csrf=csrf) if user else Client(enforce_csrf_checks=csrf)


def everything() -> list[dict[str, Any]]:
    """All that a request could have changed."""
    tables: tuple[type[models.Model], ...] = (
        Machine, Disk, Nic, Snapshot, Operation, Image, Upload, Backup, BackupPlan, Export, ConsoleTicket, User, Template,
        Network, Uplink, PublishedPort, Notice, Choice, Hook, Delivery,
    )  # fmt: skip
    # The last sign-in of a person changes with every browser of the test.
    return [
        model_to_dict(row, exclude=["last_login"]) | {"pk": row.pk}
        for table in tables
        for row in table._default_manager.order_by("pk")
    ]


def test_every_address_of_the_portal_stands_in_the_table() -> None:
    assert sorted(names(get_resolver())) == sorted(RULES)


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("name", RULES)
def test_every_address_answers_each_person_as_the_table_says(
    addresses: dict[str, str], people: dict[str, User | None], name: str, person: str
) -> None:
    rule = RULES[name]
    before = everything()
    answer = getattr(browser_of(people[person]), rule.method)(addresses[name], headers=TUS)
    assert answer.status_code == rule.answer_to(person)
    if rule.answer_to(person) in (401, 404):
        assert everything() == before
    if person == "nobody" and answer.status_code == 302 and name != "home":
        assert answer["Location"].startswith("/sign-in/")
        assert everything() == before
    elif answer.status_code == 302 and rule.changes and name != "accounts:sign-out":
        assert not answer["Location"].startswith("/sign-in/")


@pytest.mark.parametrize("name", OF_A_MACHINE)
def test_a_strangers_machine_looks_like_one_that_is_not_there(
    addresses: dict[str, str], people: dict[str, User | None], running: Machine, name: str
) -> None:
    browser = browser_of(people["stranger"])
    method = getattr(browser, RULES[name].method)
    hidden = method(addresses[name])
    missing = method(addresses[name].replace(str(running.pk), str(nobody())))
    assert hidden.status_code == missing.status_code == 404
    if RULES[name].method == "head":  # it has no content
        return
    assert "There is nothing here" in hidden.content.decode()
    # The page's token is another one in each answer.
    assert re.sub(rb'value="\w{64}"', b"", hidden.content) == re.sub(rb'value="\w{64}"', b"", missing.content)


@pytest.mark.parametrize("name", CHANGING)
def test_what_changes_something_refuses_to_be_read(
    addresses: dict[str, str], people: dict[str, User | None], name: str
) -> None:
    before = everything()
    for person in ("owner", "administrator"):
        answer = browser_of(people[person]).get(addresses[name], headers=TUS)
        assert answer.status_code == 405
    assert everything() == before


@pytest.mark.parametrize("name", [name for name in RULES if RULES[name].refused])
def test_a_method_that_an_address_is_not_for_is_refused(
    addresses: dict[str, str], people: dict[str, User | None], name: str
) -> None:
    before = everything()
    browser = browser_of(
        people["administrator" if name.startswith(("fleet", "networks", "hooks", "audit")) else "owner"]
    )
    for method in RULES[name].refused:
        if name == "accounts:sign-in":  # who is signed in already is sent on, whatever the method
            browser = Client()
        if name.startswith("accounts:") and method == "put":
            continue  # Django's form views take a PUT for a POST
        assert getattr(browser, method)(addresses[name], headers=TUS).status_code == 405, method
    assert everything() == before


@pytest.mark.parametrize("name", [*CHANGING, "accounts:sign-in", "accounts:password", "machines:new"])
def test_nothing_changes_without_the_pages_token(
    addresses: dict[str, str], people: dict[str, User | None], name: str
) -> None:
    rule = RULES[name]
    method = rule.method if rule.changes else "post"
    before = everything()
    person = None if name == "accounts:sign-in" else people["owner"]
    browser = browser_of(person, csrf=True)
    answer = getattr(browser, method)(addresses[name], {"name": "web"}, headers=TUS)
    assert answer.status_code == 403
    assert "This page was open for too long" in answer.content.decode()
    assert everything() == before
    token = {"X-CSRFToken": "A" * 32}
    assert getattr(browser, method)(addresses[name], headers=TUS | token).status_code == 403
    assert everything() == before


def test_a_list_shows_a_persons_own_machines_and_all_to_an_administrator(
    running: Machine, ann: User, ben: User, boss: User
) -> None:
    link = f"/machines/{running.pk}/"
    assert link in signed_in(ann).get("/machines/").content.decode()
    assert link in signed_in(boss).get("/machines/").content.decode()
    for query in ("", "?q=web", "?q=192.168", "?q=ann", "?q=rack"):
        assert link not in signed_in(ben).get(f"/machines/{query}").content.decode()


def test_a_disc_that_is_anothers_is_not_deleted(
    addresses: dict[str, str], people: dict[str, User | None]
) -> None:
    browser = browser_of(people["stranger"])
    assert "Nothing was deleted" in browser.post(addresses["images:delete"], follow=True).content.decode()
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
