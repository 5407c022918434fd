"""A worker's log: a disk without room for it loses lines, never work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WORK = """
import logging, structlog
from workers.logs import log_json
log_json()
for number in range(3000):
    structlog.get_logger().warning("a line", number=number)
    logging.getLogger("other").warning("a line of a library")
open({end!r}, "w").write("done")
"""


def test_what_is_logged_to_a_full_disk_is_lost_and_the_work_goes_on(tmp_path: Path) -> None:
    end = tmp_path / "end"
    with Path("/dev/full").open("w") as full:
        subprocess.run(
            (sys.executable, "-c", WORK.format(end=str(end))), stderr=full, check=False, timeout=60
        )
    assert end.read_text() == "done"


def test_a_line_is_one_json_object_on_stderr() -> None:
    work = "import structlog; from workers.logs import log_json; log_json(); structlog.get_logger().info('taken', machine='m')"
    said = subprocess.run(
        (sys.executable, "-c", work), capture_output=True, text=True, check=True, timeout=60
    )
    assert '"event": "taken"' in said.stderr
    assert said.stdout == ""
