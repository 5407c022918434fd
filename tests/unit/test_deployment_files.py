"""The files for containers and systemd: they say the same as the launcher, and hold no password of their own."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from launch.installation import Installation
from launch.processes import host_processes, portal_processes, redis_process

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKER = ROOT / "docker"
UNITS = sorted((DOCKER / "systemd").glob("*.service"))
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
PLACE = Installation(
    checkout=Path("/opt/offshoot"),
    code=Path("/opt/offshoot"),
    state=Path("/var/lib/offshoot"),
    listen="127.0.0.1:8000",
    host_name="${OFFSHOOT_HOST_NAME}",
    extra=(),
)
LAUNCHED = {p.name: p for p in (redis_process(PLACE), *portal_processes(PLACE), *host_processes(PLACE))}
SAME = {"web": "web", "worker": "portal-worker", "beat": "beat", "gateway": "gateway"}


def _compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return loaded


def _plain(words: list[str]) -> list[str]:
    """`${NAME:?what to do}` as `${NAME}`."""
    return [re.sub(r"\$\{(\w+):\?[^}]*\}", r"${\1}", word) for word in words]


@pytest.mark.parametrize(("service", "process"), [*SAME.items(), ("host-worker", "host-worker")])
def test_a_container_runs_what_the_launcher_runs(service: str, process: str) -> None:
    command = _plain(_compose()["services"][service]["command"])
    assert command == ["python", *LAUNCHED[process].argv[1:]]


@pytest.mark.parametrize(
    ("unit", "process"), [*SAME.items(), ("host", "host-worker"), ("redis", "redis")], ids=str
)
def test_a_unit_runs_what_the_launcher_runs_as_the_same_account(unit: str, process: str) -> None:
    text = (DOCKER / "systemd" / f"offshoot-{unit}.service").read_text()
    command = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    argv = list(LAUNCHED[process].argv)
    argv[0] = {"redis-server": "/usr/bin/redis-server"}.get(argv[0], argv[0])
    assert shlex.split(command.removeprefix("ExecStart=")) == argv
    account = re.search(r"^User=(.*)$", text, re.MULTILINE)
    assert (account and account[1]) == LAUNCHED[process].account


@pytest.mark.parametrize(
    ("unit", "process"), [*SAME.items(), ("host", "host-worker"), ("redis", "redis")], ids=str
)
def test_a_unit_has_the_place_among_the_processes_that_the_launcher_gives(unit: str, process: str) -> None:
    text = (DOCKER / "systemd" / f"offshoot-{unit}.service").read_text()
    nice = re.search(r"^Nice=(.*)$", text, re.MULTILINE)
    assert int(nice[1] if nice else 0) == LAUNCHED[process].nice


def test_the_units_environment_is_the_launchers() -> None:
    lines = (DOCKER / "systemd" / "environment").read_text().splitlines()
    said = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    wanted = PLACE.portal_environment() | PLACE.host_environment()
    wanted = {name: value for name, value in wanted.items() if name.startswith("OFFSHOOT_")}
    assert said == wanted | {"OFFSHOOT_HOST_NAME": said["OFFSHOOT_HOST_NAME"]}


def test_systemd_takes_every_unit(tmp_path: Path) -> None:
    for unit in (*UNITS, *(DOCKER / "systemd" / f"offshoot.{kind}" for kind in ("target", "slice"))):
        # systemd looks whether the programs are there, so they are looked for where they are.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/offshoot", str(ROOT)))
    checked = subprocess.run(
        ("systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS)),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    # What systemd says of units that are not ours does not count; ours are named in each complaint.
    ours = [line for line in checked.stderr.splitlines() if "offshoot" in line and str(ROOT) not in line]
    assert (len(UNITS), ours) == (7, [])


def test_what_serves_people_and_machines_comes_before_machines_that_compute() -> None:
    # Each machine's group lies beside the slice, with a weight of 100.
    assert "\nCPUWeight=10000\n" in (DOCKER / "systemd" / "offshoot.slice").read_text()
    for unit in UNITS:
        assert "\nSlice=offshoot.slice\n" in unit.read_text(), unit.name


def test_a_machine_outlives_the_restart_of_its_hosts_unit() -> None:
    assert "\nKillMode=process\n" in (DOCKER / "systemd" / "offshoot-host.service").read_text()


def test_no_password_is_written_down_and_none_has_a_default() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        uses = re.findall(r"\$\{" + name + r"([^}]*)\}", text)
        assert uses
        assert all(use.startswith(":?") for use in uses)
    assert re.findall(r"^\w*PASSWORD=(.*)$", (DOCKER / "example.env").read_text(), re.MULTILINE) == ["", ""]
    for service in _compose()["services"].values():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key or "AUTH" in key:
                assert value.startswith("${"), key


def test_containers_listen_on_this_machine_only_and_only_the_hosts_worker_is_privileged() -> None:
    services = _compose()["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert [name for name, service in services.items() if service.get("privileged")] == ["host-worker"]
    assert all(services[name]["cap_drop"] == ["ALL"] for name in ("web", "worker", "beat", "gateway"))


def test_the_compose_file_names_nothing_that_is_not_there() -> None:
    compose = _compose()
    services = compose["services"]
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            assert other in services, f"{name} waits for {other}"
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or source.startswith("/"), f"{name} mounts {volume}"
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()
            assert (DOCKER / service["build"]["context"]).resolve() == ROOT
        assert "build" in service or ":" in service["image"], f"{name}: the image has no version"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_copies_files_that_are_there_and_not_ignored(path: Path) -> None:
    ignored = {line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines()}
    copies = re.findall(r"^COPY (?!--from)(.*)$", path.read_text(), re.MULTILINE)
    assert copies
    for copy in copies:
        for source in copy.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source not in ignored
            assert not source.startswith(".")


def test_the_sites_image_runs_as_an_ordinary_user() -> None:
    lines = (DOCKER / "portal.Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER offshoot"]
    after = lines[lines.index("USER offshoot") :]
    assert not [line for line in after if line.startswith(("RUN", "COPY", "ADD"))]
