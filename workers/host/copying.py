"""Copying a disk, what it stands on included, with progress and an end at any time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.contract.disks import DiskKind, DiskSpec
from workers.contract.errors import ErrorCode
from workers.host.commands import follow, run
from workers.host.disks import DiskError, make_empty, needs_room
from workers.plan.disks import chain_argv, copy_argv, measure_argv, percent_in

_MOST_SECONDS = 7 * 24 * 3600.0
_LOOK_SECONDS = 300.0


@dataclass(frozen=True)
class Account:
    """qemu's account: programs that read what guests have written run as it, not as root."""

    uid: int
    gid: int


def copy_disk(
    source: Path,
    source_kind: DiskKind,
    disk: DiskSpec,
    draft: Path,
    *,
    account: Account,
    folders: Sequence[Path],
    tell: Callable[[int], None],
    end_early: Callable[[], None],
) -> None:
    """Make `draft`, of the disk's kind and size, with all that `source` shows. Nobody may write to `source` meanwhile.

    Room is looked at before anything is written. What `source` stands on has to lie in one of `folders`, whatever is
    written in the file itself. Raises DiskError, CommandError, OSError, and what `end_early` raises.
    """
    check_chain(source, source_kind, account, folders)
    if disk.kind is DiskKind.GROWING:
        measured = run(
            measure_argv(source, source_kind), seconds=_LOOK_SECONDS, user=account.uid, group=account.gid
        )
        needs_room(draft.parent, int(json.loads(measured.stdout)["required"]))
    end_early()
    make_empty(disk, draft, lambda _: None)
    os.chown(draft, account.uid, account.gid)

    def heard(line: str) -> None:
        percent = percent_in(line)
        if percent is not None:
            tell(percent)

    follow(
        copy_argv(source, source_kind, draft, disk.kind),
        seconds=_MOST_SECONDS,
        heard=heard,
        between=end_early,
        user=account.uid,
        group=account.gid,
    )


def check_chain(source: Path, kind: DiskKind, account: Account, folders: Sequence[Path]) -> None:
    """A guest that had broken out of its qemu could have written any path into its disk's header. Raises DiskError."""
    told = run(chain_argv(source, kind), seconds=_LOOK_SECONDS, user=account.uid, group=account.gid)
    for image in json.loads(told.stdout)[1:]:
        path = Path(image["filename"])
        if path.parent not in folders:
            raise DiskError(f"{source} says that it stands on {path}", code=ErrorCode.DISK_FAILED)
