"""The site's tables: for administrators alone, by the site's own door, read-only where a change would go past the engine."""

from __future__ import annotations

import json

import pytest
from django.test import Client
from django.urls import reverse

from portal.accounts.models import User
from portal.audit.models import Entry
from portal.hooks.models import Hook
from portal.images.models import Image
from portal.machines import services
from portal.machines.models import Machine
from portal.tables.rows import TABLES, Readable, Renamable, site
from portal.teams.models import Team
from tests.web.people import image_named, signed_in
from tests.web.test_security_headers import Inline, check_headers

LISTS = [reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") for model in TABLES]


def test_nobody_but_an_administrator_finds_anything_there(ann: User, ben: User, boss: User) -> None:
    ben.audits = ben.approves = ben.is_superuser = True
    ben.save()
    for address in ("/admin/", "/admin/jsi18n/", "/admin/nothing/", *LISTS):
        assert Client().get(address)["Location"].startswith("/sign-in/"), address
        for person in (ann, ben):
            refused = 403 if person.audits else 404  # who reads everything knows that it is there
            assert signed_in(person).get(address).status_code == refused, address
    assert signed_in(boss).get("/admin/").status_code == 200


def test_there_is_no_second_door(boss: User) -> None:
    for address in ("/admin/login/", "/admin/logout/", "/admin/password_change/"):
        assert signed_in(boss).get(address).status_code == 404
    assert "login" not in {getattr(each, "name", None) for each in site.get_urls()}


def test_each_table_is_a_page_without_code_of_its_own(running: Machine, boss: User) -> None:
    image_named()
    browser = signed_in(boss)
    for address in ("/admin/", *LISTS):
        answer = browser.get(address)
        assert answer.status_code == 200, address
        assert Inline(answer.content.decode()).found == [], address
        check_headers(answer)


def test_what_goes_past_the_engine_is_there_to_be_looked_at_only(
    running: Machine, ann: User, boss: User
) -> None:
    image_named()
    browser = signed_in(boss)
    looked_at = 0
    for model, rows in TABLES.items():
        names = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        row = model._default_manager.first()
        if not issubclass(rows, Readable) or row is None:
            continue
        change, delete = (reverse(f"{names}_{what}", args=[row.pk]) for what in ("change", "delete"))
        page = browser.get(change)
        assert (page.status_code, Inline(page.content.decode()).found) == (200, []), change
        before = model._default_manager.filter(pk=row.pk).values().get()
        if not issubclass(rows, Renamable):
            assert (
                browser.post(change, {"name": "another", "power": "off", "is_staff": "on"}).status_code == 403
            )
        assert browser.post(delete, {"post": "yes"}).status_code == 403
        assert browser.post(reverse(f"{names}_add"), {"name": "x"}).status_code == 403
        assert browser.post(
            reverse(f"{names}_changelist"), {"action": "delete_selected", "_selected_action": row.pk}
        ).status_code in (200, 302, 403)
        assert model._default_manager.filter(pk=row.pk).values().get() == before
        looked_at += 1
    assert looked_at > 8


def test_no_secret_is_shown(running: Machine, boss: User) -> None:
    services.machine_force_off(machine=running, by=boss)
    Machine.objects.update(seed={"password_hash": "the-guests-secret"})
    hook = Hook.objects.create(name="chat", address="https://chat.example.org/")
    browser = signed_in(boss)
    pages = [
        browser.get(reverse(f"admin:{label}_change", args=[pk])).content.decode()
        for label, pk in (
            ("accounts_user", boss.pk),
            ("machines_machine", running.pk),
            ("hooks_hook", hook.pk),
        )
    ]
    for secret in (boss.password, hook.secret, "the-guests-secret"):
        assert secret not in "".join(pages)


def test_what_is_only_said_of_a_thing_is_changed_there_and_each_change_is_a_line(boss: User) -> None:
    image = image_named("Debian")
    sha = image.sha256
    address = reverse("admin:images_image_change", args=[image.pk])
    answer = signed_in(boss).post(
        address, {"name": "Debian 13", "system": "", "version": "", "sha256": "00", "size_bytes": "1"}
    )
    assert answer.status_code == 302
    image = Image.objects.get()
    assert (image.name, image.sha256, image.size_bytes) == ("Debian 13", sha, 4096)
    line = Entry.objects.get(action="admin_changed")
    assert (line.actor_name, line.object_name, line.details["table"]) == ("boss", "Debian 13", "images.Image")
    assert "ame" in json.dumps(line.details["changed"])


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "' onclick=alert(1) x='"])
def test_names_that_are_code_are_words_there_too(boss: User, name: str) -> None:
    team = Team.objects.create(name=name)
    browser = signed_in(boss)
    for address in (
        reverse("admin:teams_team_changelist"),
        reverse("admin:teams_team_change", args=[team.pk]),
    ):
        assert Inline(browser.get(address).content.decode()).found == []
