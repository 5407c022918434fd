"""Building a cloud image: a real Debian with its own cloud-init, OpenSSH and guest agent that starts by itself from its disk.

Made from Debian's packages on the first call (mmdebstrap, about a minute) and kept in .cache. Its init is a script instead of
systemd, so that it is up in half a minute even where every instruction is emulated.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from tests.guest.build import CLOUD, Kernel, kernel_and_initrd
from tests.guest.packages import CACHE

FOLDER = CACHE / "cloud"
_HERE = Path(__file__).parent
_SYSTEM = _HERE / "cloud_system"
KERNEL = Kernel(
    CLOUD.package,
    (*CLOUD.modules, "virtio_console", "cdrom", "isofs"),
    FOLDER,
    init=_HERE / "cloud_first",
)
_PACKAGES = (
    "cloud-init", "openssh-server", "qemu-guest-agent", "iproute2", "sudo", "isc-dhcp-client",
)  # fmt: skip
_UNUSED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/i18n",
    "var/lib/apt/lists",
    "var/cache/apt",
)
_MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
_SECTOR = 512
_BOOT_BYTES = 64 * 1024 * 1024
_SYSTEM_BYTES = 640 * 1024 * 1024
_FIRST_BYTE = 1024 * 1024
SYSTEM_AT = _FIRST_BYTE + _BOOT_BYTES
"""Where the system's filesystem begins."""

_SETTINGS = """# As in Debian's own cloud images; fewer kinds of keys and fewer modules make it quick.
datasource_list: [ NoCloud, None ]
ssh_genkeytypes: [ ed25519 ]
cloud_config_modules: [ set-passwords ]
cloud_final_modules: [ package-update-upgrade-install ]
"""
_SHUTDOWN = """#!/bin/sh
echo OFFSHOOT shutdown "$@" >/dev/ttyS0
sync
echo o >/proc/sysrq-trigger
"""
_APT = """#!/bin/sh
echo OFFSHOOT apt "$@" >/dev/ttyS0
"""


def cloud_image() -> Path:
    """The image, as qcow2: partition 1 starts the kernel (syslinux), partition 2 is the system (ext4)."""
    kernel, initrd = kernel_and_initrd(KERNEL)
    parts = (_SYSTEM.read_text(), _SETTINGS, _SHUTDOWN, _APT, " ".join(_PACKAGES), initrd.name)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    target = FOLDER / f"debian-{digest}.qcow2"
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(prefix="offshoot-cloud-") as name:
                draft = target.with_suffix(".draft")
                _make(draft, Path(name), kernel, initrd)
                draft.replace(target)
    return target


def _make(target: Path, work: Path, kernel: Path, initrd: Path) -> None:
    system, boot, whole = work / "system.ext4", work / "boot.fat", work / "whole.raw"
    _run("mke2fs", "-q", "-t", "ext4", "-d", str(_tree(work)), str(system), f"{_SYSTEM_BYTES // 1024}k")
    configuration = work / "syslinux.cfg"
    configuration.write_text(
        "default linux\nprompt 0\ntimeout 0\nlabel linux\n  kernel /linux\n"
        "  append initrd=/initrd.gz console=ttyS0 quiet panic=-1\n"
    )
    with boot.open("wb") as file:
        file.truncate(_BOOT_BYTES)
    _run("mformat", "-i", str(boot), "-F", "-v", "BOOT", "::")
    for source, name in ((kernel, "linux"), (initrd, "initrd.gz"), (configuration, "syslinux.cfg")):
        _run("mcopy", "-i", str(boot), str(source), f"::{name}")
    _run("syslinux", "--install", str(boot))
    with whole.open("wb") as disk:
        disk.write(_MBR.read_bytes().ljust(446, b"\0"))
        disk.write(_partition(0x80, 0x0C, _FIRST_BYTE, _BOOT_BYTES))
        disk.write(_partition(0x00, 0x83, SYSTEM_AT, _SYSTEM_BYTES))
        disk.write(bytes(32) + b"\x55\xaa")
    for source, offset in ((boot, _FIRST_BYTE), (system, SYSTEM_AT)):
        seek = ("oflag=seek_bytes", f"seek={offset}", "conv=notrunc,sparse", "bs=1M", "status=none")
        _run("dd", f"if={source}", f"of={whole}", *seek)
    _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(whole), str(target))


def _tree(work: Path) -> Path:
    """Debian's files, with the guest's own init in place of systemd's."""
    tree = work / "tree"
    tree.mkdir()
    _run("tar", "-xf", str(_debian()), "-C", str(tree), "--exclude=./dev/*")
    for unused in _UNUSED:
        shutil.rmtree(tree / unused, ignore_errors=True)
        (tree / unused).mkdir(parents=True)
    for path, text in (
        ("sbin/init", _SYSTEM.read_text()),
        ("sbin/shutdown", _SHUTDOWN),
        ("usr/local/bin/apt-get", _APT),
    ):
        (tree / path).write_text(text)
        (tree / path).chmod(0o755)
    (tree / "etc/cloud/cloud.cfg.d/90_sources.cfg").write_text(_SETTINGS)
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()  # an image has none: each machine makes its own
    return tree


def _debian() -> Path:
    """A small Debian, as it comes from its packages."""
    digest = hashlib.sha256(" ".join(_PACKAGES).encode()).hexdigest()[:16]
    target = FOLDER / f"debian-{digest}.tar"
    if not target.exists():
        draft = target.with_suffix(".draft.tar")
        _run(
            "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(_PACKAGES)}",
            '--aptopt=Apt::Install-Recommends "false"', "bookworm", str(draft), "http://deb.debian.org/debian",
        )  # fmt: skip
        draft.replace(target)
    return target


def _partition(flag: int, kind: int, first_byte: int, size_bytes: int) -> bytes:
    """An entry of the partition table of a master boot record, by sectors alone."""
    no_cylinders = b"\xfe\xff\xff"
    return struct.pack(
        "<B3sB3sII", flag, no_cylinders, kind, no_cylinders, first_byte // _SECTOR, size_bytes // _SECTOR
    )


def _run(*argv: str) -> None:
    finished = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=600)
    if finished.returncode != 0:
        raise RuntimeError(f"{argv[0]}: {finished.stderr[-2000:]}")
