"""A disc that UEFI starts: the test guest behind Debian's signed loaders, or behind one that no key vouches for."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.guest.build import WITH_DRIVES, kernel_and_initrd
from tests.guest.packages import CACHE, fetch_package

_SHIM = "usr/lib/shim/shimx64.efi.signed"
_GRUB = "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed"


def efi_guest_disc(role: str, *, signed: bool = True) -> Path:
    """The disc on which the guest plays `role`.

    Signed, the firmware starts Microsoft's shim, that GRUB with Debian's key, and that Debian's kernel. Otherwise it
    finds GRUB itself, whose key it does not know.
    """
    shim, grub = _loaders()
    kernel, initrd = kernel_and_initrd(WITH_DRIVES)
    menu = (
        f"set timeout=0\nlinux /linux console=ttyS0 quiet panic=-1 offshoot.role={role}\n"
        "initrd /initrd.gz\nboot\n"
    )
    digest = hashlib.sha256(menu.encode() + initrd.name.encode()).hexdigest()[:16]
    target = WITH_DRIVES.folder / f"efi-{'signed' if signed else 'unknown'}-{digest}.iso"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(prefix="offshoot-efi-") as name:
        folder = Path(name)
        tree = folder / "tree"
        for path in ("boot/grub", ".disk"):
            (tree / path).mkdir(parents=True)
        (tree / ".disk" / "info").touch()  # by this file GRUB knows its disc
        (tree / "boot" / "grub" / "grub.cfg").write_text(menu)
        shutil.copy(kernel, tree / "linux")
        shutil.copy(initrd, tree / "initrd.gz")
        partition = tree / "boot" / "efi.img"
        files = {"BOOTX64.EFI": shim, "GRUBX64.EFI": grub} if signed else {"BOOTX64.EFI": grub}
        _run("mformat", "-C", "-i", str(partition), "-T", "16384", "-h", "16", "-s", "32", "::")
        _run("mmd", "-i", str(partition), "::/EFI", "::/EFI/BOOT")
        for each, source in files.items():
            _run("mcopy", "-i", str(partition), str(source), f"::/EFI/BOOT/{each}")
        draft = folder / "disc.iso"
        boot = ("-e", "boot/efi.img", "-no-emul-boot")
        _run(
            "xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "EFI_TEST", "-o", str(draft), *boot, str(tree)
        )
        shutil.copy(draft, target.with_suffix(".draft"))
        target.with_suffix(".draft").replace(target)
    return target


def labelled_disc(target: Path, label: str) -> Path:
    """A small disc that nothing starts from, with this label."""
    with tempfile.TemporaryDirectory(prefix="offshoot-label-") as name:
        (Path(name) / "readme.txt").write_text(label)
        _run("xorriso", "-as", "mkisofs", "-quiet", "-V", label, "-o", str(target), name)
    return target


def _loaders() -> tuple[Path, Path]:
    folder = CACHE / "efi"
    files = (folder / "shim.efi", folder / "grub.efi")
    if not all(file.exists() for file in files):
        folder.mkdir(parents=True, exist_ok=True)
        for file, package, path in (
            (files[0], "shim-signed", _SHIM),
            (files[1], "grub-efi-amd64-signed", _GRUB),
        ):
            with tempfile.TemporaryDirectory(prefix="offshoot-loader-") as name:
                shutil.copy(fetch_package(package, Path(name)) / path, file.with_suffix(".draft"))
            file.with_suffix(".draft").replace(file)
    return files


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
