"""Two machines that want the same processor, weighed by the product's own code within a guest whose kernel has cgroup v2.

The lab's own kernel may have the processors' controller in v1 only. `packed` is called on the host; the rest runs in the guest.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pydantic

from workers.host import cgroups

_PRODUCT = Path(cgroups.__file__).parents[2]
_LIBRARIES = Path(pydantic.__file__).parents[1]
_IMPORTED = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions.py", "typing_inspection")
_NOT_IMPORTED = {"__pycache__", "v1", "deprecated"}
_GROUPS = Path("/sys/fs/cgroup")
_MEASURED_SECONDS = 3.0
_PATIENCE_SECONDS = 60.0


def packed(target: Path) -> Path:
    """This program, and the product's code with what that imports, for a guest with the same Python as the lab's."""
    with tarfile.open(target, "w") as tar:
        tar.add(__file__, Path(__file__).name)
        tar.add(_PRODUCT / "workers", "workers", filter=_imported)
        for name in _IMPORTED:
            tar.add(_LIBRARIES / name, name, filter=_imported)
    return target


def main() -> None:
    """Say as JSON what came of it."""
    could_weigh = [cgroups.can_weigh()]
    subprocess.run(("mount", "-t", "cgroup2", "cgroup2", str(_GROUPS)), check=True)
    could_weigh.append(cgroups.can_weigh())
    first, second = uuid4(), uuid4()
    with _busy(first), _busy(second):
        weighed = [cgroups.weigh(first, 100), cgroups.weigh(second, 300)]
        started = _used_by(first, second)
        weighed.append(cgroups.weigh(first, 900))
        later = _used_by(first, second)
    for machine_id in (first, second):
        cgroups.drop(machine_id)
    left = [path.name for path in _GROUPS.glob("offshoot-*")]
    print(
        json.dumps(
            {"could_weigh": could_weigh, "weighed": weighed, "started": started, "later": later, "left": left}
        )
    )


@contextmanager
def _busy(machine_id: UUID) -> Iterator[None]:
    """A machine that computes without an end, known by its arguments as qemu is."""
    computes = ("sh", "-c", "while :; do :; done", "machine", "-uuid", str(machine_id))
    process = subprocess.Popen(("taskset", "-c", "0", *computes))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _used_by(*machine_ids: UUID) -> list[float]:
    """The seconds of processor that each takes from now on, until together they took enough to be compared."""
    before = [_usage(machine_id) for machine_id in machine_ids]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    used = [0.0]
    while sum(used) < _MEASURED_SECONDS:
        if time.monotonic() > deadline:
            raise SystemExit(f"within {_PATIENCE_SECONDS:.0f} s they took no more than {used}")
        time.sleep(0.1)
        used = [_usage(each) - then for each, then in zip(machine_ids, before, strict=True)]
    return used


def _usage(machine_id: UUID) -> float:
    """https://docs.kernel.org/admin-guide/cgroup-v2.html: usage_usec of cpu.stat."""
    stat = (_GROUPS / f"offshoot-{machine_id}" / "cpu.stat").read_text()
    return int(dict(line.split() for line in stat.splitlines())["usage_usec"]) / 1e6


def _imported(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    path = Path(member.name)
    wanted = member.isdir() or path.suffix in {".py", ".so"}
    return member if wanted and _NOT_IMPORTED.isdisjoint(path.parts) else None


if __name__ == "__main__":
    main()
