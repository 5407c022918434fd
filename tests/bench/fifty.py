"""Fifty machines made at once: until all of them run, what the pages take meanwhile, and a shell loop that makes the same."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from tests.bench.banner import banner_read
from tests.bench.by_hand import ByHand
from tests.bench.create import form
from tests.bench.site import Site
from tests.bench.table import Row, p95_under, times_as_long

MACHINES = 50
_MOST_TIMES = 1.3
_MOST_PAGE_MS = 100
_PAUSE_SECONDS = 0.5
"""Between two pages, as for a person who clicks fast; without a pause the onlooker alone would take a processor."""
_REST_SECONDS = 3.0


def measure(site: Site, by_hand: ByHand, *, rounds: int) -> list[Row]:
    """The rows of the table. The machines have nothing to start but their firmware, and 256 MiB, the least on the page."""
    ours, hands, pages = [], [], []
    for _ in range(rounds):
        seconds, machines, looked = _round(site)
        ours.append(seconds)
        pages += looked
        folders = [site.folder(machine_id) for machine_id in machines]
        for machine_id in machines:
            site.await_handled(machine_id, 1)
        argvs = by_hand.arguments_of_many(folders)
        _removed(site, machines)
        time.sleep(_REST_SECONDS)
        hands.append(by_hand.create_many(argvs))
        time.sleep(_REST_SECONDS)
    return [
        times_as_long(
            f"6 {MACHINES} machines at once, first press to last banner", ours, hands, most=_MOST_TIMES
        ),
        p95_under("6 meanwhile, a page", pages, most_ms=_MOST_PAGE_MS),
    ]


def _round(site: Site) -> tuple[float, list[UUID], list[float]]:
    """Seconds to the last banner, the machines, and the seconds of each page that was asked for meanwhile."""
    ended = threading.Event()
    looked: list[float] = []
    onlooker = threading.Thread(target=_look, args=(site, ended, looked))
    begun = time.perf_counter()
    onlooker.start()
    _first_of_all(True)
    try:
        with ThreadPoolExecutor(MACHINES) as people:
            names = [f"fifty-{number}" for number in range(MACHINES)]
            addresses = list(people.map(lambda name: site.post("/machines/new/", **form(site, name)), names))
        machines = [UUID(address.split("/")[-2]) for address in addresses]
        for machine_id in machines:
            banner_read(site.folder(machine_id).vnc_socket, seconds=180)
        return time.perf_counter() - begun, machines, looked
    finally:
        ended.set()
        onlooker.join()
        _first_of_all(False)


def _first_of_all(yes: bool) -> None:
    """People sit at computers of their own: what stands for them here waits for no processor (sched(7), autogroup)."""
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("-20" if yes else "0")


def _look(site: Site, ended: threading.Event, looked: list[float]) -> None:
    """The pages that a person would look at, one after another, in a browser that does not share the host's processors."""
    while not ended.is_set():
        for page in ("/machines/", "/hosts/", "/machines/new/"):
            begun = time.perf_counter()
            site.client.get(page).raise_for_status()
            looked.append(time.perf_counter() - begun)
            time.sleep(_PAUSE_SECONDS)


def _removed(site: Site, machines: list[UUID]) -> None:
    for number, machine_id in enumerate(machines):
        site.post(f"/machines/{machine_id}/delete/", name=f"fifty-{number}")
    for machine_id in machines:
        site.await_gone(machine_id)
