"""What a machine's TPM remembers, kept with a snapshot and put back; the machine's own is kept aside until that is settled."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def keep(tpm: Path, copy: Path) -> None:
    """Copy the TPM's memory; does nothing for a machine without one."""
    shutil.rmtree(copy, ignore_errors=True)
    if tpm.is_dir():
        _copy(tpm, copy)


def put_back(tpm: Path, copy: Path) -> None:
    """Make it what it was when the copy was made; what it is now is kept aside. Can be done twice."""
    if not copy.is_dir():
        return
    draft, aside = _draft(tpm), _aside(tpm)
    shutil.rmtree(draft, ignore_errors=True)
    _copy(copy, draft)
    if not aside.exists() and tpm.exists():
        tpm.rename(aside)
    shutil.rmtree(tpm, ignore_errors=True)
    draft.rename(tpm)


def take_back(tpm: Path) -> None:
    """It is again what was kept aside; harmless where nothing is."""
    if _aside(tpm).exists():
        shutil.rmtree(tpm, ignore_errors=True)
        _aside(tpm).rename(tpm)
    shutil.rmtree(_draft(tpm), ignore_errors=True)


def settle(tpm: Path) -> None:
    """What was kept aside is not needed any more."""
    shutil.rmtree(_aside(tpm), ignore_errors=True)
    shutil.rmtree(_draft(tpm), ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """With owners and modes: the TPM's program runs as qemu's account."""
    shutil.copytree(source, target, symlinks=True)
    for old in (source, *source.rglob("*")):
        about = old.lstat()
        os.lchown(target / old.relative_to(source), about.st_uid, about.st_gid)


def _aside(tpm: Path) -> Path:
    return tpm.with_name(f"{tpm.name}.before")


def _draft(tpm: Path) -> Path:
    return tpm.with_name(f"{tpm.name}.part")
