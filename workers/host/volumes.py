"""The files in which a machine's snapshots lie, and keeping, putting back and forgetting their content.

A file that a running qemu has open is changed by that qemu alone; any other by qemu-img, under qemu's own account: what
is in the file came from a guest.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workers.contract.errors import ErrorCode, OffshootError
from workers.host.change_records import forget_changes
from workers.host.commands import CommandError, run
from workers.host.monitor import MonitorError, MonitorLoop
from workers.killpoints import reached
from workers.plan.snapshots import Change, at_one_instant, change_argv, forget_command, look_argv

_SECONDS = 600.0
"""A change of a large disk reads and writes all of its tables."""


class SnapshotFailed(OffshootError):
    """A snapshot could not be made or used; what was begun was taken back."""

    code = ErrorCode.SNAPSHOT_FAILED


class SnapshotMissing(OffshootError):
    """The snapshot is not, or not whole, on this host."""

    code = ErrorCode.SNAPSHOT_MISSING


@dataclass(frozen=True)
class Volume:
    """A file that holds snapshots; `node` is what a running qemu calls it that has it open, None where none has."""

    path: Path
    node: str | None = None


@dataclass(frozen=True)
class Volumes:
    """All such files of a machine; `socket` is the monitor of its qemu, for those that it has open."""

    each: tuple[Volume, ...]
    socket: Path
    monitors: MonitorLoop
    uid: int
    gid: int

    def keep(self, name: str) -> None:
        """Keep what they hold now under this name: those in use at one instant, and all or none. Raises SnapshotFailed."""
        try:
            for volume in self.each:
                if volume.node is None and name not in self.names(volume):
                    self._change("create", name, volume)
            nodes = [volume.node for volume in self.each if volume.node is not None]
            if nodes:
                self.monitors.execute(self.socket, at_one_instant(nodes, name))
        except (CommandError, MonitorError) as exc:
            try:
                self.forget(name)
            except SnapshotFailed as second:
                raise _failed(exc) from second
            raise _failed(exc) from exc

    def put_back(self, name: str) -> None:
        """Make them hold what they held then; nobody may have them open. Raises SnapshotFailed."""
        for volume in self.each:
            try:
                # What has changed since a backup is not known any more then; qemu-img refuses as long as a record says it is.
                forget_changes(volume.path, uid=self.uid, gid=self.gid)
                self._change("apply", name, volume)
            except CommandError as exc:
                raise _failed(exc) from exc
            reached("a disk put back")

    def forget(self, name: str) -> None:
        """Give the room of this name back; harmless where it is not there. Raises SnapshotFailed."""
        for volume in self.each:
            try:
                if not volume.path.exists() or name not in self.names(volume):
                    continue
                if volume.node is not None:
                    self.monitors.execute(self.socket, forget_command(volume.node, name))
                else:
                    self._change("delete", name, volume)
            except (CommandError, MonitorError) as exc:
                raise _failed(exc) from exc

    def names(self, volume: Volume) -> frozenset[str]:
        """What is kept in it. Raises SnapshotFailed where it cannot be read."""
        try:
            found = json.loads(self._run(look_argv(volume.path), seconds=60))
        except (CommandError, json.JSONDecodeError) as exc:
            raise SnapshotFailed(str(exc)) from exc
        return frozenset(str(each["name"]) for each in found.get("snapshots", ()))

    def lacking(self, name: str) -> list[Path]:
        """The files that are gone or do not hold it."""
        return [v.path for v in self.each if not v.path.exists() or name not in self.names(v)]

    def holding(self, name: str) -> Volumes:
        """Those of them that hold it."""
        return replace(self, each=tuple(v for v in self.each if v.path.exists() and name in self.names(v)))

    def closed(self) -> Volumes:
        """The same once the machine is off."""
        return replace(self, each=tuple(Volume(volume.path) for volume in self.each))

    def _change(self, change: Change, name: str, volume: Volume) -> None:
        self._run(change_argv(change, name, volume.path), seconds=_SECONDS)

    def _run(self, argv: Sequence[str], *, seconds: float) -> str:
        return run(argv, seconds=seconds, user=self.uid, group=self.gid).stdout


def volumes_of(
    paths: Iterable[Path], *, runs: bool, socket: Path, monitors: MonitorLoop, uid: int, gid: int
) -> Volumes:
    """These files, as the machine's qemu has them open where it runs. Raises MonitorError."""
    nodes = _open_nodes(socket, monitors) if runs else {}
    each = tuple(Volume(path, nodes.get(str(path))) for path in paths)
    return Volumes(each, socket, monitors, uid, gid)


def _open_nodes(socket: Path, monitors: MonitorLoop) -> dict[str, str]:
    """The files that a qemu writes as growing disks, with its names for them."""
    [nodes] = monitors.execute(socket, ("query-named-block-nodes", {"flat": True}))
    return {str(n["file"]): str(n["node-name"]) for n in nodes if n["drv"] == "qcow2" and not n["ro"]}


def _failed(exc: Any) -> SnapshotFailed:
    full = os.strerror(errno.ENOSPC) in exc.detail
    return SnapshotFailed(exc.detail, code=ErrorCode.DISK_FULL if full else ErrorCode.SNAPSHOT_FAILED)
