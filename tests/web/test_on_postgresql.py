"""The database part of the web tests once more, on a real PostgreSQL of the test's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.lab.waiting import wait_for

ROOT = Path(__file__).parents[2]
ACCOUNT = "postgres"  # Debian's package makes it; PostgreSQL refuses to run as root
FILES = (
    "test_accounts.py",
    "test_audit.py",
    "test_at_the_same_moment.py",
    "test_classes.py",
    "test_figures.py",
    "test_leases.py",
    "test_machine_services.py",
    "test_networks.py",
    "test_outbox.py",
    "test_published_ports.py",
    "test_quotas.py",
    "test_reports.py",
    "test_requests.py",
)


def programs() -> Path:
    """Debian keeps the server's programs out of the PATH, a folder a version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert found, "PostgreSQL is missing: apt-get install postgresql"
    return found[-1].parent


class PostgreSQL:
    """A running server on a unix socket, with no TCP port."""

    def __init__(self, folder: Path) -> None:
        shutil.chown(folder, ACCOUNT)
        data = folder / "data"
        made = subprocess.run(
            (programs() / "initdb", "--pgdata", data, "--username", ACCOUNT, "--auth", "trust",
             "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
            user=ACCOUNT, group=ACCOUNT, cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        self.log = folder / "server.log"
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "max_connections": "60",
            # What a power cut would do is not asked here.
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                (programs() / "postgres", "-D", data, *(f"--{key}={value}" for key, value in settings.items())),
                user=ACCOUNT, group=ACCOUNT, cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip
        self._socket = folder
        self.url = f"postgresql://{ACCOUNT}@{quote(str(folder), safe='')}/offshoot"
        try:
            wait_for("PostgreSQL answers", self._answers)
        except AssertionError:
            self.close()
            raise

    def close(self) -> None:
        """Cut connections off, and wait for the end."""
        self._process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(20)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        ready = (programs() / "pg_isready", "--quiet", "--host", self._socket, "--username", ACCOUNT)
        return subprocess.run(ready, check=False).returncode == 0


@pytest.fixture
def server() -> Iterator[PostgreSQL]:
    folder = Path(tempfile.mkdtemp(prefix="ofs-pg-", dir="/tmp"))
    try:
        server = PostgreSQL(folder)
        yield server
        server.close()
    finally:
        shutil.rmtree(folder)


@pytest.mark.postgresql
@pytest.mark.timeout(900)  # hundreds of tests in one
def test_the_portal_works_the_same_on_postgresql(server: PostgreSQL) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OFFSHOOT_")}
    run = subprocess.run(
        (
            sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider",
            "--reuse-db",  # the server goes away with its databases
            "-m", "not postgresql",
            # It rings through a second process, which knows nothing of this database.
            "-k", "not bell_rings",
            *(f"tests/web/{name}" for name in FILES),
        ),
        cwd=ROOT, env=environ | {"OFFSHOOT_TEST_DATABASE_URL": server.url},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-5_000:]
    assert " passed" in run.stdout
    assert " skipped" not in run.stdout
