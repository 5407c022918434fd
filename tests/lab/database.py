"""A database that has its tables already: many installations begin with one, and making the tables takes longer than all else."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lay_database(portal: Path, *, account: str) -> None:
    """Put it into the portal's folder, as what this account made."""
    portal.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = portal / "db.sqlite3"
    shutil.copy(_migrated(), target)
    for path in (portal, target):
        shutil.chown(path, account, account)


@cache
def _migrated() -> Path:
    """Made once in a process of tests."""
    state = Path(tempfile.mkdtemp(prefix="ofs-database-", dir="/tmp"))
    atexit.register(shutil.rmtree, state, ignore_errors=True)
    finished = subprocess.run(
        (sys.executable, "manage.py", "migrate", "--verbosity=0", "--no-input"),
        cwd=ROOT, env={"PATH": os.environ["PATH"], "OFFSHOOT_STATE": str(state)},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    database = state / "portal" / "db.sqlite3"
    assert [path.name for path in database.parent.glob("db.sqlite3*")] == [
        database.name
    ]  # all of it is in one file
    return database
