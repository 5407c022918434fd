"""Copying between disks and files by qemu's own block layer: a running machine's, or that of a qemu without a machine.

The files reach qemu as open descriptors, so that its account needs no right to the folders they lie in. All nodes and
jobs that are made here carry one prefix, by which what a killed worker has left is found and cleared away.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.config import HostConfig
from workers.contract.errors import ErrorCode, OffshootError
from workers.host.commands import spawn
from workers.host.files import tail
from workers.host.monitor import MonitorError, MonitorLoop
from workers.plan.blocks import copier_argv, file_node

PREFIX = "offshoot-copy"
_ANSWER_SECONDS = 60.0
_CONNECT_SECONDS = 5.0
_UP_SECONDS = 30.0
_FLUSH_SECONDS = 120.0
_LOOK_SECONDS = 0.2


class CopyError(OffshootError):
    """qemu could not copy; the detail has its words."""

    code = ErrorCode.BACKUP_FAILED


@dataclass(frozen=True)
class Blocks:
    """The block layer behind a monitor."""

    monitors: MonitorLoop
    socket: Path

    def do(self, command: str, **arguments: Any) -> Any:
        """One command and its answer. Raises MonitorError."""
        return self._execute((command, _dashed(arguments)))[0]

    def _execute(
        self, *commands: tuple[str, dict[str, Any]], fdsets: Mapping[int, int] | None = None
    ) -> list[Any]:
        """A monitor serves one client: who comes in the moment in which another one leaves is turned away, and comes again."""
        deadline = time.monotonic() + _CONNECT_SECONDS
        while True:
            try:
                return self.monitors.execute(self.socket, *commands, fdsets=fdsets, seconds=_ANSWER_SECONDS)
            except MonitorError as exc:
                if not exc.detail.startswith("cannot connect") or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def open(self, name: str, path: Path, driver: str, *, writable: bool, backing: str | None = None) -> str:
        """Make a node of a file; its name. Raises MonitorError, OSError."""
        number = 2**20 + secrets.randbelow(2**30)
        node = file_node(
            f"{PREFIX}-{name}", f"/dev/fdset/{number}", driver, writable=writable, backing=backing
        )
        descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            self._execute(
                ("blockdev-add", node), ("remove-fd", {"fdset-id": number}), fdsets={number: descriptor}
            )
        finally:
            os.close(descriptor)
        return str(node["node-name"])

    def named(self) -> dict[str, dict[str, Any]]:
        """Every node by its name."""
        return {each["node-name"]: each for each in self.do("query-named-block-nodes")}

    def copy(
        self, source: str, target: str, sync: str, *, tell: Callable[[int], None], between: Callable[[], None]
    ) -> None:
        """Copy a node into another one of the same size (blockdev-backup). Raises CopyError, MonitorError."""
        job = f"{PREFIX}-{secrets.token_hex(4)}"
        self.do("blockdev-backup", job_id=job, device=source, target=target, sync=sync, auto_dismiss=False)
        self.follow([job], tell=tell, between=between)

    def follow(
        self, jobs: Sequence[str], *, tell: Callable[[int], None], between: Callable[[], None]
    ) -> None:
        """Wait until the jobs have ended well; `tell` hears per cent. Raises CopyError, and what `between` raises."""
        while True:
            found = {each["id"]: each for each in self.do("query-jobs")}
            lost = [job for job in jobs if job not in found]
            errors = [str(found[job]["error"]) for job in jobs if job in found and found[job].get("error")]
            if lost or errors:
                raise CopyError("; ".join(errors) or "the copying ended unexpectedly")
            total = sum(found[job]["total-progress"] for job in jobs)
            tell(100 * sum(found[job]["current-progress"] for job in jobs) // max(total, 1))
            if all(found[job]["status"] == "concluded" for job in jobs):
                for job in jobs:
                    self.do("job-dismiss", id=job)
                return
            between()
            time.sleep(_LOOK_SECONDS)

    def clear(self) -> None:
        """End all jobs and remove all nodes that were made here, also by a worker that was killed. Raises MonitorError."""
        deadline = time.monotonic() + _ANSWER_SECONDS
        while jobs := [each for each in self.do("query-jobs") if each["id"].startswith(PREFIX)]:
            for job in jobs:
                command = "job-dismiss" if job["status"] == "concluded" else "job-cancel"
                try:
                    self.do(command, id=job["id"])
                except MonitorError:
                    pass  # it is just ending
            if time.monotonic() > deadline:
                raise MonitorError("the copying does not end")
            time.sleep(0.05)
        for name in self.named():
            if name.startswith(PREFIX):
                self.do("blockdev-del", node_name=name)


@contextmanager
def copier(
    monitors: MonitorLoop, config: HostConfig, nodes: Sequence[dict[str, Any]] = ()
) -> Iterator[Blocks]:
    """A qemu without a machine, as qemu's own account, for as long as what is inside takes. Raises CopyError.

    It is always asked to end, so that what it has open is whole; a worker that is killed takes it with it.
    """
    folder = config.state.root / "copiers" / secrets.token_hex(4)
    folder.mkdir(mode=0o700, parents=True)
    folder.parent.chmod(0o711)
    os.chown(folder, config.uid, config.gid)
    log, socket = folder.with_suffix(".log"), folder / "qmp.sock"
    blocks = Blocks(monitors, socket)
    process: subprocess.Popen[bytes] | None = None
    try:
        process = spawn(copier_argv(socket, nodes), stdout=log, stderr=log, user=config.uid, group=config.gid)
        _await(blocks, process, log)
        yield blocks
    finally:
        if process is not None:
            _end(blocks, process)
        log.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_copiers(config: HostConfig) -> None:
    """The folders of copiers that ended with an earlier worker."""
    shutil.rmtree(config.state.root / "copiers", ignore_errors=True)


def _await(blocks: Blocks, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _UP_SECONDS
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise CopyError(tail(log, most_bytes=2000) or f"qemu ended with status {process.returncode}")
        if blocks.socket.exists():
            try:
                blocks.do("query-version")
                return
            except MonitorError:
                pass  # it listens in a moment
        time.sleep(0.01)


def _end(blocks: Blocks, process: subprocess.Popen[bytes]) -> None:
    try:
        blocks.do("quit")
    except MonitorError:
        pass  # it may be gone
    try:
        process.wait(_FLUSH_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _dashed(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in arguments.items()}
