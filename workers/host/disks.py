"""Making a machine's disks: each appears whole, at its final name, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.spec import DiskKind, DiskSpec
from workers.host.commands import CommandError, run
from workers.killpoints import reached
from workers.plan.disks import create_argv

_RESERVE_BYTES = 1024 * 1024 * 1024
_SLICE_BYTES = 4 * 1024 * 1024 * 1024
_QCOW2_MAGIC = b"QFI\xfb"


class DiskError(OffshootError):
    """A disk could not be made; nothing of it is left."""

    code = ErrorCode.DISK_FAILED


def make_disk(
    disk: DiskSpec,
    path: Path,
    *,
    uid: int,
    gid: int,
    progress: Callable[[int], None],
    fill: Callable[[Path], None] | None = None,
) -> None:
    """Make the file of `disk` at `path`, readable by qemu's account alone; does nothing where it is there.

    It is empty unless `fill` makes the file it is given, of the disk's kind and size. `progress` is told per cent.
    Raises DiskError, with code DISK_FULL where there is no room; what `fill` raises with a code of its own keeps it.
    """
    if path.exists():
        return
    draft = path.with_suffix(path.suffix + ".part")
    with drafted(draft):
        if fill is not None:
            fill(draft)
        else:
            make_empty(disk, draft, progress)
        reached("disk drafted")
        os.chown(draft, uid, gid)
        draft.chmod(0o600)
        draft.rename(path)


@contextmanager
def drafted(draft: Path) -> Iterator[None]:
    """What is done inside makes `draft` and moves it to where it belongs; where it fails nothing of it is left.

    Raises DiskError in the place of what the system or a program says, and else what is raised inside.
    """
    draft.unlink(missing_ok=True)
    with disk_errors():
        try:
            yield
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


@contextmanager
def disk_errors() -> Iterator[None]:
    """What the system or a program says about a disk, as DiskError."""
    try:
        yield
    except OSError as exc:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise DiskError(str(exc), code=_code(full=full)) from exc
    except CommandError as exc:
        raise DiskError(exc.detail, code=_code(full=os.strerror(errno.ENOSPC) in exc.detail)) from exc


def _code(*, full: bool) -> ErrorCode:
    return ErrorCode.DISK_FULL if full else ErrorCode.DISK_FAILED


def make_empty(disk: DiskSpec, path: Path, progress: Callable[[int], None]) -> None:
    """A new file of the disk's kind and size in which nothing is written."""
    if disk.kind is DiskKind.GROWING:
        run(create_argv(disk, path), seconds=30)
    else:
        _reserve(path, disk.size_bytes, progress)


def _reserve(path: Path, size_bytes: int, progress: Callable[[int], None]) -> None:
    """Reserve all of the room (fallocate(2)), a slice at a time so that progress can be told."""
    needs_room(path.parent, size_bytes)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for offset in range(0, size_bytes, _SLICE_BYTES):
            os.posix_fallocate(descriptor, offset, min(_SLICE_BYTES, size_bytes - offset))
            progress(min(100, 100 * (offset + _SLICE_BYTES) // size_bytes))
    finally:
        os.close(descriptor)


def needs_room(folder: Path, size_bytes: int) -> None:
    """Raises OSError (ENOSPC) where `folder` has not that much room, and some to go on with."""
    free = os.statvfs(folder)
    if free.f_bavail * free.f_frsize < size_bytes + _RESERVE_BYTES:
        free_gib = free.f_bavail * free.f_frsize / 1024**3
        raise OSError(
            errno.ENOSPC,
            f"not enough room: {size_bytes / 1024**3:.1f} GiB and 1 GiB to go on with wanted, {free_gib:.1f} GiB free",
        )


def virtual_size(path: Path) -> int | None:
    """The size that a guest sees of the disk in this file, in bytes; None where there is no such file.

    Read from the file itself, so it is true also while qemu has it open (qemu: docs/interop/qcow2.txt).
    """
    try:
        with path.open("rb") as file:
            if path.suffix == ".qcow2":
                header = file.read(32)
                return int.from_bytes(header[24:32], "big") if header.startswith(_QCOW2_MAGIC) else None
            return os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return None


def reserve_more(path: Path, size_bytes: int, progress: Callable[[int], None]) -> None:
    """Make the file of a fixed disk larger, all of its room reserved; as it was before where there is no room.

    Raises DiskError, with code DISK_FULL where there is no room.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        before = os.fstat(descriptor).st_size
        needs_room(path.parent, size_bytes - before)
        try:
            for offset in range(before, size_bytes, _SLICE_BYTES):
                os.posix_fallocate(descriptor, offset, min(_SLICE_BYTES, size_bytes - offset))
                progress(100 * (offset - before) // (size_bytes - before))
        except BaseException:
            os.ftruncate(descriptor, before)
            raise
    except OSError as exc:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise DiskError(str(exc), code=_code(full=full)) from exc
    finally:
        os.close(descriptor)


def takes_direct_io(folder: Path) -> bool:
    """The filesystem of `folder` takes O_DIRECT (open(2)); tmpfs, for one, does not everywhere."""
    trial = folder / f".direct-{os.getpid()}"
    try:
        os.close(os.open(trial, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600))
    except OSError:
        return False
    finally:
        trial.unlink(missing_ok=True)
    return True
