"""Disk images that people brought: looked at and converted by a qemu-img that can reach nothing but the one file.

The file is handed over open. The program runs as a number without an account, which owns nothing on the host, without
a network and capabilities, with limits on memory, processor time, files and threads, in a session of its own.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workers.contract.errors import ErrorCode, OffshootError
from workers.host import commands
from workers.host.files import tail
from workers.killpoints import reached
from workers.plan import qemuimg
from workers.plan.imageformats.reading import DiskFacts, ImageFormat, ImageRefused
from workers.plan.imageformats.recognise import read_image
from workers.plan.qemuimg import Limits

_ACCOUNTS = range(62000, 64000)
"""Numbers for accounts that live as long as a process (systemd.exec(5), DynamicUser=, takes the same range)."""

_SLOWEST_BYTES_A_SECOND = 2 * 1024 * 1024
_LOOKS_EVERY_SECONDS = 0.03
_MOST_WORDS_BYTES = 64 * 1024
_ROOM_LEFT_BYTES = 1024 * 1024 * 1024
_NO_TABLES = 63
_ONLY_WASTES_ROOM = 3


@dataclass(frozen=True)
class OpenFile:
    """An open file as the readers of the formats see it."""

    descriptor: int
    size: int

    def read(self, at: int, length: int) -> bytes:
        """The bytes from `at` on; none outside the file."""
        return os.pread(self.descriptor, min(length, self.size), at) if 0 <= at < self.size else b""

    @property
    def path(self) -> str:
        """How a process that inherited it opens it, whatever folder it lies in."""
        return f"/dev/fd/{self.descriptor}"


@contextmanager
def opened(path: Path) -> Iterator[OpenFile]:
    """The file, to be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield OpenFile(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def check(file: OpenFile, *, between: Callable[[], None] = lambda: None) -> DiskFacts:
    """What the disk image is. Raises ImageRefused with what was found. `between` is called often, and may raise."""
    facts = read_image(file)
    found = json.loads(_qemu_img(qemuimg.info_argv(facts, file.path), qemuimg.LOOK, file, between=between))
    if "backing-filename" in found or "full-backing-filename" in found or found.get("encrypted"):
        raise ImageRefused("It stands on another file or is encrypted, hidden from a first look.")
    if found.get("virtual-size") != facts.virtual_bytes:
        raise ImageRefused(
            f"Its header claims {facts.virtual_bytes} bytes, and its content has {found.get('virtual-size')}."
        )
    if facts.format is not ImageFormat.RAW:
        seconds = 60 + file.size // _SLOWEST_BYTES_A_SECOND
        limits = Limits(cpu_seconds=seconds, file_bytes=qemuimg.LOOK.file_bytes)
        tables = (0, _ONLY_WASTES_ROOM, _NO_TABLES)
        _qemu_img(qemuimg.check_argv(facts, file.path), limits, file, between=between, good=tables)
    return facts


def convert(
    source: Path, target: Path, *, tell: Callable[[int], None], between: Callable[[], None]
) -> DiskFacts:
    """Make `target` a flat qcow2 image of all that is in the disk image `source`; what it was. `target` is new.

    It is checked anew before, and what came out is looked at afterwards: the program that wrote it has read hostile bytes.
    Raises ImageRefused, or OffshootError with DISK_FULL; nothing is left of the target then.
    """
    try:
        with opened(source) as file:
            facts = check(file, between=between)
            _convert(file, facts, target, tell=tell, between=between)
        with opened(target) as made:
            result = read_image(made)
            if result.format is not ImageFormat.QCOW2 or result.virtual_bytes < facts.virtual_bytes:
                raise ImageRefused("What came out of it is not the disk that it claims to be.")
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return facts


def _convert(
    file: OpenFile,
    facts: DiskFacts,
    target: Path,
    *,
    tell: Callable[[int], None],
    between: Callable[[], None],
) -> None:
    room = shutil.disk_usage(target.parent).free - _ROOM_LEFT_BYTES
    # With its tables a full qcow2 image takes little more than what is in it.
    most = facts.virtual_bytes + facts.virtual_bytes // 1000 + 16 * 1024 * 1024
    if room < min(file.size, most):
        raise OffshootError(
            f"{min(file.size, most)} bytes are needed and {max(room, 0)} are free", code=ErrorCode.DISK_FULL
        )
    account = random.choice(_ACCOUNTS)  # noqa: S311  only to keep two programs of the same moment apart
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchown(descriptor, account, account)
        reached("image drafted")
        limits = Limits(
            cpu_seconds=600 + facts.virtual_bytes // (16 * 1024 * 1024), file_bytes=min(most, room)
        )
        _qemu_img(
            qemuimg.convert_argv(facts, file.path, f"/dev/fd/{descriptor}"),
            limits,
            file,
            account=account,
            writes_to=descriptor,
            tell=tell,
            between=between,
            full=most > room,
        )
        os.fchown(descriptor, 0, 0)
        os.fchmod(descriptor, 0o644)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _qemu_img(
    argv: tuple[str, ...],
    limits: Limits,
    file: OpenFile,
    *,
    account: int | None = None,
    writes_to: int | None = None,
    tell: Callable[[int], None] | None = None,
    between: Callable[[], None],
    good: tuple[int, ...] = (0,),
    full: bool = False,
) -> str:
    """Run it to its end; what it said. Raises ImageRefused, or DISK_FULL where `full` says that its limit is the room."""
    number = account if account is not None else random.choice(_ACCOUNTS)  # noqa: S311
    descriptors = [file.descriptor] + ([writes_to] if writes_to is not None else [])
    with tempfile.TemporaryDirectory(prefix="offshoot-image-") as name:
        said, complaints = Path(name) / "said", Path(name) / "complaints"
        process = commands.spawn(
            qemuimg.confined(argv, limits, account=number),
            stdout=said,
            stderr=complaints,
            pass_fds=descriptors,
        )
        try:
            deadline = time.monotonic() + 30 + 4 * limits.cpu_seconds
            while process.poll() is None:
                between()
                if time.monotonic() > deadline:
                    raise ImageRefused("Looking at it takes longer than any honest image needs.")
                if tell is not None:
                    percent = qemuimg.percent_of(tail(said, most_bytes=400))
                    if percent is not None:
                        tell(percent)
                time.sleep(_LOOKS_EVERY_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode in good:
            return tail(said, most_bytes=limits.file_bytes)
        words = tail(complaints, most_bytes=_MOST_WORDS_BYTES).strip() or tail(said, most_bytes=2000).strip()
        raise _refusal(argv[1], process.returncode, words, full=full)


def _refusal(command: str, status: int, words: str, *, full: bool) -> OffshootError:
    at_its_limit = status == -signal.SIGXFSZ or os.strerror(errno.EFBIG) in words
    if os.strerror(errno.ENOSPC) in words or (at_its_limit and full):
        return OffshootError(words[-500:] or "the limit of the room was reached", code=ErrorCode.DISK_FULL)
    if at_its_limit:
        return ImageRefused("It would become larger than it claims to be.")
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return ImageRefused("Looking at it takes more processor time than any honest image needs.")
    # How the file was named to the program says nothing to a person.
    words = re.sub(r"qemu-img: |(Could not open|Failed to get.*?) 'json:.*?}': ", "", words)
    printable = "".join(each if each.isprintable() else " " for each in words)[-500:]
    if command == "check":
        return ImageRefused(f"Its tables are damaged: {printable}")
    return ImageRefused(f"qemu cannot read it: {printable or f'it ended with status {status}'}")
