"""What pages show of the system inside a machine, how a password gets there, and what a cloud image is told at its start."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from passlib.hash import sha512_crypt

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.fleet.models import Host
from portal.images.models import Image, ImageKind, ImageState
from portal.machines import services
from portal.machines.models import Machine
from portal.machines.reports import observed_take
from portal.machines.seeds import last_used, seed_from, ssh_keys_in
from portal.machines.specs import spec_of
from portal.networks.names import host_name_for
from portal.networks.services import private_network
from portal.refusal import Refused
from tests.web.people import done, image_named, machine_of, newest, seen, signed_in, wish
from workers.contract.acts import SetPassword
from workers.contract.messages import AgentFacts, AgentState, ApplyMachine, Observed
from workers.contract.spec import GIB, SeedSpec
from workers.contract.version import from_wire

pytestmark = pytest.mark.django_db

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ann@laptop"
FACTS = AgentFacts(
    state=AgentState.ANSWERS,
    system="Debian GNU/Linux 12 (bookworm)",
    host_name="web-1",
    addresses=("192.168.57.10", "2001:db8::5"),
)
SECRET = "a long enough secret"
TYPED = {"account": "root", "password": SECRET, "again": SECRET}


def with_agent(machine: Machine, **changes: Any) -> Machine:
    """The machine after its host has told what its agent says."""
    assert observed_take(seen(machine, agent=FACTS.model_copy(update=changes)))
    machine.refresh_from_db()
    return machine


def page_of(user: User, machine: Machine) -> str:
    return signed_in(user).get(f"/machines/{machine.pk}/").content.decode()


def test_its_system_its_name_and_its_addresses_stand_on_its_page_and_in_the_list(
    running: Machine, ann: User
) -> None:
    with_agent(running)
    page = page_of(ann, running)
    for words in ("Debian GNU/Linux 12 (bookworm)", "web-1", "2001:db8::5", "Set a password"):
        assert words in page
    listed = signed_in(ann).get("/machines/").content.decode()
    assert "Debian GNU/Linux 12 (bookworm)" in listed
    assert "2001:db8::5" in listed


def test_no_agent_one_that_is_silent_and_one_nobody_has_looked_for_are_told_apart(
    running: Machine, ann: User
) -> None:
    assert "Inside the machine" not in page_of(ann, running)
    with_agent(running, state=AgentState.ABSENT, system="", host_name="", addresses=())
    page = page_of(ann, running)
    assert "No guest agent runs in it" in page
    assert "apt install qemu-guest-agent" in page
    with_agent(running, state=AgentState.SILENT)
    page = page_of(ann, running)
    assert "does not answer now" in page
    assert "2001:db8::5" in page
    assert "Set a password" not in page
    off = done(running, Observed.OFF, agent=FACTS)
    assert "Inside the machine" not in page_of(ann, off)


def test_what_a_guest_says_is_text(running: Machine, ann: User) -> None:
    with_agent(running, system="<script>alert(1)</script>", host_name="'\"><b>")
    for address in (f"/machines/{running.pk}/", "/machines/"):
        page = signed_in(ann).get(address).content.decode()
        assert "<script>alert" not in page
        assert "<b>" not in page


def test_a_password_leaves_the_request_as_a_hash_alone(running: Machine, ann: User) -> None:
    with_agent(running)
    answer = signed_in(ann).post(f"/machines/{running.pk}/password/", TYPED)
    assert (answer.status_code, answer["Location"]) == (302, f"/machines/{running.pk}/")
    operation = newest(running)
    act = from_wire(ApplyMachine, operation.message).act
    assert isinstance(act, SetPassword)
    assert (operation.kind, act.account) == (Kind.SET_PASSWORD, "root")
    assert sha512_crypt.verify(SECRET, act.password_hash)
    assert SECRET not in json.dumps(list(Operation.objects.values()), default=str)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"account": ""}, "Say whose password"),
        ({"account": "root; reboot"}, "no name of an account"),
        ({"password": "short", "again": "short"}, "8 to 128 characters"),
        ({"password": "line\nline two", "again": "line\nline two"}, "visible characters only"),
        ({"again": "another one"}, "not the same"),
    ],
)
def test_what_is_wrong_with_it_is_said_at_its_field_and_no_password_comes_back(
    running: Machine, ann: User, changes: dict[str, str], words: str
) -> None:
    with_agent(running)
    before = newest(running)
    answer = signed_in(ann).post(f"/machines/{running.pk}/password/", TYPED | changes)
    page = answer.content.decode()
    assert (answer.status_code, words in page) == (422, True)
    assert SECRET not in page
    assert newest(running) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": AgentState.ABSENT}, "has no guest agent"),
        ({"state": AgentState.SILENT}, "does not answer now"),
        ({"system": "Microsoft Windows 11"}, "Windows takes a password only from inside"),
    ],
)
def test_without_an_agent_that_can_nothing_is_asked(
    running: Machine, ann: User, changes: dict[str, Any], words: str
) -> None:
    with_agent(running, **changes)
    before = newest(running)
    answer = signed_in(ann).post(f"/machines/{running.pk}/password/", TYPED)
    assert words in answer.content.decode().replace("&#x27;", "'")
    assert newest(running) == before


def seed(**changes: str) -> SeedSpec:
    fields = {
        "machine_name": "Web server", "user": "ann", "ssh_keys": KEY, "password": "", "packages": "htop, nginx",
    }  # fmt: skip
    return seed_from(**(fields | changes))


def test_what_was_typed_becomes_a_seed_that_travels_with_the_machine(rack: Host, ann: User) -> None:
    machine = machine_of(ann, "Web server", seed=seed(password=SECRET))
    told = spec_of(machine).seed
    assert told is not None
    assert (told.user, told.ssh_keys, told.host_name) == ("ann", (KEY,), "web-server")
    assert told.packages == ("htop", "nginx")
    assert sha512_crypt.verify(SECRET, told.password_hash)
    assert SECRET not in json.dumps(list(Operation.objects.values()), default=str)
    assert f"ssh ann@{machine.nics.get().address}" in page_of(ann, machine)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"user": "Ann"}, "user", "begins with a small letter"),
        ({"user": "root"}, "user", "has an account of this name already"),
        ({"user": "ann:x"}, "user", "begins with a small letter"),
        ({"ssh_keys": ""}, "ssh_keys", "nobody could sign in"),
        ({"ssh_keys": f"{KEY}\nhello"}, "ssh_keys", "Line 2 is no SSH public key"),
        ({"ssh_keys": KEY.replace("AAAAC3", "AAAAC4")}, "ssh_keys", "Line 1"),
        ({"ssh_keys": f'command="x" {KEY}'}, "ssh_keys", "Line 1"),
        ({"ssh_keys": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl"}, "ssh_keys", "your private key"),
        ({"ssh_keys": "\n".join(f"{KEY}{i}" for i in range(21))}, "ssh_keys", "At most 20"),
        ({"password": "short"}, "password", "8 to 128"),
        ({"packages": "htop; reboot"}, "packages", "“htop;” is no name"),
        ({"packages": "--yes"}, "packages", "is no name"),
        ({"packages": " ".join(f"p{i}" for i in range(51))}, "packages", "At most 50"),
    ],
)
def test_a_seed_that_would_not_work_is_refused_at_its_field(
    changes: dict[str, str], field: str, words: str
) -> None:
    with pytest.raises(Refused, match=words) as refusal:
        seed(**changes)
    assert refusal.value.field == field


def test_keys_are_taken_one_a_line_once_each_without_remarks() -> None:
    assert ssh_keys_in(f"# mine\n\n  {KEY}  \r\n{KEY}\n") == (KEY,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Web server", "web-server"),
        ("db_1.example", "db-1-example"),
        ("Größe", "groe"),
        ("機械", "machine"),
        ("-" * 5 + "x" * 80, "x" * 63),
    ],
)
def test_a_host_name_comes_close_to_the_machines_name(name: str, expected: str) -> None:
    assert host_name_for(name) == expected
    SeedSpec(user="ann", host_name=expected)


def test_the_account_and_keys_of_the_last_time_stand_there_again(rack: Host, ann: User) -> None:
    assert last_used(ann) == {"user": "ann", "ssh_keys": ""}
    services.machine_create(owner=ann, requested_by=ann, wish=wish("one", seed=seed(user="me")))
    assert last_used(ann) == {"user": "me", "ssh_keys": KEY}


@pytest.fixture
def cloud(db: None) -> Image:
    """A cloud image of the library."""
    return image_named(
        "Debian 12 cloud", kind=ImageKind.DISK, state=ImageState.READY, is_cloud=True, virtual_bytes=2 * GIB
    )


def filled(image: Image | None, **changes: str) -> dict[str, str]:
    """The form of a new machine as a person fills it in."""
    fields = {
        "name": "web", "guest": "linux", "size": "small", "disk_gib": "10", "disk_kind": "growing",
        "network": str(private_network().pk), "image_disk": str(image.pk) if image else "",
        "seed-user": "ann", "seed-ssh_keys": KEY, "seed-password": "", "seed-packages": "htop",
    }  # fmt: skip
    return fields | changes


def test_a_cloud_image_is_asked_for_its_first_settings(rack: Host, cloud: Image, ann: User) -> None:
    page = signed_in(ann).get("/machines/new/").content.decode()
    assert "data-is-cloud" in page
    assert 'value="qemu-guest-agent"' in page
    answer = signed_in(ann).post("/machines/new/", filled(cloud))
    assert answer.status_code == 302
    told = spec_of(Machine.objects.get()).seed
    assert told == SeedSpec(user="ann", ssh_keys=(KEY,), host_name="web", packages=("htop",))


def test_another_machine_is_not_asked_for_them(rack: Host, cloud: Image, ann: User) -> None:
    cloud.is_cloud = False
    cloud.save()
    for number, image in enumerate((None, cloud)):
        hidden = {"name": f"web {number}", "seed-user": "NOT ASKED", "seed-ssh_keys": "nonsense"}
        assert signed_in(ann).post("/machines/new/", filled(image, **hidden)).status_code == 302
    assert not Machine.objects.filter(seed__isnull=False).exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed-ssh_keys": "hello"}, "Line 1 is no SSH public key"),
        ({"seed-user": "root"}, "has an account of this name already"),
        ({"name": "", "seed-password": SECRET}, "Type the password once more"),
        ({"seed-packages": "a;b"}, "is no name of a package"),
        ({"disk_gib": "1"}, "at least 2 GB"),
    ],
)
def test_a_mistake_is_said_at_its_field_and_what_was_typed_is_kept(
    rack: Host, cloud: Image, ann: User, changes: dict[str, str], words: str
) -> None:
    answer = signed_in(ann).post("/machines/new/", filled(cloud, **changes))
    page = answer.content.decode()
    assert (answer.status_code, words in page) == (422, True)
    assert SECRET not in page
    assert "Nothing was made yet" in page
    for field in ("seed-user", "seed-packages"):
        assert f'value="{filled(cloud, **changes)[field]}"' in page
    assert not Machine.objects.exists()


def test_a_private_key_is_not_shown_again(rack: Host, cloud: Image, ann: User) -> None:
    private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r"
    page = signed_in(ann).post("/machines/new/", filled(cloud, **{"seed-ssh_keys": private})).content.decode()
    assert "That is your private key" in page
    assert "b3BlbnNzaC1r" not in page


def test_the_password_page_says_what_is_missing(running: Machine, ann: User) -> None:
    page = signed_in(ann).get(f"/machines/{running.pk}/password/").content.decode()
    assert "a guest agent in it has to answer" in page
    assert Client().get(f"/machines/{running.pk}/password/").status_code == 302
