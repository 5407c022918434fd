"""A linked clone of a template whose disk has 20 GB, part of them written, and its start: pressed in the portal, and by hand."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from uuid import UUID

from tests.bench.banner import banner_read
from tests.bench.by_hand import ByHand
from tests.bench.create import form, removed
from tests.bench.site import Site
from tests.bench.table import Row, against_hand
from tests.lab.waiting import wait_for

_MOST_MS = 200
_REST_SECONDS = 0.5
_SIZE_GIB, _WRITTEN_GIB = 20, 2


def measure(site: Site, by_hand: ByHand, repeats: int) -> list[Row]:
    """The row of the table. The first pair only warms up; the template and its machine are gone afterwards."""
    source, template, base = _template(site)
    ours, hands = [], []
    for _ in range(repeats + 1):
        time.sleep(_REST_SECONDS)
        begun = time.perf_counter()
        address = site.post(template, name="bench", size="template", network=site.private_network)
        machine_id = UUID(address.split("/")[-2])
        folder = site.folder(machine_id)
        ours.append(banner_read(folder.vnc_socket) - begun)
        site.await_handled(machine_id, 1)
        argv = by_hand.arguments(folder)
        removed(site, machine_id, "bench")
        time.sleep(_REST_SECONDS)
        hands.append(by_hand.create(argv, base=base))
    removed(site, source, "source")
    site.post(f"{template}delete/")
    wait_for("the template's disk is gone", lambda: not base.exists())
    return [
        against_hand(
            f"5 machine from a template of {_SIZE_GIB} GB to banner", ours[1:], hands[1:], most_ms=_MOST_MS
        )
    ]


def _template(site: Site) -> tuple[UUID, str, Path]:
    """The machine that it is made of, the address of its form, and the file of its disk."""
    address = site.post("/machines/new/", **form(site, "source", disk_gib=str(_SIZE_GIB)))
    machine_id = UUID(address.split("/")[-2])
    site.await_shown(address, "running")
    site.post(f"{address}force-off/")
    site.await_shown(address, "off")
    [disk] = site.folder(machine_id).root.glob("*.qcow2")
    writes = [word for gib in range(_WRITTEN_GIB) for word in ("-c", f"write -P 7 {2 * gib}G 1G")]
    subprocess.run(("qemu-io", "-f", "qcow2", *writes, str(disk)), check=True, capture_output=True)
    site.post(f"{address}publish/", name="template")
    found = wait_for("the template is ready", site.templates)
    [base] = site.host.bases.glob("*.qcow2")
    return machine_id, found[0], base
