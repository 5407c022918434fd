"""What the web tests share: the cast, and the portal on a real Redis of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import redis
from django.conf import LazySettings
from django.core.cache import cache

from portal.accounts.models import User
from portal.fleet.models import Host
from portal.machines.models import Machine
from tests.lab.broker import Broker
from tests.lab.flush import let_tests_empty_tables
from tests.lab.folder import short_folder
from tests.web import people
from tests.web.site import Browser, Site

let_tests_empty_tables()


@pytest.fixture(autouse=True)
def _anchor(settings: LazySettings, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each test's activity begins with its first line."""
    settings.AUDIT_ANCHOR = tmp_path_factory.mktemp("activity") / "anchor.json"


@pytest.fixture(autouse=True)
def _patience(settings: LazySettings) -> None:
    """No host goes silent because this machine is slow; where one shall, `people.silence` says so."""
    settings.HOST_SILENT_SECONDS = 300


@pytest.fixture(autouse=True)
def _no_tries_of_before() -> None:
    """Wrong passwords of another test do not count."""
    cache.clear()


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
    with _on_redis(broker, settings):
        client = redis.Redis(unix_socket_path=str(broker.socket))
        yield client
        client.close()


@contextmanager
def _on_redis(broker: Broker, settings: LazySettings) -> Iterator[None]:
    before, settings.BROKER_URL = settings.BROKER_URL, broker.url
    layer = {"hosts": [f"unix://{broker.socket}"], "prefix": "offshoot-live"}
    settings.CHANNEL_LAYERS = {"default": settings.CHANNEL_LAYERS["default"] | {"CONFIG": layer}}
    _point_celery_at(broker.url)
    yield
    _point_celery_at(before)


def _point_celery_at(url: str) -> None:
    from kombu import pools

    from portal.celery import app

    celery: Any = app  # it has no public way to be pointed at another broker
    pools.reset()
    celery.conf.broker_url = url
    celery._after_fork()  # lets go of its pools


@pytest.fixture(scope="module")
def served(django_db_setup: None) -> Iterator[Site]:
    """The portal as a process of its own, with a host's gateway."""
    with short_folder() as folder, closing(Site(folder)) as site:
        yield site


@pytest.fixture
def site(served: Site, transactional_db: None, settings: LazySettings) -> Iterator[Site]:
    """The same, and what the test itself publishes goes by its Redis too."""
    with _on_redis(served.broker, settings):
        yield served


@pytest.fixture
def browser(site: Site, ann: User) -> Iterator[Browser]:
    """Ann's browser, signed in."""
    with Browser(site, ann) as browser:
        yield browser
