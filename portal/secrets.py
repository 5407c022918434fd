"""The installation's secrets: made once, kept in a file that only its owner reads."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Secrets:
    """`django_key` signs sessions; `fleet_key` is what portal and hosts share."""

    django_key: str
    fleet_key: str


def load_or_create(path: Path) -> Secrets:
    """The secrets at `path`, made with mode 0600 where there are none.

    Two processes that start at once end with the same secrets: the file appears whole, by link(2), or not at all.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        fresh = Secrets(django_key=secrets.token_urlsafe(48), fleet_key=secrets.token_urlsafe(48))
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(fresh), file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # somebody was quicker; theirs counts
        finally:
            draft.unlink()
    return Secrets(**json.loads(path.read_text()))
