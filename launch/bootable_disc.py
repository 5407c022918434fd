"""Making a disc image that boots a Linux kernel: isolinux (syslinux wiki: ISOLINUX) put on ISO 9660 by xorriso(1)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

_ISOLINUX = Path("/usr/lib/ISOLINUX/isolinux.bin")
_MODULE = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")


class DiscError(Exception):
    """The disc could not be made; the text says what is missing or what xorriso said."""


def make_bootable_disc(target: Path, *, kernel: Path, initrd: Path, arguments: str, label: str) -> None:
    """Write a disc to `target` that boots `kernel` with `initrd` and `arguments` at once. Raises DiscError."""
    missing = [str(path) for path in (kernel, initrd, _ISOLINUX, _MODULE) if not path.exists()]
    if missing:
        raise DiscError(f"missing: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="offshoot-disc-") as name:
        tree = Path(name)
        (tree / "isolinux").mkdir()
        for source in (_ISOLINUX, _MODULE):
            shutil.copy(source, tree / "isolinux")
        shutil.copy(kernel, tree / "linux")
        shutil.copy(initrd, tree / "initrd.gz")
        (tree / "isolinux" / "isolinux.cfg").write_text(
            f"default offshoot\nprompt 0\ntimeout 0\nlabel offshoot\n  kernel /linux\n"
            f"  append initrd=/initrd.gz {arguments}\n"
        )
        draft = target.with_suffix(".draft")
        boot: tuple[str, ...] = ("-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot")
        boot += ("-boot-load-size", "4", "-boot-info-table")
        finished = subprocess.run(
            ("xorriso", "-as", "mkisofs", "-quiet", "-V", label, "-o", str(draft), *boot, str(tree)),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if finished.returncode != 0:
            draft.unlink(missing_ok=True)
            raise DiscError(f"xorriso ended with status {finished.returncode}: {finished.stderr[-1000:]}")
        draft.replace(target)
