"""Figure 2: from pressing Create (8 GB growing disk, NAT network, no disc) to the banner, against shell commands."""

from __future__ import annotations

import time
from uuid import UUID

from tests.bench.banner import banner_read
from tests.bench.by_hand import ByHand
from tests.bench.site import Site
from tests.bench.table import Row, against_hand, alone

_MOST_MS = 400
_REST_SECONDS = 0.5
_NAME = "bench"


def measure(site: Site, by_hand: ByHand, repeats: int) -> list[Row]:
    """The rows of the table. Each machine is alone and is deleted before the next; the first pair only warms up."""
    ours, answers, hands = [], [], []
    for _ in range(repeats + 1):
        time.sleep(_REST_SECONDS)
        begun = time.perf_counter()
        machine_id = created(site)
        answers.append(time.perf_counter() - begun)
        folder = site.folder(machine_id)
        ours.append(banner_read(folder.vnc_socket) - begun)
        site.await_handled(machine_id, 1)
        argv = by_hand.arguments(folder)
        removed(site, machine_id)
        time.sleep(_REST_SECONDS)
        hands.append(by_hand.create(argv))
    return [
        against_hand("2 press Create to banner", ours[1:], hands[1:], most_ms=_MOST_MS),
        alone("2 of it: until the page's address is answered", answers[1:]),
    ]


def created(site: Site) -> UUID:
    """Press Create; the machine's id."""
    return UUID(site.post("/machines/new/", **form(site)).split("/")[-2])


def removed(site: Site, machine_id: UUID, name: str = _NAME) -> None:
    """Delete it and wait until it is gone."""
    site.post(f"/machines/{machine_id}/delete/", name=name)
    site.await_gone(machine_id)


def form(site: Site, name: str = _NAME, **changes: str) -> dict[str, str]:
    """A small machine without a disc, as it is typed in; `changes` replace fields."""
    return {
        "name": name,
        "size": "custom",
        "cpus": "1",
        "memory_gib": "0.25",
        "disk_gib": "8",
        "disk_kind": "growing",
        "network": site.private_network,
        "disk_bus": "virtio",
        "nic_model": "virtio",
    } | changes
