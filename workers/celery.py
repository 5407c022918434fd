"""The host's Celery application: one worker a host, on that host's own queue, JSON only."""

from __future__ import annotations

import logging
import sys
import warnings

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_init, worker_shutdown

from workers.config import HostConfig, host_config
from workers.contract.broker import TRANSPORT_OPTIONS
from workers.contract.errors import OffshootError
from workers.logs import log_json
from workers.service import HostService

log_json()

# Root is what this worker is for; what Celery warns of is pickle, and only JSON is accepted below.
warnings.filterwarnings("ignore", category=SecurityWarning)

try:
    CONFIG: HostConfig = host_config()
except OffshootError as exc:
    sys.exit(f"offshoot: {exc.detail}")

app = Celery("workers", include=["workers.tasks"])
app.conf.update(
    broker_url=CONFIG.broker_url,
    task_default_queue=f"host.{CONFIG.name}",
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_publish_retry=False,
    broker_transport_options=TRANSPORT_OPTIONS,
)

service: HostService | None = None


def running_service() -> HostService:
    """The service of this worker; there is one as soon as tasks come in."""
    if service is None:
        raise OffshootError("the worker has not started")
    return service


@worker_init.connect
def _start(**_: object) -> None:
    global service  # noqa: PLW0603  one worker, one service; Celery's signals have no other place for it
    try:
        service = HostService(CONFIG, app)
        service.start()
    except Exception as exc:  # Celery would go on without it, and take wishes that nobody reports of
        logging.getLogger(__name__).exception("the worker cannot start")
        raise SystemExit(1) from exc


@worker_shutdown.connect
def _stop(**_: object) -> None:
    if service is not None:
        service.close()


@setup_logging.connect
def _logs_are_ours(**_: object) -> None:
    """Keep Celery from setting up its own."""
