"""What a person meets who does the wrong thing: words that say what happened and what to do, and nothing lost."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.pages import Door, Library, NewMachine


def test_a_wrong_password_is_told_as_such_and_the_page_behind_the_door_opens_after_the_right_one(
    site: Site, stranger: Page
) -> None:
    stranger.goto("/discs/")
    stranger.get_by_label("Name").fill(site.name)
    stranger.get_by_label("Password").fill("not this")
    stranger.get_by_role("button", name="Sign in").click()
    expect(stranger.get_by_role("alert")).to_have_text(re.compile("The name or the password is wrong"))
    expect(stranger.get_by_label("Name")).to_have_value(site.name)
    stranger.get_by_label("Password").fill(site.password)
    stranger.get_by_role("button", name="Sign in").click()
    expect(stranger.get_by_role("heading", name="Discs", exact=True)).to_be_visible()


def test_a_file_that_is_no_disc_is_refused_in_words_and_leaves_nothing(
    site: Site, page: Page, tmp_path: Path
) -> None:
    wrong = tmp_path / "holiday.iso"
    wrong.write_bytes(b"\xff\xd8\xff\xe0" + bytes(3_000_000))
    library = Library(page)
    library.open()
    library.upload(wrong)
    expect(page.locator("#upload-list")).to_have_text(re.compile("is not a disc image"))
    expect(library.row("holiday")).to_have_count(0)
    left = [path for path in (site.launcher.state / "portal" / "uploads").rglob("*") if path.is_file()]
    assert left == []
    assert not list((site.launcher.state / "portal" / "library").glob("*.iso"))


def test_a_form_with_mistakes_comes_back_with_all_that_was_typed(page: Page) -> None:
    page.goto("/machines/new/")
    form = NewMachine(page)
    form.fill(name="", disk_gib=12)
    form.custom(cpus="300", memory_gib="0.1")
    form.create()
    expect(page.get_by_text("Nothing was made yet")).to_be_visible()
    expect(page.locator("#id_name")).to_have_attribute("aria-invalid", "true")
    for field, words in (("id_name", "name"), ("id_cpus", "256"), ("id_memory_gib", "0.25")):
        described = page.locator(f"#{field}").get_attribute("aria-describedby")
        assert described
        expect(page.locator(f"#{described}")).to_have_text(re.compile(words))
    expect(page.get_by_label("Disk", exact=True)).to_have_value("12")
    expect(page.get_by_label("Processors")).to_have_value("300")
    expect(page.get_by_label("Memory (GB)")).to_have_value("0.1")
    page.goto("/machines/")
    expect(page.get_by_role("heading", name="Make your first machine")).to_be_visible()


def test_more_memory_than_any_host_has_is_refused_with_what_there_is(page: Page) -> None:
    page.goto("/machines/new/")
    form = NewMachine(page)
    form.fill(name="giant")
    form.custom(cpus="1", memory_gib="4000")
    form.create()
    expect(
        page.get_by_text(re.compile(r"No host has that much memory free: the most is \d+\.\d GB now"))
    ).to_be_visible()


def test_an_address_that_is_not_there_leads_back(page: Page) -> None:
    page.goto("/machines/00000000-0000-4000-8000-000000000000/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.locator("main").get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Machines", exact=True)).to_be_visible()


def test_who_is_signed_out_in_another_window_is_led_to_the_door(site: Site, page: Page) -> None:
    other = page.context.new_page()
    other.goto("/machines/")
    other.locator("summary").click()
    other.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password")).to_be_visible(timeout=20_000)
    Door(page).sign_in(site.name, site.password)
    expect(page.get_by_role("heading", name="Machines", exact=True)).to_be_visible()
