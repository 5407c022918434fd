"""The portal's settings over a state folder of the test run's own."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Short, since a unix socket's address has room for 107 characters (unix(7)).
_state = tempfile.mkdtemp(prefix="ofs-", dir="/tmp")
_owner = os.getpid()


def _remove_state() -> None:
    if os.getpid() == _owner:  # not in a child that was forked from here
        shutil.rmtree(_state, ignore_errors=True)


atexit.register(_remove_state)
os.environ["OFFSHOOT_STATE"] = _state
os.environ["OFFSHOOT_DATABASE_URL"] = os.environ.get("OFFSHOOT_TEST_DATABASE_URL", "")

from portal.settings import *  # noqa: E402, F403
from portal.settings import DATABASES, STATIC_ROOT  # noqa: E402

DATABASES["default"]["TEST"] = {"NAME": str(Path(_state) / "test.sqlite3")}
if os.environ["OFFSHOOT_DATABASE_URL"]:
    DATABASES["default"]["TEST"] = {"NAME": "offshoot_test"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # speed; nothing here is a secret
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}  # `wired` uses a real Redis
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
