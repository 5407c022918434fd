"""`python -m launch` as a person has it: the first start, Ctrl-C, the next start, and each thing that can be in the way."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from launch.health import site_health
from tests.lab.launcher import LISTEN, PASSWORD, ROOT, Launcher, installation
from tests.lab.waiting import wait_for


@pytest.fixture
def fresh() -> Iterator[Launcher]:
    """Nothing started yet."""
    with installation() as launcher:
        yield launcher


@pytest.fixture
def with_tables() -> Iterator[Launcher]:
    """Nothing started yet, but what takes longest is done."""
    with installation(tables=True) as launcher:
        yield launcher


@pytest.fixture(scope="module")
def running() -> Iterator[Launcher]:
    """An installation after its first start; only looked at."""
    with installation() as launcher:
        assert "Offshoot runs at" in launcher.start(), launcher.words()
        yield launcher


def _sign_in(client: httpx.Client, words: str) -> None:
    shown = PASSWORD.search(words)
    assert shown, words
    page = client.get("/sign-in/")
    form = {"login": shown[1], "password": shown[2], "csrfmiddlewaretoken": _token(page)}
    answer = client.post("/sign-in/", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/machines/")


def _token(page: httpx.Response) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert found, page.text
    return found[1]


def test_the_first_start_says_where_it_is_and_with_which_password_to_sign_in(running: Launcher) -> None:
    assert f"Offshoot runs at http://{LISTEN}" in running.words()
    with running.client() as client:
        _sign_in(client, running.words())
        assert client.get("/machines/").status_code == 200


def test_the_password_lies_nowhere_in_clear(running: Launcher) -> None:
    shown = PASSWORD.search(running.words())
    assert shown
    files = [path for path in running.state.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if shown[2].encode() in path.read_bytes()] == []


def test_all_is_well_and_the_host_has_reported(running: Launcher) -> None:
    with running.client() as client:
        health = client.get("/health/").json()
    assert (health["ok"], health["database"], health["broker"]) == (True, True, True)
    assert list(health["hosts"].values()) == [True]


def test_only_the_hosts_worker_is_root(running: Launcher) -> None:
    import pwd

    site, machines = (pwd.getpwnam(name).pw_uid for name in ("offshoot", "offshoot-vm"))
    accounts = {name: uid for name, (_, uid) in running.children().items()}
    assert accounts == {
        "redis": site,
        "web": site,
        "portal-worker": site,
        "beat": site,
        "host-worker": 0,
        "gateway": machines,
    }


def test_the_secrets_are_closed_to_everybody_else(running: Launcher) -> None:
    for path in ("portal/secrets.json", "host/fleet.key"):
        assert stat.S_IMODE((running.state / path).stat().st_mode) == 0o600, path
    for path in ("portal", "redis", "log"):
        assert stat.S_IMODE((running.state / path).stat().st_mode) == 0o700, path


def test_the_only_address_that_anything_listens_on_is_the_sites(running: Launcher) -> None:
    lines = running.network.inside("ss", "-Htln").splitlines()
    assert [line.split()[3] for line in lines] == [LISTEN]


def test_ctrl_c_leaves_the_machines_and_the_next_start_finds_them(with_tables: Launcher) -> None:
    words = with_tables.start()
    with with_tables.client() as client:
        _sign_in(client, words)
        page = client.get("/machines/new/")
        network = re.search(r'name="network".*?value="([0-9a-f-]{36})"', page.text, re.DOTALL)
        assert network, page.text
        form = {
            "name": "survivor", "size": "custom", "cpus": "1", "memory_gib": "0.25", "disk_gib": "1", "disk_kind": "growing",
            "network": network[1], "disk_bus": "virtio", "nic_model": "virtio", "csrfmiddlewaretoken": _token(page),
        }  # fmt: skip
        answer = client.post("/machines/new/", data=form)
        assert answer.status_code == 302, answer.text
        address = answer.headers["Location"]

        def done() -> bool:
            return "Running" in client.get(address).text and bool(qemus())

        def qemus() -> list[int]:
            return [
                pid for pid, command in with_tables.belonging().items() if command.startswith("qemu-system")
            ]

        wait_for("the machine runs", done, seconds=60)
        [before] = qemus()
        assert with_tables.end() == 0
        left = {command.split()[0] for command in with_tables.belonging().values()}
        assert left == {"qemu-system-x86_64", "dnsmasq"}

    words = with_tables.start()
    assert "Offshoot runs at" in words
    assert PASSWORD.search(words) is None
    assert qemus() == [before]
    with with_tables.client() as client:
        assert client.get(address).status_code == 302  # a stranger: to the sign-in page
    database = with_tables.state / "portal" / "db.sqlite3"
    import sqlite3

    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as rows:

        def observed() -> bool:
            [(state, generation)] = rows.execute(
                "SELECT observed, observed_generation FROM machines_machine WHERE name = 'survivor'"
            )
            return bool((state, generation) == ("running", 1))

        wait_for("the machine is seen running", observed, seconds=30)


def test_a_launcher_that_is_killed_takes_its_processes_with_it(with_tables: Launcher) -> None:
    with_tables.start()
    assert len(with_tables.children()) == 6
    with_tables.end(signal.SIGKILL)
    wait_for("all of them have ended", lambda: not with_tables.belonging(), seconds=30)


def test_a_process_that_dies_is_started_again(with_tables: Launcher) -> None:
    with_tables.start()
    first, _ = with_tables.children()["web"]
    os.kill(first, signal.SIGKILL)

    def back() -> bool:
        pid, _ = with_tables.children().get("web", (first, 0))
        if pid == first:
            return False
        return bool(site_health(with_tables.state / "portal" / "web.sock").get("ok"))

    wait_for("the web server is back", back, seconds=30)
    assert "web was ended by signal 9; it is started again" in with_tables.words()


def test_a_checkout_that_only_root_can_enter_is_shown_to_the_site_read_only() -> None:
    checkout = Path(tempfile.mkdtemp(prefix="ofs-checkout-", dir="/tmp"))  # mode 0700
    try:
        for name in ("portal", "workers", "launch", "templates", "static"):
            shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("manage.py", "package-lock.json"):
            shutil.copy(ROOT / name, checkout)
        for name in (".venv", "node_modules"):
            (checkout / name).symlink_to(ROOT / name)
        with installation(checkout) as launcher:
            assert "Offshoot runs at" in launcher.start()
            web, _ = launcher.children()["web"]
            code = launcher.state / "code"
            assert Path(f"/proc/{web}/cwd").readlink() == code
            mounts = [line.split() for line in Path(f"/proc/{web}/mountinfo").read_text().splitlines()]
            shown = {fields[4]: fields[5].split(",")[0] for fields in mounts if str(code) in fields[4]}
            assert shown[str(code / "portal")] == "ro"
            assert set(shown.values()) == {"ro"}
            assert str(code) not in Path("/proc/self/mountinfo").read_text()
            assert launcher.end() == 0
    finally:
        shutil.rmtree(checkout)


def _port_is_taken(launcher: Launcher) -> Iterator[None]:
    server = (
        "import socket,time; s=socket.create_server(('127.0.0.1',8000)); print(1,flush=True); time.sleep(600)"
    )
    other = subprocess.Popen(
        (*launcher.network.enter(), sys.executable, "-c", server), stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        other.stdout.readline()
        yield
    finally:
        other.kill()
        other.communicate()


def _folder_is_something_elses(launcher: Launcher) -> Iterator[None]:
    launcher.state.mkdir(mode=0o777)
    (launcher.state / "letter.txt").write_text("dear")
    yield
    assert stat.S_IMODE(launcher.state.stat().st_mode) == 0o777 & ~_umask()


def _parent_is_closed(launcher: Launcher) -> Iterator[None]:
    launcher.state.parent.chmod(0o700)
    yield


def _path_is_too_long(launcher: Launcher) -> Iterator[None]:
    launcher.state = launcher.state / ("long" * 12)
    yield


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


@pytest.mark.parametrize(
    ("obstacle", "advice"),
    [
        (_port_is_taken, "127.0.0.1:8000 is in use by another program: choose another"),
        (_folder_is_something_elses, "holds something else: set OFFSHOOT_STATE to a new or empty folder"),
        (_parent_is_closed, "is closed to other accounts"),
        (_path_is_too_long, "too long for sockets: set OFFSHOOT_STATE to a shorter one"),
    ],
)
def test_what_is_in_the_way_is_said_in_one_line(
    fresh: Launcher, obstacle: Callable[[Launcher], Iterator[None]], advice: str
) -> None:
    with contextmanager(obstacle)(fresh):
        words = fresh.start()
        assert fresh.process is not None
        assert fresh.process.returncode == 1
    assert advice in words
    assert (len(words.splitlines()), words[:10]) == (1, "offshoot: ")


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("OFFSHOOT_LISTEN", "8191", "names no address: write 127.0.0.1:8191"),
        (
            "OFFSHOOT_LISTEN",
            "0.0.0.0:8191",
            "say what people type into the browser as well, as in `OFFSHOOT_ORIGIN=",
        ),
        ("OFFSHOOT_ORIGIN", "machines.test", "must begin with http:// or https://"),
        ("OFFSHOOT_PRIVATE_SUBNET", "nonsense", "OFFSHOOT_PRIVATE_SUBNET 'nonsense' is no IPv4 subnet"),
        ("OFFSHOOT_PRIVATE_SUBNET", "8.8.8.0/24", "must be a private subnet"),
        ("OFFSHOOT_UPLOAD_LARGEST_GIB", "banana", "must be a whole number of GiB"),
        ("OFFSHOOT_DATABASE_URL", "mysql://x", "must be postgresql://"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_in_one_line(
    fresh: Launcher, setting: str, value: str, advice: str
) -> None:
    words = fresh.start(**{setting: value})
    assert fresh.process is not None
    assert fresh.process.returncode == 1
    assert advice in words
    assert (len(words.splitlines()), words[:10]) == (1, "offshoot: ")


def test_a_second_launcher_on_the_same_folder_leaves_the_first_alone(running: Launcher) -> None:
    second = Launcher(running.state, running.network)
    second._log = running.state.with_name("second.out")
    words = second.start(OFFSHOOT_LISTEN="127.0.0.1:8001")
    assert second.process is not None
    assert (second.process.returncode, len(words.splitlines())) == (1, 1)
    assert "running already" in words
    assert len(running.children()) == 6


def test_without_root_it_says_what_to_do() -> None:
    said = subprocess.run(
        ("/usr/bin/python3.11", "-c", "import os; os.setuid(65534); from launch import ground; "
         "from launch.installation import installation; ground.check(installation())"),
        cwd=ROOT, check=False, capture_output=True, text=True, env={"PYTHONPATH": f"{sys.path[-1]}:{ROOT}"},
    )  # fmt: skip
    assert "it needs root" in said.stderr
