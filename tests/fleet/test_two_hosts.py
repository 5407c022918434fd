"""Two hosts and a portal on one Redis, used over HTTP: who gets a new machine, and what happens when a part is away."""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from launch.health import site_health
from tests.lab.broker import Broker
from tests.lab.folder import short_folder
from tests.lab.host import LabHost
from tests.lab.network import HostNetwork
from tests.lab.obstacles import set_free_memory
from tests.lab.portal import LabPortal, gateway_of
from tests.lab.waiting import wait_for

PLENTY, LITTLE = 16_000, 8_000
"""MiB that a host finds free, so that it is clear which of them has more."""


@dataclass
class Fleet:
    """`machines` has one running machine a host, by the host's name."""

    portal: LabPortal
    hosts: dict[str, LabHost]
    client: httpx.Client
    machines: dict[str, str]

    def prefer(self, name: str) -> None:
        """This host has the most free memory from now on, and the portal knows it."""
        for host in self.hosts.values():
            set_free_memory(host, PLENTY if host.name == name else LITTLE)
        for host in self.hosts.values():
            gib = (PLENTY if host.name == name else LITTLE) / 1024
            # Not the end of another number: a disk with 77.8 GB free is no memory of 7.8.
            shown = re.compile(rf"(?<![\d.]){gib:.1f} GB of")
            wait_for(
                f"the page shows {gib:.1f} of {host.name}",
                lambda host=host, shown=shown: shown.search(self.client.get(f"/hosts/{host.name}/").text),  # type: ignore[misc]
                seconds=20,
            )

    def home_of(self, machine_id: str) -> list[str]:
        """The hosts on which something of the machine lies."""
        found = [host for host in self.hosts.values() if host.folder(UUID(machine_id)).root.exists()]
        return [host.name for host in found]

    def reachable(self, name: str) -> bool:
        """What the host's page says."""
        page = self.client.get(f"/hosts/{name}/").text
        silent, working = (words in page for words in ("Not reachable", "Working"))
        assert silent != working, (page, self.portal.log.read_text()[-3000:])
        return working


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Everything runs; tests leave it so."""
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        broker = stack.enter_context(closing(Broker(folder / "redis")))
        network = stack.enter_context(closing(HostNetwork(folder, internet=False)))
        portal = stack.enter_context(closing(LabPortal(folder / "s", broker, network)))
        hosts = {}
        for name in ("rack-1", "rack-2"):
            wires = stack.enter_context(closing(HostNetwork(folder, internet=False)))
            host = LabHost(name, folder / name, broker, wires, portal_url=portal.url_for_hosts)
            hosts[name] = stack.enter_context(closing(host))
            host.start()
            stack.enter_context(gateway_of(host))
        portal.start()
        client = stack.enter_context(closing(portal.sign_in()))
        wait_for(
            "both hosts have reported",
            lambda: site_health(portal.socket).get("hosts") == {"rack-1": True, "rack-2": True},
            seconds=30,
        )
        fleet = Fleet(portal, hosts, client, {})
        for name in hosts:
            fleet.prefer(name)
            fleet.machines[name] = portal.make_machine(client, f"on-{name}")
        for machine_id in fleet.machines.values():
            portal.wait_state(client, machine_id, "running")
        yield fleet


def test_both_hosts_are_on_the_page_with_what_they_can_do(fleet: Fleet) -> None:
    page = fleet.client.get("/hosts/").text
    for name in ("rack-1", "rack-2"):
        assert f'href="/hosts/{name}/"' in page
        assert "Trial with a small machine" in fleet.client.get(f"/hosts/{name}/").text
    for name, machine in fleet.machines.items():
        assert f'href="/machines/{machine}/"' in fleet.client.get(f"/hosts/{name}/").text
    assert "Not reachable" not in page


def test_a_new_machine_goes_to_the_host_with_the_most_free_memory(fleet: Fleet) -> None:
    # The fixture preferred one host after the other.
    assert {name: fleet.home_of(machine) for name, machine in fleet.machines.items()} == {
        "rack-1": ["rack-1"],
        "rack-2": ["rack-2"],
    }
    assert [len(host.qemus()) for host in fleet.hosts.values()] == [1, 1]


def test_what_was_promised_and_does_not_run_yet_counts_as_taken(fleet: Fleet) -> None:
    fleet.prefer("rack-1")
    large = fleet.portal.make_machine(fleet.client, "large", memory_gib="10")
    # Asked for in the same breath: rack-1 has 16 GB free still, of which ten are promised.
    small = fleet.portal.make_machine(fleet.client, "small", memory_gib="0.25")
    for machine in (large, small):
        fleet.portal.wait_state(fleet.client, machine, "running")
    assert (fleet.home_of(large), fleet.home_of(small)) == (["rack-1"], ["rack-2"])
    for machine, name in ((large, "large"), (small, "small")):
        fleet.portal.post(fleet.client, f"/machines/{machine}/delete/", name=name)
        fleet.portal.wait_state(fleet.client, machine, "gone")
        assert fleet.home_of(machine) == []


def test_more_memory_than_any_host_has_is_refused_on_the_form(fleet: Fleet) -> None:
    fleet.prefer("rack-2")
    with pytest.raises(AssertionError, match="No host has that much memory free: the most is 15.6 GB now"):
        fleet.portal.make_machine(fleet.client, "giant", memory_gib="100")
    assert "giant" not in fleet.client.get("/machines/").text


def test_the_console_reaches_both_hosts(fleet: Fleet) -> None:
    for machine in fleet.machines.values():
        assert fleet.portal.banner(fleet.client, machine) == b"RFB 003.008\n"


def test_a_ticket_opens_no_other_machine_and_not_a_second_time(fleet: Fleet) -> None:
    mine, other = fleet.machines.values()
    ticket = fleet.portal.ticket(fleet.client, mine)
    assert _close_code(fleet, other, ticket) == 4408
    assert _close_code(fleet, mine, ticket) is None
    assert _close_code(fleet, mine, ticket) == 4408


def test_a_host_whose_worker_is_killed_is_said_to_be_away_and_slows_no_page(fleet: Fleet) -> None:
    host, machine = fleet.hosts["rack-2"], fleet.machines["rack-2"]
    pages = ("/machines/", f"/machines/{machine}/", "/machines/new/", "/hosts/", "/hosts/rack-2/")
    before = {page: _seconds(fleet.client, page) for page in pages}
    qemus = host.qemus()
    with _worker_killed(fleet, "rack-2"):
        assert fleet.portal.state_of(fleet.client, machine) == "unknown"
        assert "Host not reachable" in fleet.client.get("/machines/").text
        assert fleet.reachable("rack-1")
        after = {page: _seconds(fleet.client, page) for page in pages}
        slow = {page: (before[page], after[page]) for page in pages if after[page] > 5 * before[page] + 0.2}
        assert slow == {}
        # Its console is refused in words, at once.
        token = {"X-CSRFToken": fleet.client.cookies["csrftoken"]}
        refused = fleet.client.post(f"/console/{machine}/ticket/", headers=token)
        assert (refused.status_code, "cannot be reached" in refused.json()["message"]) == (409, True)
    fleet.portal.wait_state(fleet.client, machine, "running", seconds=20)
    assert host.qemus() == qemus


def test_what_is_asked_of_a_host_that_is_away_waits_and_nothing_new_goes_there(fleet: Fleet) -> None:
    host, machine = fleet.hosts["rack-2"], fleet.machines["rack-2"]
    fleet.prefer("rack-2")
    [qemu] = host.qemus()
    with _worker_killed(fleet, "rack-2"):
        there = fleet.portal.make_machine(fleet.client, "meanwhile")
        fleet.portal.wait_state(fleet.client, there, "running")
        assert fleet.home_of(there) == ["rack-1"]
        fleet.portal.post(fleet.client, f"/machines/{machine}/force-off/")
        assert host.qemus() == [qemu]
    fleet.portal.wait_state(fleet.client, machine, "off")
    assert host.qemus() == []
    fleet.portal.post(fleet.client, f"/machines/{machine}/start/")
    fleet.portal.wait_state(fleet.client, machine, "running")
    fleet.portal.post(fleet.client, f"/machines/{there}/delete/", name="meanwhile")
    fleet.portal.wait_state(fleet.client, there, "gone")


def test_after_the_portal_was_away_its_machines_are_found_running(fleet: Fleet) -> None:
    qemus = [host.qemus() for host in fleet.hosts.values()]
    fleet.portal.stop()
    assert site_health(fleet.portal.socket) == {}
    assert [host.qemus() for host in fleet.hosts.values()] == qemus
    fleet.portal.start()
    for name, machine in fleet.machines.items():
        wait_for("its host is heard", lambda name=name: fleet.reachable(name), seconds=30)  # type: ignore[misc]
        fleet.portal.wait_state(fleet.client, machine, "running", seconds=20)
        assert fleet.portal.banner(fleet.client, machine) == b"RFB 003.008\n"
    assert [host.qemus() for host in fleet.hosts.values()] == qemus


def test_a_disc_that_leaves_the_library_is_forgotten_by_the_hosts(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "letter.txt").write_text("dear")
    iso = tmp_path / "letters.iso"
    subprocess.run(
        ("xorriso", "-as", "mkisofs", "-quiet", "-o", str(iso), str(tmp_path / "tree")),
        check=True,
        capture_output=True,
    )
    fleet.portal.manage("add_image", str(iso), "--name", "letters")
    library = fleet.client.get("/discs/").text
    image = library.split("/delete/")[0].rsplit("/", 1)[1]
    copies = [host.state.images / f"{image}.iso" for host in fleet.hosts.values()]
    for machine in fleet.machines.values():
        fleet.portal.post(fleet.client, f"/machines/{machine}/insert-disc/", disc=image)
    wait_for("both hosts have fetched it", lambda: all(copy.exists() for copy in copies), seconds=30)
    assert [copy.read_bytes() == iso.read_bytes() for copy in copies] == [True, True]

    fleet.portal.post(fleet.client, f"/discs/{image}/delete/")
    assert "Nothing was deleted" in fleet.client.get("/discs/").text
    for machine in fleet.machines.values():
        fleet.portal.post(fleet.client, f"/machines/{machine}/insert-disc/", disc="")
    fleet.portal.post(fleet.client, f"/discs/{image}/delete/")
    assert f"/discs/{image}/" not in fleet.client.get("/discs/").text
    wait_for("both hosts have forgotten it", lambda: not any(copy.exists() for copy in copies), seconds=30)
    folders = [host.state.images for host in fleet.hosts.values()]
    wait_for(
        "nothing of it is left", lambda: not any(any(folder.iterdir()) for folder in folders), seconds=30
    )
    for machine in fleet.machines.values():
        fleet.portal.wait_state(fleet.client, machine, "running")


@contextmanager
def _worker_killed(fleet: Fleet, name: str) -> Iterator[None]:
    """The host's worker is killed, which its page shows within 15 s and open pages are told; started again afterwards."""
    host, machine = fleet.hosts[name], fleet.machines[name]
    with fleet.portal.socket_of(fleet.client, "/ws/live/") as live:
        live.send(f'{{"watch": ["fleet", "machine:{machine}"]}}')
        assert "watching" in str(live.recv(timeout=10))
        host.kill()
        try:
            wait_for(f"the page of {name} says so", lambda: not fleet.reachable(name), seconds=15)
            told = ""
            while f"machine:{machine}" not in told:
                told += str(live.recv(timeout=20))
            yield
        finally:
            host.start()
            wait_for(f"{name} is back", lambda: fleet.reachable(name), seconds=30)


def _close_code(fleet: Fleet, machine: str, ticket: str) -> int | None:
    """With which code the console was refused; None where the screen spoke."""
    path = f"/ws/console/{machine}/"
    with fleet.portal.socket_of(fleet.client, path, "binary", f"ticket.{ticket}") as screen:
        try:
            assert screen.recv(timeout=20) == b"RFB 003.008\n"
        except ConnectionClosed:
            return screen.close_code
    return None


def _seconds(client: httpx.Client, page: str) -> float:
    """What the page takes, at the median of seven."""
    taken = []
    for _ in range(7):
        begun = time.monotonic()
        assert client.get(page).status_code == 200
        taken.append(time.monotonic() - begun)
    return statistics.median(taken)
