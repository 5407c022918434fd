"""Folders for backups: a second disk, a mounted share; each with a folder of ours in it."""

from __future__ import annotations

import os
from pathlib import Path

from workers.config import HostConfig
from workers.contract.host import PlaceFacts
from workers.host.files import read_json, write_json

OURS = "offshoot-backups"
_MIB = 1024 * 1024


def place_facts(config: HostConfig) -> tuple[PlaceFacts, ...]:
    """Every backup folder with its free room, or why it cannot be used now; makes our folder in a new one."""
    facts = []
    for name, path in config.backup_places.items():
        problem = _problem(config, name, path)
        total = free = 0
        if not problem:
            disk = os.statvfs(path)
            total, free = disk.f_blocks * disk.f_frsize // _MIB, disk.f_bavail * disk.f_frsize // _MIB
        facts.append(PlaceFacts(name=name, total_mib=total, free_mib=free, problem=problem))
    return tuple(facts)


def _problem(config: HostConfig, name: str, path: Path) -> str:
    try:
        if not path.is_dir():
            return f"{path} is not a folder"
        ours = path / OURS
        known = _known(config)
        if not ours.is_dir() and known.get(name) == str(path):
            return f"{ours} is gone: is the disk or share mounted at {path}?"
        ours.mkdir(mode=0o700, exist_ok=True)
        trial = ours / f".trial-{os.getpid()}"
        trial.write_bytes(b"")
        trial.unlink()
        if known.get(name) != str(path):
            write_json(config.state.root / "backup-places.json", known | {name: str(path)})
    except OSError as exc:
        return f"{path} cannot be written to: {exc.strerror}"
    return ""


def _known(config: HostConfig) -> dict[str, str]:
    """The places that were in use, so that a folder whose share is not mounted is not taken for a new one."""
    raw = read_json(config.state.root / "backup-places.json")
    return raw if isinstance(raw, dict) else {}
