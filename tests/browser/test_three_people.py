"""Three people's whole ways: who needs more than the quota, who makes machines for a class, who has no business here.

One installation, real guests of one boot sector, a browser for each person.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.cast import PASSWORD, deaf, enter, keep, make_people, window_of
from tests.browser.conftest import Site
from tests.browser.pages import Door, Library, MachinePage, NewMachine, go_to
from tests.browser.screen import difference, in_the_browser, in_the_machine, text_of
from tests.guest.boot_sector import WORDS, boot_sector_disk
from tests.lab.processes import QEMU, processes_of
from tests.lab.waiting import wait_for
from workers.plan.names import MachineFolder

IMAGE = "small system"
_NOTE_PROGRESS = """() => {
  const part = document.getElementById("class-progress");
  const note = () => window.seen.push(part.querySelector("progress").value);
  window.seen = [];
  note();
  new MutationObserver(note).observe(part, { subtree: true, attributes: true, childList: true });
}"""
PUPILS = [f"pupil{n:02}" for n in range(30)]
STARTED = 5
_ID = re.compile(r"/machines/([0-9a-f-]{36})/")
_THINGS = """
from portal.classes.models import Class
from portal.quotas.amounts import Limits
from portal.quotas.services import quota_set
from portal.requests.services import quota_ask
from portal.requests.wishes import LargerQuota
User.objects.filter(username="amy").update(approves=True)
ann, olga = User.objects.get(username="ann"), User.objects.get(username="olga")
quota_set(of=ann, limits=Limits(machines=2, running=2, cpus=1, memory_mib=256, disk_bytes=2 * 2**30))
quota_set(of=olga, limits=Limits(machines=3))
asked = quota_ask(by=olga, wanted=LargerQuota(machines=40), reason="A course of mine")
made = Class.objects.create(name="history", template_name="old", made_by=User.objects.filter(is_staff=True).first())
open({path!r}, "w").write(f"/requests/{{asked.pk}}/ /classes/{{made.pk}}/")
"""


@pytest.fixture(scope="module")
def things(site: Site) -> list[str]:
    """Everybody has an account, and there is a disk to start from. Addresses of what is others' business."""
    people = ("ann", "amy", "olga", "ben", "carl", "dora", "eve", "fred", *PUPILS)
    note = site.launcher.state / "portal" / "others"
    make_people(site, people, _THINGS.format(path=str(note)))
    with window_of(site, site.name) as page:
        library = Library(page)
        library.open()
        library.upload(boot_sector_disk(site.folder / f"{IMAGE}.raw"))
        expect(library.row(IMAGE)).to_be_visible(timeout=60_000)
        expect(page.get_by_text("A host looks at it")).to_have_count(0, timeout=60_000)
    return note.read_text().split()


@pytest.fixture(scope="module")
def shared(site: Site, things: list[str]) -> str:
    """Olga's machine, whose screen three others may use; its address."""
    with window_of(site, "olga") as page:
        machine = new_machine(page, "office")
        machine.has_status("Running")
        address = f"/machines/{machine.machine_id}/"
        for name in ("ben", "carl", "fred"):
            page.goto(f"{address}sharing/")
            page.get_by_label("User name").first.fill(name)
            page.get_by_label("They may").select_option(label="use its screen")
            page.get_by_role("button", name="Share", exact=True).click()
            expect(page.locator("#sharing")).to_contain_text(name)
    return address


def new_machine(page: Page, name: str, *, cpus: str = "1", memory_gib: str = "0.25") -> MachinePage:
    """Ask the wizard for a machine of one's own size, which starts from the small system."""
    page.goto("/machines/new/")
    form = NewMachine(page)
    form.fill(name=name, disk_gib=1)
    label = page.locator("#id_image_disk option").filter(has_text=IMAGE).inner_text()
    page.get_by_label("Start from a disk image").select_option(label=label)
    form.custom(cpus=cpus, memory_gib=memory_gib)
    form.create()
    return MachinePage(page)


def shows_its_screen(machine: MachinePage, folder: MachineFolder) -> None:
    """The guest is up, and the browser shows what the emulator has."""
    machine.has_screen()
    wait_for("the guest says that it is up", lambda: WORDS in text_of(folder.qmp_socket), seconds=30)
    wait_for(
        "the browser shows it",
        lambda: (
            difference(in_the_browser(machine.canvas), in_the_machine(folder.qmp_socket, folder.run)) < 0.005
        ),
        seconds=20,
    )


def test_who_needs_more_than_the_quota_asks_and_has_the_machine_when_somebody_has_approved(
    site: Site, things: list[str]
) -> None:
    with window_of(site, "ann") as hers, window_of(site, "amy") as page:
        go_to(page, "Requests")
        waiting = page.locator("#requests-waiting")
        expect(waiting).to_have_text("1")  # another one's
        expect(page.locator("#request-list")).not_to_contain_text("render")
        _ask(hers)
        expect(page.locator("#request-list")).to_contain_text("render")
        expect(waiting).to_have_text("2")
        keep(page, "way-requests")

        hers.evaluate("window.wasNotReloaded = true")
        page.locator("#request-list").get_by_role("link", name="render").click()
        facts = page.locator("#request-facts")
        for words in ("ann", "2 processors", "512 MB", "A film for the course", "the quota is 1 processor"):
            expect(facts).to_contain_text(words)
        expect(page.get_by_text("What ann has")).to_be_visible()
        expect(page.locator("[data-field=cpus]")).to_contain_text("0 of 1, afterwards 2")
        expect(page.get_by_text("What the hosts have left")).to_be_visible()
        expect(page.get_by_text("fits", exact=True)).to_be_visible()
        keep(page, "way-decide")
        page.get_by_label("Comment").fill("For how many people?")
        page.get_by_role("button", name="Ask back").click()
        answer = hers.get_by_label("Your answer")
        answer.fill("For three.")
        expect(hers.locator("#time-line")).to_contain_text("For how many people?")
        hers.get_by_role("button", name="Answer", exact=True).click()
        expect(hers.locator("#time-line")).to_contain_text("For three.")
        hers.evaluate("window.wasNotReloaded = true")
        page.reload()
        page.get_by_label("Comment").fill("One processor is enough for that.")
        page.get_by_text("Approve less").click()
        page.get_by_label("Processors").fill("1")
        page.get_by_role("button", name="Approve this much").click()
        expect(page.locator("#request-head")).to_contain_text("Approved")
        expect(waiting).to_have_text("1")

        story = hers.locator("#time-line")
        expect(story).to_contain_text("One processor is enough for that.")
        expect(hers.locator("#request-head")).to_contain_text("Approved")
        expect(hers.locator("#request-facts")).to_contain_text("1 processor")
        expect(hers.get_by_role("button", name="Withdraw")).to_have_count(0)
        expect(hers.locator("[data-field=machines]")).to_contain_text("1 of 2")
        assert hers.evaluate("window.wasNotReloaded")
        keep(hers, "way-approved")
        story.get_by_role("link", name="see how it is").click()

        machine = MachinePage(hers)
        machine.has_status("Running")
        shows_its_screen(machine, site.machine(machine.machine_id))
        expect(hers.locator("dt:text-is('Processors') + dd")).to_have_text("1")
        expect(hers.get_by_text("29 days left").or_(hers.get_by_text("30 days left"))).to_be_visible()
        keep(hers, "way-machine")


def _ask(page: Page) -> None:
    """The wizard's bars turn, it ends in a question, and its page stays open."""
    page.goto("/machines/new/")
    expect(page.locator("[data-field=cpus]")).to_contain_text("0 of 1")
    form = NewMachine(page)
    form.fill(name="render", disk_gib=1)
    label = page.locator("#id_image_disk option").filter(has_text=IMAGE).inner_text()
    page.get_by_label("Start from a disk image").select_option(label=label)
    form.custom(cpus="1", memory_gib="0.25")
    expect(page.get_by_role("button", name="Create")).to_be_visible()
    form.custom(cpus="2", memory_gib="0.5")
    for field, words in (("cpus", "afterwards 2"), ("memory_mib", "afterwards 512 MB")):
        bar = page.locator(f"[data-field={field}]")
        expect(bar).to_contain_text(words)
        expect(bar).to_have_class(re.compile("is-over"))
    page.get_by_label("What do you need it for?").fill("A film for the course")
    until = datetime.now(UTC) + timedelta(days=30)
    page.get_by_label("Until when").fill(f"{until:%Y-%m-%d}")
    keep(page, "way-ask")
    page.get_by_role("button", name="Ask for it").click()
    expect(page.locator("#time-line")).to_contain_text("waits for a decision")


def test_thirty_people_get_a_machine_each_of_a_template_and_they_are_operated_together(
    site: Site, things: list[str]
) -> None:
    with window_of(site, site.name) as page:
        page.on("dialog", lambda asked: asked.accept())
        _template(page)
        before = site.launcher.network.links()
        running = processes_of(site.launcher.state, QEMU)
        _class(site, page)
        members = page.locator("#class-members")
        addresses = [
            link.get_attribute("href") or "" for link in members.locator("a[href^='/machines/']").all()
        ]
        folders = [site.machine(found[1]) for each in addresses if (found := _ID.match(each))]
        assert len({folder.root for folder in folders if folder.root.is_dir()}) == len(PUPILS)
        assert processes_of(site.launcher.state, QEMU) == running

        address = page.url
        for each in addresses[:STARTED]:
            page.goto(each)
            MachinePage(page).press("Start")
        page.goto(address)
        expect(members.locator(".status", has_text="Running")).to_have_count(STARTED, timeout=60_000)
        assert len(processes_of(site.launcher.state, QEMU)) == len(running) + STARTED
        assert len(site.launcher.network.links()) >= len(before) + STARTED
        _were_up(folders[:STARTED], times=1)
        _is_in_a_pupils_list(site, folders[0])

        page.get_by_role("button", name="Reset all").click()
        expect(page.get_by_text(f"Asked of {STARTED} machines.")).to_be_visible()
        progress = page.locator("#class-progress")
        expect(progress).to_contain_text(f"{STARTED} of 30 done · 25 could not be asked", timeout=60_000)
        _were_up(folders[:STARTED], times=2)
        keep(page, "way-class-reset")

        _delete(page, "cours")
        expect(page.get_by_text("The name does not match. Nothing was deleted.")).to_be_visible()
        expect(members.locator(".status", has_text="Running")).to_have_count(STARTED)
        _delete(page, "course")
        expect(progress).to_contain_text("30 of 30 done", timeout=60_000)
        expect(members.locator(".status", has_text="Deleted")).to_have_count(len(PUPILS))
        assert [folder.root for folder in folders if folder.root.exists()] == []
        assert processes_of(site.launcher.state, QEMU) == running
        assert site.launcher.network.links() == before
        keep(page, "way-class-deleted")
        page.get_by_role("button", name="Take off the list").click()
        expect(page.get_by_role("heading", name="Classes")).to_be_visible()
        expect(page.get_by_role("link", name="course")).to_have_count(0)


def _template(page: Page) -> None:
    """A machine, switched off, and a template of it for everybody."""
    machine = new_machine(page, "course system")
    machine.has_status("Running")
    machine.press("Force off")
    machine.confirm("Force off")
    machine.has_status("Off")
    page.goto(f"{page.url}copies/")
    page.get_by_label("Name of the template").fill("Course")
    page.get_by_role("button", name="Make a template").click()
    expect(page.get_by_role("link", name="New machine")).to_be_visible(timeout=30_000)


def _class(site: Site, page: Page) -> None:
    """From a list in the clipboard to thirty machines; the progress moves while one looks."""
    page.locator(".account-menu summary").click()
    page.get_by_role("link", name="Classes").click()
    page.get_by_role("link", name="New class").click()
    page.get_by_label("Name of the class").fill("course")
    page.get_by_label("Template").select_option(label="Course")
    listed = "\n".join(["user name,machine", *(f"{name}," for name in PUPILS[:29]), "pupil29,the last one"])
    page.evaluate("text => navigator.clipboard.writeText(text)", listed)
    page.get_by_label("People").click()
    page.keyboard.press("Control+V")
    page.get_by_label("Start them at once").uncheck()
    keep(page, "way-class-new")
    page.get_by_role("button", name="Look at what will be made").click()

    rows = page.locator("tbody tr")
    expect(rows).to_have_count(len(PUPILS))
    expect(rows.nth(0)).to_contain_text("pupil00-course")
    expect(rows.nth(29)).to_contain_text("the last one")
    expect(page.get_by_text("They stay off until somebody starts them.")).to_be_visible()
    expect(page.get_by_text("Nothing was made yet.")).to_be_visible()
    keep(page, "way-class-preview")
    with _asleep(site.launcher.children()["host-worker"][0]):
        page.get_by_role("button", name="Make 30 machines").click()
        expect(page.locator("#class-progress")).to_contain_text("0 of 30 done · 30 under way")
        page.evaluate(_NOTE_PROGRESS)
    expect(page.locator("#class-progress")).to_contain_text("30 of 30 done", timeout=60_000)
    seen = page.evaluate("window.seen")
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, len(PUPILS))
    assert len(set(seen)) > 2, seen
    expect(page.locator("#class-members .status", has_text="Off")).to_have_count(len(PUPILS))
    keep(page, "way-class-made")


@contextmanager
def _asleep(process: int) -> Iterator[None]:
    """The host does nothing yet, so that a page is there before the first of thirty machines."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def _were_up(folders: list[MachineFolder], *, times: int) -> None:
    for folder in folders:
        log = folder.console_log
        wait_for(f"the guest was up {times} times", partial(_says, log, times), seconds=30)


def _says(log: Path, times: int) -> bool:
    return log.exists() and log.read_text(errors="replace").count(WORDS) == times


def _is_in_a_pupils_list(site: Site, folder: MachineFolder) -> None:
    with window_of(site, PUPILS[0]) as page:
        page.get_by_role("link", name="pupil00-course").click()
        shows_its_screen(MachinePage(page), folder)


def _delete(page: Page, name: str) -> None:
    page.get_by_role("button", name="Delete all").click()
    page.get_by_label("Type the name of the class").fill(name)
    page.locator("dialog[open]").get_by_role("button", name="Delete all").click()


def test_another_ones_things_are_not_there_whatever_address_is_typed(
    site: Site, things: list[str], shared: str
) -> None:
    with window_of(site, "eve") as page:
        expect(page.get_by_role("link", name="office")).to_have_count(0)
        for address in (*things, shared, f"{shared}sharing/", f"{shared}network/", "/people/", "/hosts/"):
            page.goto(address)
            expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
        keep(page, "way-nothing-here")
        token = next(each["value"] for each in page.context.cookies() if each["name"] == "csrftoken")
        asked = "async ([url, token]) => (await fetch(url, {method: 'POST', headers: {'X-CSRFToken': token}})).status"
        assert page.evaluate(asked, [f"/console/{shared.split('/')[2]}/ticket/", token]) == 404


def test_who_loses_a_share_loses_page_and_screen_at_that_moment(site: Site, shared: str) -> None:
    with window_of(site, "ben") as page, window_of(site, "olga") as hers:
        screen = MachinePage(deaf(page.context.new_page()))
        for each in (page, screen.page):
            each.goto(shared)
            MachinePage(each).has_screen()
        hers.goto(f"{shared}sharing/")
        hers.get_by_role("button", name="Withdraw ben").click()
        expect(page.get_by_role("heading", name="Machines", exact=True)).to_be_visible()
        expect(page.get_by_role("link", name="office")).to_have_count(0)
        _is_closed(screen, "This machine is no longer there for you.")
        keep(screen.page, "way-share-withdrawn")
        page.goto(shared)
        expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()


def test_who_is_switched_off_is_led_to_the_door_and_does_not_come_in_again(site: Site, shared: str) -> None:
    with window_of(site, "carl") as page, window_of(site, site.name) as administrator:
        screen = MachinePage(deaf(page.context.new_page()))
        screen.page.goto(shared)
        screen.has_screen()
        administrator.on("dialog", lambda asked: asked.accept())
        go_to(administrator, "People")
        administrator.get_by_role("link", name="carl").click()
        administrator.get_by_role("button", name="Switch off").click()
        expect(administrator.get_by_role("button", name="Switch on")).to_be_visible()
        expect(page.get_by_label("Password")).to_be_visible()
        _is_closed(screen, "You are signed out.")
        screen.page.reload()
        expect(screen.page.get_by_label("Password")).to_be_visible()
        Door(page).sign_in("carl", PASSWORD)
        expect(page.get_by_role("heading", name="This account is switched off")).to_be_visible()
        keep(page, "way-switched-off")


def test_who_is_signed_out_from_another_browser_loses_the_open_screen(site: Site, shared: str) -> None:
    with window_of(site, "fred") as page, window_of(site, "fred") as elsewhere:
        screen = MachinePage(deaf(page.context.new_page()))
        screen.page.goto(shared)
        screen.has_screen()
        elsewhere.goto("/account/sessions/")
        elsewhere.get_by_role("button", name="Sign out there").click()
        expect(page.get_by_label("Password")).to_be_visible()
        _is_closed(screen, "You are signed out.")
        keep(screen.page, "way-signed-out")
        elsewhere.goto(shared)
        MachinePage(elsewhere).has_screen()


def _is_closed(machine: MachinePage, words: str) -> None:
    expect(machine.page.locator("[data-console-status]")).to_contain_text(words)
    expect(machine.page.locator("#console")).to_have_attribute("data-connected", "no")
    expect(machine.canvas).to_have_count(0)


def test_five_wrong_passwords_close_the_door_to_the_right_one_too(
    site: Site, things: list[str], stranger: Page
) -> None:
    for _ in range(5):
        Door(stranger).sign_in("dora", "not this")
        expect(stranger.get_by_role("alert")).to_contain_text("The name or the password is wrong")
    Door(stranger).sign_in("dora", PASSWORD)
    expect(stranger.get_by_role("heading", name="Too many attempts")).to_be_visible()
    expect(stranger.get_by_text("closed from here for 15 minutes")).to_be_visible()
    keep(stranger, "way-closed-door")
    stranger.goto("/machines/")
    expect(stranger.get_by_label("Password")).to_be_visible()
    enter(stranger, site, site.name)  # another name is not hindered
