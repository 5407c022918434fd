"""The probe's word on KVM against a real kernel, and on hosts that have no /dev/kvm or may not open it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from tests.guest.build import guest_disc, kernel_and_initrd
from tests.lab import wishes
from tests.lab.broker import PortalsEar
from tests.lab.host import ROOT, LabHost
from workers.config import HostConfig, host_config
from workers.contract.host import KvmAnswer, KvmProbe
from workers.contract.messages import OperationState
from workers.host.commands import run
from workers.host.facts import cpu_facts
from workers.host.probe import cached_probe, probe_kvm
from workers.plan.probe import EXIT_STATUS, IMAGE_BYTES, boot_sector, probe_argv
from workers.plan.qemu import QEMU

EMULATED_SECONDS = 120.0
KVM_SECONDS = 25.0
"""Far more than a processor needs that does its work itself."""

_PROBE = """
import sys
from pathlib import Path
from workers.host.probe import probe_kvm
folder, uid, gid, kvm_gid = sys.argv[1:]
print(probe_kvm(folder=Path(folder), uid=int(uid), gid=int(gid), kvm_gid=int(kvm_gid)).model_dump_json())
"""


@pytest.fixture
def config(folder: Path) -> HostConfig:
    """The accounts that a host's worker would use here."""
    (folder / "fleet.key").write_text("unused")
    return host_config({"OFFSHOOT_HOST_STATE": str(folder)})


def test_the_probes_answer_agrees_with_whether_a_real_kernel_boots_under_kvm(config: HostConfig) -> None:
    probe = probe_kvm(folder=config.state.root, uid=config.uid, gid=config.gid, kvm_gid=config.kvm_gid)
    assert _kernel_boots(config, "tcg", EMULATED_SECONDS), (
        "not even emulated: this test could tell nothing of KVM"
    )
    assert (probe.answer is KvmAnswer.WORKS) == _kernel_boots(config, "kvm", KVM_SECONDS), probe
    assert not list(config.state.root.glob("probe*"))


def test_hollow_kvm_is_told_from_none_by_measuring(config: HostConfig) -> None:
    started = time.monotonic()
    probe = probe_kvm(folder=config.state.root, uid=config.uid, gid=config.gid, kvm_gid=config.kvm_gid)
    assert probe.tcg_seconds is not None
    if not cpu_facts().kvm_device_opens:
        assert probe.answer in (KvmAnswer.NO_MODULE, KvmAnswer.NO_PERMISSION)
    elif cpu_facts().extension is None:
        # Opens without the processor's support: this kind of machine. It is cut off, and says by how much it is slower.
        assert probe.answer is KvmAnswer.TOO_SLOW
        assert probe.slower_than_tcg is not None
        assert probe.slower_than_tcg > 2
        assert "under KVM" in probe.detail
        assert time.monotonic() - started < 30


def test_the_probes_guest_ends_with_its_own_code_under_emulation(config: HostConfig) -> None:
    assert (
        run(probe_argv("tcg", _image(config, boot_sector())), seconds=30, check=False).status == EXIT_STATUS
    )


def test_a_guest_that_never_gets_into_long_mode_does_not_end_with_that_code(config: HostConfig) -> None:
    # Without the LME bit of IA32_EFER the same sector stays in 32-bit mode, where `dec rcx` is another instruction.
    broken = boot_sector().replace(b"\x66\x0d\x00\x01\x00\x00", b"\x66\x0d\x00\x00\x00\x00")
    assert broken != boot_sector()
    argv = ("timeout", "2", *probe_argv("tcg", _image(config, broken)))
    assert run(argv, seconds=30, check=False).status != EXIT_STATUS


def test_a_host_without_the_device_says_so(config: HostConfig) -> None:
    probe = _probe_where(config, "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3")
    assert probe.answer is KvmAnswer.NO_MODULE
    assert "not" in probe.detail
    assert probe.tcg_seconds is not None


def test_a_host_whose_device_may_not_be_opened_says_so(config: HostConfig) -> None:
    nodes = "mknod -m 666 /dev/null c 1 3 && mknod /dev/kvm c 10 232 && mount -o remount,nodev /dev"
    # nodev shuts /dev/null as well, which the probe's children need: it comes back as the real one, bound over.
    keep = "touch /run/null && mount --bind /dev/null /run/null"
    probe = _probe_where(
        config,
        f"mount -t tmpfs none /run && {keep} && mount -t tmpfs none /dev && {nodes} && mount --bind /run/null /dev/null",
    )
    assert probe.answer is KvmAnswer.NO_PERMISSION
    assert "Permission denied" in probe.detail


def test_the_answer_is_kept_until_the_host_the_kernel_or_qemu_is_another(config: HostConfig) -> None:
    known = KvmProbe(answer=KvmAnswer.QEMU_FAILED, detail="told before")
    ask = partial(
        cached_probe, folder=config.state.root, uid=config.uid, gid=config.gid, kvm_gid=config.kvm_gid
    )
    first = ask()
    cache = config.state.root / "kvm-probe.json"
    cache.write_text(cache.read_text().replace(first.model_dump_json(), known.model_dump_json()))
    assert ask() == known
    cache.write_text(cache.read_text().replace('"key":"', '"key":"another boot '))
    assert ask().answer is first.answer


def test_the_worker_runs_machines_with_what_the_probe_allows(host: LabHost, ear: PortalsEar) -> None:
    machine = wishes.spec(disc=host.put_disc(uuid4(), guest_disc("idle")))
    wish = wishes.wish(machine)
    ear.ask(host.name, wish)
    assert ear.end_of(wish.operation_id).state is OperationState.DONE, host.words()[-2000:]
    beat = ear.heartbeat(host.name)
    while beat.facts.kvm is None:  # the first may come before the probe has ended
        beat = ear.heartbeat(host.name, since=beat.sequence)
    expected = "kvm" if beat.facts.kvm.answer is KvmAnswer.WORKS else "tcg"
    [qemu] = host.qemus()
    argv = Path(f"/proc/{qemu}/cmdline").read_bytes().decode().split("\0")
    assert argv[argv.index("-accel") + 1].split(",")[0] == expected
    seen = ear.observed(machine.machine_id, lambda m: m.accelerator is not None)
    assert seen.accelerator == expected
    host.heard(machine.machine_id, "ready")


def _image(config: HostConfig, sector: bytes) -> Path:
    image = config.state.root / "sector.img"
    image.write_bytes(sector)
    os.truncate(image, IMAGE_BYTES)
    return image


def _kernel_boots(config: HostConfig, accelerator: str, seconds: float) -> bool:
    """The small kernel's first program says that it is up, within `seconds`."""
    kernel, initrd = kernel_and_initrd()
    serial = config.state.root / f"serial-{accelerator}"
    log = serial.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            (
                QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", accelerator,
                "-m", "256", "-kernel", str(kernel), "-initrd", str(initrd),
                "-append", "console=ttyS0 quiet panic=-1 offshoot.role=idle", "-serial", f"file:{serial}",
            ),
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and process.poll() is None:
            if serial.exists() and b"OFFSHOOT up" in serial.read_bytes():
                return True
            time.sleep(0.1)
        return False
    finally:
        process.kill()
        process.wait(30)


def _probe_where(config: HostConfig, prepare: str) -> KvmProbe:
    """The probe as a process of its own, in a view of the files that `prepare` changes for it alone."""
    argv = (sys.executable, "-c", _PROBE, str(config.state.root), config.uid, config.gid, config.kvm_gid)
    finished = subprocess.run(
        ("unshare", "--mount", "sh", "-c", f'{prepare} && exec "$@"', "sh", *map(str, argv)),
        cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return KvmProbe.model_validate_json(finished.stdout)
