"""A machine's own UEFI variables: a file that is made once and stays for as long as the machine does."""

from __future__ import annotations

import os
from pathlib import Path

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.spec import Firmware
from workers.host.commands import CommandError, run
from workers.killpoints import reached
from workers.plan.firmware import UEFI, store_argv
from workers.plan.names import MachineFolder


class FirmwareError(OffshootError):
    """The firmware is not on this host, or its variables could not be made; nothing of them is left."""

    code = ErrorCode.FIRMWARE_MISSING


def has_uefi(firmware: Firmware) -> bool:
    """This kind of UEFI is installed on the host."""
    return UEFI[firmware].code.exists() and UEFI[firmware].template.exists()


def code_file(firmware: Firmware) -> Path | None:
    """The firmware's code, None for a BIOS, which qemu brings. Raises FirmwareError where it is not installed."""
    if firmware is Firmware.BIOS:
        return None
    if not has_uefi(firmware):
        raise FirmwareError(f"{UEFI[firmware].code} is not there: the package ovmf brings it")
    return UEFI[firmware].code


def make_store(folder: MachineFolder, firmware: Firmware, *, uid: int, gid: int) -> Path | None:
    """The machine's variables for this firmware, made where they are not there yet; None for a BIOS.

    Raises FirmwareError.
    """
    if code_file(firmware) is None:
        return None
    path = folder.variables_file(firmware)
    if path.exists():
        return path
    draft = path.with_suffix(".qcow2.part")
    try:
        draft.unlink(missing_ok=True)
        run(store_argv(firmware, draft), seconds=30)
        reached("variables drafted")
        os.chown(draft, uid, gid)
        draft.chmod(0o600)
        draft.rename(path)
    except (OSError, CommandError) as exc:
        draft.unlink(missing_ok=True)
        full = isinstance(exc, CommandError) and os.strerror(28) in exc.detail
        raise FirmwareError(str(exc), code=ErrorCode.DISK_FULL if full else ErrorCode.DISK_FAILED) from exc
    return path
