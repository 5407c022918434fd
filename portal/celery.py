"""The portal's Celery: receives the hosts' reports on queue "portal" and runs the periodic tasks."""

from __future__ import annotations

import os

import django
from celery import Celery
from celery.schedules import crontab
from celery.signals import setup_logging
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()

from django.conf import settings  # noqa: E402  settings are there only after setup

from workers.contract.broker import TRANSPORT_OPTIONS  # noqa: E402
from workers.contract.messages import PORTAL_QUEUE  # noqa: E402

app = Celery("portal")
app.conf.update(
    broker_url=settings.BROKER_URL,
    task_default_queue=PORTAL_QUEUE,
    # Not acknowledged one by one, which costs more than many a report: what a worker that is killed had in hand, the
    # host's next heartbeat says again, and a job without an end is sent again.
    task_queues=[Queue(PORTAL_QUEUE, routing_key=PORTAL_QUEUE, no_ack=True)],
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_store_eager_result=False,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # A publisher in a request must never wait: the outbox sends again what could not be sent.
    task_publish_retry=False,
    broker_transport_options=TRANSPORT_OPTIONS | {"visibility_timeout": 3600},
    beat_schedule_filename=str(settings.PORTAL_DIR / "beat-schedule"),
    beat_schedule={
        "send what waits in the outbox": {
            "task": "portal.send_outbox",
            "schedule": 5.0,
            "options": {"expires": 5},
        },
        "notice silent hosts": {"task": "portal.notice_hosts", "schedule": 3.0, "options": {"expires": 3}},
        "begin what backup plans are due for": {
            "task": "portal.run_backup_plans",
            "schedule": 20.0,
            "options": {"expires": 20},
        },
        "go on with downloads": {
            "task": "portal.go_on_with_downloads",
            "schedule": 3.0,
            "options": {"expires": 3},
        },
        "look at disk images": {"task": "portal.check_images", "schedule": 10.0, "options": {"expires": 10}},
        "roll up figures": {
            "task": "portal.roll_up_figures",
            "schedule": 20.0,
            "options": {"expires": 20},
        },
        "walk leases and schedules": {
            "task": "portal.walk_leases",
            "schedule": 60.0,
            "options": {"expires": 60},
        },
        "find idle machines": {"task": "portal.find_idle", "schedule": 3600.0, "options": {"expires": 600}},
        "end shares": {"task": "portal.end_shares", "schedule": 10.0, "options": {"expires": 10}},
        "end larger quotas": {"task": "portal.end_quotas", "schedule": 60.0, "options": {"expires": 60}},
        "expire requests": {"task": "portal.expire_requests", "schedule": 60.0, "options": {"expires": 60}},
        "clear old exports": {"task": "portal.clear_exports", "schedule": 600.0, "options": {"expires": 600}},
        "send letters": {"task": "portal.send_letters", "schedule": 5.0, "options": {"expires": 5}},
        "tell web hooks": {"task": "portal.tell_hooks", "schedule": 5.0, "options": {"expires": 5}},
        "chain the activity": {"task": "portal.chain_activity", "schedule": 30.0, "options": {"expires": 30}},
        "check the activity": {
            "task": "portal.check_activity",
            "schedule": crontab(minute=40, hour=3),
            "options": {"expires": 3600},
        },
        "clear old notices": {
            "task": "portal.clear_notices",
            "schedule": 3600.0,
            "options": {"expires": 600},
        },
        "clear old deliveries": {
            "task": "portal.clear_hooks",
            "schedule": 3600.0,
            "options": {"expires": 600},
        },
        "clear what is over": {
            "task": "portal.clear_expired",
            "schedule": 600.0,
            "options": {"expires": 600},
        },
    },
)
app.autodiscover_tasks(
    [
        "portal.machines",
        "portal.fleet",
        "portal.backups",
        "portal.exports",
        "portal.images",
        "portal.figures",
        "portal.screens",
        "portal.requests",
        "portal.quotas",
        "portal.rights",
        "portal.leases",
        "portal.audit",
        "portal.notices",
        "portal.hooks",
    ]
)


@setup_logging.connect
def _keep_our_logging(**_: object) -> None:
    """Celery would replace the root logger's handlers; ours stand in settings.LOGGING."""
