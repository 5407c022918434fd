"""Building the test guest: Debian's cloud kernel, a static busybox and one script, as a disc that boots in seconds."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from launch.bootable_disc import make_bootable_disc
from tests.guest.packages import CACHE, fetch_package, run, unpacked

_INIT = Path(__file__).with_name("init")
_MODULES = (
    "virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "failover",
    "net_failover", "virtio_net", "virtio_blk", "evdev", "button",
)  # fmt: skip
_OLD_MODULES = (
    "crct10dif_common", "crc-t10dif", "crc64", "crc64-rocksoft", "t10-pi", "scsi_common", "scsi_mod", "libata",
    "libahci", "ahci", "sd_mod", "e1000", "evdev", "button",
)  # fmt: skip
_BUSYBOX = Path("/bin/busybox")
QUICK = (
    "mitigations=off nokaslr rodata=off cryptomgr.notests "
    "initcall_blacklist=init_kprobe_trace,slab_sysfs_init"
)
"""What a kernel need not do for a test: a quarter less to compute at each start, where every instruction is emulated."""


@dataclass(frozen=True)
class Kernel:
    """A kernel of Debian's, by its meta-package, with the modules that the guest loads, and where it is kept."""

    package: str
    modules: tuple[str, ...]
    folder: Path
    init: Path = _INIT
    programs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Programs beside busybox: the path in its package, and the packages that it and its libraries come from."""


CLOUD = Kernel("linux-image-cloud-amd64", _MODULES, CACHE)
_EXT4_MODULES = (*_MODULES, "crc16", "mbcache", "jbd2", "crc32c_generic", "ext4")
WITH_EXT4 = Kernel("linux-image-cloud-amd64", _EXT4_MODULES, CACHE / "ext4")
"""Has a filesystem that tells its disk what is no longer needed."""

WITH_PANIC = Kernel("linux-image-cloud-amd64", (*_MODULES, "pvpanic", "pvpanic-mmio"), CACHE / "panic")
"""Tells its machine when it crashes."""

WITH_BALLOON = Kernel("linux-image-cloud-amd64", (*_MODULES, "virtio_balloon"), CACHE / "balloon")
"""Gives memory back when its host asks for it."""

WITH_IPV6 = Kernel(
    "linux-image-cloud-amd64",
    _MODULES,
    CACHE / "ipv6",
    programs=(("usr/sbin/dhcp6c", ("wide-dhcpv6-client", "libfl2")),),
)
"""Asks for an IPv6 address by DHCPv6: Debian's static busybox cannot."""

WITH_SERVERS = Kernel(
    "linux-image-cloud-amd64",
    _MODULES,
    CACHE / "servers",
    programs=(
        ("usr/sbin/dhcp6c", ("wide-dhcpv6-client", "libfl2")),
        ("usr/sbin/dhcp6s", ("wide-dhcpv6-server", "libfl2")),
        ("usr/sbin/radvd", ("radvd",)),
        ("bin/nc.openbsd", ("netcat-openbsd", "libbsd0", "libmd0")),
    ),
)
"""Is a router and a DHCPv6 server, and speaks UDP: Debian's static busybox cannot."""

WITH_IPERF = Kernel(
    "linux-image-cloud-amd64",
    _MODULES,
    CACHE / "iperf",
    programs=(("usr/bin/iperf3", ("iperf3", "libiperf0", "libsctp1")),),
)
"""Measures what its network carries."""

OLD_HARDWARE = Kernel("linux-image-amd64", _OLD_MODULES, CACHE / "full")
"""Knows real hardware of old and nothing of virtio: the cloud kernel has neither AHCI nor e1000."""

WITH_DRIVES = Kernel(
    "linux-image-amd64", (*_OLD_MODULES, "cdrom", "sr_mod", "efivarfs"), CACHE / "with-drives"
)
"""Sees disc drives and the firmware's variables too."""


def guest_disc(role: str, *, kernel: Kernel = CLOUD, **words: str) -> Path:
    """A bootable disc on which the guest plays `role`; `words` are handed to it on the kernel's command line."""
    arguments = f"console=ttyS0 console=tty0 quiet panic=-1 {QUICK} offshoot.role={role} " + " ".join(
        f"offshoot.{key}={value}" for key, value in sorted(words.items())
    )
    image, initrd = kernel_and_initrd(kernel)
    digest = hashlib.sha256(arguments.encode() + initrd.name.encode()).hexdigest()[:16]
    target = kernel.folder / f"{role}-{digest}.iso"
    if not target.exists():
        make_bootable_disc(target, kernel=image, initrd=initrd, arguments=arguments, label="OFFSHOOT_TEST")
    return target


def kernel_and_initrd(kernel: Kernel = CLOUD) -> tuple[Path, Path]:
    """The guest's kernel and its initial RAM disk; made on the first call and kept in .cache."""
    kernel.folder.mkdir(parents=True, exist_ok=True)
    with (kernel.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        image = kernel.folder / "vmlinuz"
        modules = kernel.folder / "modules"
        if not (image.exists() and modules.exists()):
            _fetch_kernel(kernel, image, modules)
        initrd = kernel.folder / f"initrd-{hashlib.sha256(kernel.init.read_bytes()).hexdigest()[:16]}.gz"
        if not initrd.exists():
            _make_initrd(initrd, modules, kernel)
        return image, initrd


def _fetch_kernel(kernel: Kernel, image: Path, modules: Path) -> None:
    tree = _unpacked(kernel.package)
    draft = modules.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    for module in kernel.modules:
        for found in tree.glob(f"lib/modules/*/kernel/**/{module}.ko"):
            shutil.copy(found, draft)
    [found_image] = tree.glob("boot/vmlinuz-*")
    shutil.copy(found_image, image)
    draft.rename(modules)


def _unpacked(package: str) -> Path:
    """The tree of the kernel that a meta-package names: one for all guests that it starts."""
    depends = run("apt-cache", "depends", package, cwd=CACHE)
    named = re.search(r"Depends: (linux-image-\d\S+)", depends)
    if named is None:
        raise RuntimeError(f"{package} names no kernel: {depends}")
    return unpacked(named.group(1))


def _make_initrd(target: Path, modules: Path, kernel: Kernel) -> None:
    with tempfile.TemporaryDirectory(prefix="offshoot-initrd-") as name:
        tree = Path(name)
        for folder in ("bin", "sbin", "proc", "sys", "dev", "etc"):
            (tree / folder).mkdir()
        shutil.copy(_BUSYBOX, tree / "bin" / "busybox")
        (tree / "bin" / "sh").symlink_to("busybox")
        shutil.copytree(modules, tree / "modules")
        for path, packages in kernel.programs:
            _add_program(tree, path, packages)
        shutil.copy(kernel.init, tree / "init")
        (tree / "init").chmod(0o755)
        draft = target.with_suffix(".draft")
        with draft.open("wb") as out:
            subprocess.run(
                ("sh", "-c", "find . | cpio -o -H newc --quiet | gzip"), cwd=tree, stdout=out, check=True
            )
        draft.replace(target)


def _add_program(tree: Path, path: str, packages: tuple[str, ...]) -> None:
    """Lay a program into the guest, with the libraries that it needs (ldd(1))."""
    with tempfile.TemporaryDirectory(prefix="offshoot-program-") as name:
        for package in packages:
            fetched = fetch_package(package, Path(name))
        program = fetched / path
        libraries = f"LD_LIBRARY_PATH={fetched}/usr/lib/x86_64-linux-gnu"
        listed = run("env", libraries, "ldd", str(program), cwd=Path(name))
        for library in re.findall(r"(/\S+)(?= \(0x)", listed):
            folder = "lib64" if "ld-linux" in library else "lib/x86_64-linux-gnu"
            (tree / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(library, tree / folder)
        shutil.copy(program, tree / "sbin")
