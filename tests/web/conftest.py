"""What the web tests share: the cast, and the portal on a real Redis of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from django.conf import LazySettings

from portal.accounts.models import User
from portal.fleet.models import Host
from portal.machines.models import Machine
from tests.lab.broker import Broker
from tests.web import people


@pytest.fixture
def ann(db: None) -> User:
    """An ordinary person; the machines of these tests are hers."""
    return User.objects.create_user("ann", password=people.PASSWORD)


@pytest.fixture
def ben(db: None) -> User:
    """Another ordinary person, a stranger to what is Ann's."""
    return User.objects.create_user("ben", password=people.PASSWORD)


@pytest.fixture
def boss(db: None) -> User:
    """An administrator."""
    return User.objects.create_user("boss", password=people.PASSWORD, is_staff=True)


@pytest.fixture
def rack(db: None) -> Host:
    """A host that was just heard."""
    return people.host_heard()


@pytest.fixture
def machine(rack: Host, ann: User) -> Machine:
    """Ann's machine, just asked for."""
    return people.machine_of(ann)


@pytest.fixture
def running(machine: Machine) -> Machine:
    """Ann's machine, made and running."""
    return people.done(machine)


@pytest.fixture
def wired(broker: Broker, settings: LazySettings) -> Iterator[redis.Redis]:
    """The portal's Celery and its channel layer use the test's own Redis; a client to look into it."""
    before, settings.BROKER_URL = settings.BROKER_URL, broker.url
    settings.CHANNEL_LAYERS = {
        "default": {
            **settings.CHANNEL_LAYERS["default"],
            "CONFIG": {"hosts": [f"unix://{broker.socket}"], "prefix": "offshoot-live"},
        }
    }
    _point_celery_at(broker.url)
    client = redis.Redis(unix_socket_path=str(broker.socket))
    yield client
    client.close()
    _point_celery_at(before)


def _point_celery_at(url: str) -> None:
    from kombu import pools

    from portal.celery import app

    pools.reset()
    app.conf.broker_url = url
    app._pool = None
    app.amqp._producer_pool = None
