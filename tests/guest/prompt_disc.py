"""A disc that stops at its loader's prompt: what is typed stands on the screen as text."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path


def prompt_disc(target: Path) -> None:
    """ISOLINUX with nothing to load (syslinux wiki: 'prompt 1' asks, 'timeout 0' waits for ever)."""
    with tempfile.TemporaryDirectory(prefix="offshoot-prompt-") as name:
        tree = Path(name)
        shutil.copy("/usr/lib/ISOLINUX/isolinux.bin", tree)
        shutil.copy("/usr/lib/syslinux/modules/bios/ldlinux.c32", tree)
        (tree / "isolinux.cfg").write_text("prompt 1\ntimeout 0\ndefault nothing\n")
        boot = (
            "-b",
            "isolinux.bin",
            "-c",
            "boot.cat",
            "-no-emul-boot",
            "-boot-load-size",
            "4",
            "-boot-info-table",
        )
        argv = ("xorriso", "-as", "mkisofs", "-quiet", "-V", "PROMPT", "-o", str(target), *boot, str(tree))
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
