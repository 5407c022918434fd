"""What every folder of tests shares: a short folder of its own, a real Redis, a host in its namespace."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.ground import make_accounts
from tests.lab.broker import Broker, PortalsEar
from tests.lab.folder import short_folder
from tests.lab.host import LabHost
from tests.lab.network import HostNetwork

LONG = (
    "test_on_postgresql.py",
    "test_cloud_guest.py",
    "test_looks.py",
    "test_networks.py",
    "test_standing_still.py",
    "test_three_people.py",
)
"""Files that take minutes: begun first, so that the processes which share the suite end together."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After the shuffling, which stays for the rest."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session", autouse=True)
def _accounts() -> None:
    """The accounts that a first `make run` makes: a fresh machine has none of them yet."""
    with Path("/run/lock/offshoot-tests-accounts").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once would both make them
        make_accounts()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of the test's own."""
    with short_folder() as path:
        yield path


@pytest.fixture
def broker(folder: Path) -> Iterator[Broker]:
    """A real Redis."""
    broker = Broker(folder / "redis")
    yield broker
    broker.close()


@pytest.fixture
def ear(broker: Broker) -> Iterator[PortalsEar]:
    """The portal's side of the broker."""
    ear = PortalsEar(broker)
    yield ear
    ear.close()


@pytest.fixture
def network(folder: Path) -> Iterator[HostNetwork]:
    """The host's network, with the internet behind it."""
    network = HostNetwork(folder)
    yield network
    network.close()


@pytest.fixture
def host(folder: Path, broker: Broker, network: HostNetwork) -> Iterator[LabHost]:
    """A running worker."""
    host = LabHost("rack-1", folder / "host", broker, network)
    host.start()
    yield host
    host.close()
