"""Pools: folders beside the host's own in which disks lie, each with a folder of ours in it."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from uuid import UUID

import structlog

from workers.config import HostConfig
from workers.contract.host import PlaceFacts
from workers.host import wishes
from workers.host.files import read_json, write_json

MIB = 1024 * 1024
log = structlog.get_logger()


def pool_facts(config: HostConfig) -> tuple[PlaceFacts, ...]:
    """Every pool with its free room, or why it cannot be used now; makes and mends our folder in each."""
    facts = []
    for name, path in config.pools.items():
        problem = _problem(config, name, path)
        total = free = 0
        if not problem:
            disk = os.statvfs(path)
            total, free = disk.f_blocks * disk.f_frsize // MIB, disk.f_bavail * disk.f_frsize // MIB
        facts.append(PlaceFacts(name=name, total_mib=total, free_mib=free, problem=problem))
    return tuple(facts)


def remove_machine(config: HostConfig, machine_id: UUID) -> None:
    """No file of the machine is left in any pool that is there."""
    for path in config.pools.values():
        _discard(path / "offshoot" / str(machine_id))


def sweep(config: HostConfig) -> None:
    """Remove what is left of machines that were deleted while a pool was away."""
    for path in config.pools.values():
        for folder in (path / "offshoot").glob("*-*-*-*-*/"):
            if wishes.is_buried(config.state, UUID(folder.name)):
                _discard(folder)


def _discard(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as exc:  # tried again at the worker's next start
        log.warning("files of a deleted machine stay", folder=str(folder), error=str(exc))


def _problem(config: HostConfig, name: str, path: Path) -> str:
    """Why the pool cannot be used; empty where it can. Our own folder in it is made, and its mode put right."""
    if not path.is_dir():
        return f"{path} is not a folder"
    blocked = next((each for each in (path, *path.parents) if not _may_enter(each, config)), None)
    if blocked is not None:
        return f"{blocked} cannot be entered by the account {config.machine_user}: chmod o+x {blocked}"
    ours = path / "offshoot"
    known = _known(config)
    if not ours.is_dir() and known.get(name) == str(path):
        return f"{ours} is gone: is the disk mounted at {path}?"
    try:
        ours.mkdir(exist_ok=True)
        if stat.S_IMODE(ours.stat().st_mode) != 0o711:
            ours.chmod(0o711)
        if not os.access(ours, os.W_OK):  # root may write everywhere but to what is mounted read-only
            return f"{path} is mounted read-only"
        if known.get(name) != str(path):
            write_json(config.state.root / "pools.json", known | {name: str(path)})
    except OSError as exc:
        return f"{path} cannot be written to: {exc.strerror}"
    return ""


def _known(config: HostConfig) -> dict[str, str]:
    """The pools that were in use, so that a folder whose disk is not mounted is not taken for an empty pool."""
    raw = read_json(config.state.root / "pools.json")
    return raw if isinstance(raw, dict) else {}


def _may_enter(folder: Path, config: HostConfig) -> bool:
    """qemu's account may pass through the folder (path_resolution(7)); its access lists are not looked at."""
    found = folder.stat()
    bit = (
        stat.S_IXUSR
        if found.st_uid == config.uid
        else stat.S_IXGRP
        if found.st_gid == config.gid
        else stat.S_IXOTH
    )
    return bool(found.st_mode & bit)
