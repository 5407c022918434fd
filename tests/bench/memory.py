"""Figure 4: what each process of an installation keeps in memory at rest."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.bench.site import Site
from tests.bench.table import Row

_REST_SECONDS = 5.0


def measure(site: Site) -> list[Row]:
    """Proportional set size (kernel: proc.rst, smaps_rollup): what is shared is counted once among its sharers."""
    time.sleep(_REST_SECONDS)
    sizes = {name: _pss_mib(pid) for name, pid in site.processes().items()}
    rows = [Row(f"4 memory at rest, {name}", f"{size:.1f} MiB") for name, size in sizes.items()]
    return [*rows, Row("4 memory at rest, all of them", f"{sum(sizes.values()):.1f} MiB")]


def _pss_mib(pid: int) -> float:
    found = re.search(r"^Pss:\s+(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
