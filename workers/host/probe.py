"""Does KVM really work here? Answered by running a small 64-bit guest under it, never by looking at /dev/kvm alone."""

from __future__ import annotations

import os
import platform
import stat
import time
from pathlib import Path

from workers.contract.errors import ErrorCode
from workers.contract.host import KvmAnswer, KvmProbe
from workers.host.boot import boot_id
from workers.host.commands import CommandError, run
from workers.host.files import read_json, write_json
from workers.plan.probe import EXIT_STATUS, IMAGE_BYTES, ITERATIONS, SECONDS, boot_sector, probe_argv
from workers.plan.qemu import QEMU, Accelerator

_DEVICE = Path("/dev/kvm")
_TCG_SECONDS = 30.0
_SLOWER_IS_USELESS = 2.0
"""KVM that takes longer than this many times TCG's time is no acceleration; noise is far below it."""


def cached_probe(*, folder: Path, uid: int, gid: int, kvm_gid: int) -> KvmProbe:
    """The probe's answer, run anew after each start of the host, with each kernel and each qemu."""
    key = f"{boot_id()} {platform.release()} {qemu_version()}"
    cache = folder / "kvm-probe.json"
    known = read_json(cache)
    if isinstance(known, dict) and known.get("key") == key:
        return KvmProbe.model_validate(known["probe"], strict=False)
    probe = probe_kvm(folder=folder, uid=uid, gid=gid, kvm_gid=kvm_gid)
    write_json(cache, {"key": key, "probe": probe.model_dump(mode="json")})
    return probe


def probe_kvm(*, folder: Path, uid: int, gid: int, kvm_gid: int) -> KvmProbe:
    """Run the probe's guest under TCG and for at most 2 s under KVM, as qemu's own account, and compare."""
    image = folder / "probe.img"
    image.write_bytes(boot_sector())
    os.truncate(image, IMAGE_BYTES)
    image.chmod(0o644)
    try:
        tcg, tcg_words = _timed("tcg", image, uid, gid, (), _TCG_SECONDS)
        if not Path("/sys/module/kvm").exists() and not _DEVICE.exists():
            return _answer(KvmAnswer.NO_MODULE, "the kernel module kvm is not loaded", tcg)
        if not _DEVICE.exists():
            return _answer(
                KvmAnswer.NO_MODULE, "/dev/kvm is not there: kvm_intel or kvm_amd is not loaded", tcg
            )
        refusal = _grant(kvm_gid)
        if refusal:
            return _answer(KvmAnswer.NO_PERMISSION, refusal, tcg)
        if tcg is None:
            return _answer(KvmAnswer.QEMU_FAILED, f"not even the emulated guest ran: {tcg_words}", tcg)
        kvm, words = _timed("kvm", image, uid, gid, (kvm_gid,), SECONDS)
        return judge(kvm, tcg, words)
    finally:
        image.unlink(missing_ok=True)


def judge(kvm_seconds: float | None, tcg_seconds: float, words: str) -> KvmProbe:
    """The answer to what was measured; `words` are empty where KVM was cut off rather than failed."""
    if kvm_seconds is None and words:
        return KvmProbe(answer=KvmAnswer.QEMU_FAILED, detail=words, tcg_seconds=tcg_seconds)
    ratio = (kvm_seconds or SECONDS) / tcg_seconds
    if kvm_seconds is None or ratio > _SLOWER_IS_USELESS:
        ended = "was cut off after" if kvm_seconds is None else "took"
        return KvmProbe(
            answer=KvmAnswer.TOO_SLOW,
            detail=f"a 64-bit loop of {ITERATIONS:,} iterations {ended} {kvm_seconds or SECONDS:.2f} s under KVM "
            f"and took {tcg_seconds:.2f} s under emulation",
            kvm_seconds=kvm_seconds,
            tcg_seconds=tcg_seconds,
            slower_than_tcg=ratio,
        )
    return KvmProbe(
        answer=KvmAnswer.WORKS,
        detail=f"a 64-bit loop of {ITERATIONS:,} iterations took {kvm_seconds:.2f} s under KVM",
        kvm_seconds=kvm_seconds,
        tcg_seconds=tcg_seconds,
        slower_than_tcg=ratio,
    )


def qemu_version() -> str:
    """The version line of the installed qemu."""
    return (
        run((QEMU, "--version"), seconds=20).stdout.partition("\n")[0].removeprefix("QEMU emulator version ")
    )


def _answer(answer: KvmAnswer, detail: str, tcg_seconds: float | None) -> KvmProbe:
    return KvmProbe(answer=answer, detail=detail, tcg_seconds=tcg_seconds)


def _timed(
    accelerator: Accelerator, image: Path, uid: int, gid: int, groups: tuple[int, ...], seconds: float
) -> tuple[float | None, str]:
    """Seconds of the whole run (None where it did not end rightly) and qemu's words where it failed."""
    start = time.monotonic()
    try:
        finished = run(
            probe_argv(accelerator, image),
            seconds=seconds,
            check=False,
            user=uid,
            group=gid,
            extra_groups=groups,
        )
    except CommandError as exc:
        return None, "" if exc.code is ErrorCode.COMMAND_TIMED_OUT else exc.detail
    if finished.status != EXIT_STATUS:
        return None, finished.stderr.strip()[-1000:] or f"qemu ended with status {finished.status}"
    return time.monotonic() - start, ""


def _grant(kvm_gid: int) -> str:
    """Let the group kvm open /dev/kvm, as Debian's udev rule does where udev runs; why not, or empty."""
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
        state = _DEVICE.stat()
        if state.st_gid != kvm_gid or stat.S_IMODE(state.st_mode) & 0o060 != 0o060:
            os.chown(_DEVICE, 0, kvm_gid)
            _DEVICE.chmod(0o660)
    except OSError as exc:
        return f"/dev/kvm cannot be opened: {exc.strerror}"
    return ""
