"""Small state files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, value: object, *, mode: int = 0o600) -> None:
    """Replace `path` by `value` as JSON; after the return it survives a power cut (rename(2) after fsync(2))."""
    write_text(path, json.dumps(value, separators=(",", ":")), mode=mode)


def write_text(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace `path` by `text`, whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The value in `path`, None where there is no such file or it is not JSON."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def tail(path: Path, *, most_bytes: int) -> str:
    """The end of a log, decoded leniently; empty where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most_bytes))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
