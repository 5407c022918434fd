"""What the worker starts, beside other programs that want the processors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_WORKER = """
import json, os, sys
from pathlib import Path
from workers.host.commands import follow, run, spawn
log = Path(sys.argv[1])
outlives = spawn(("sleep", "60"), stdout=log, stderr=log)
while Path(f"/proc/{outlives.pid}/comm").read_text().strip() != "sleep":
    pass
place = os.getpriority(os.PRIO_PROCESS, outlives.pid)
outlives.kill()
outlives.wait()
short = run(("nice",), seconds=10).stdout
patient = run(("nice",), seconds=10, urgent=False).stdout
long = []
follow(("nice",), seconds=10, heard=long.append, between=lambda: None)
print(json.dumps([place, int(short), int(patient), int(long[0])]))
"""


def _places(folder: Path, own: int) -> list[int]:
    """Of a program that outlives the worker, of a short one, of one that is not urgent, of a long one."""
    argv = ("nice", "-n", str(own), sys.executable, "-c", _WORKER, str(folder / "log"))
    return list(json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout))


def test_machines_and_long_programs_are_no_more_urgent_than_others_where_the_worker_is(
    tmp_path: Path,
) -> None:
    assert os.getpriority(os.PRIO_PROCESS, 0) == 0
    assert _places(tmp_path, -15) == [0, -15, 0, 0]


def test_a_worker_with_an_ordinary_place_changes_nobodys(tmp_path: Path) -> None:
    assert _places(tmp_path, 0) == [0, 0, 0, 0]
    assert _places(tmp_path, 3) == [3, 3, 3, 3]
