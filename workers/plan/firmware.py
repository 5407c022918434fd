"""A machine's firmware and TPM: which files, which arguments. Pure.

Sources: Debian's README.Debian of ovmf, qemu's docs/specs/tpm.rst and swtpm(8) 0.7.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workers.contract.spec import Firmware

_OVMF = Path("/usr/share/OVMF")
SWTPM = "swtpm"


@dataclass(frozen=True)
class Uefi:
    """One kind of UEFI: its code, which all machines share, and what the memory of a new machine begins as."""

    code: Path
    template: Path


UEFI: dict[Firmware, Uefi] = {
    Firmware.UEFI: Uefi(_OVMF / "OVMF_CODE_4M.fd", _OVMF / "OVMF_VARS_4M.fd"),
    # Microsoft's keys are enrolled: with them Secure Boot is on, and Windows and the signed Linux loaders start.
    Firmware.UEFI_SECURE: Uefi(_OVMF / "OVMF_CODE_4M.secboot.fd", _OVMF / "OVMF_VARS_4M.ms.fd"),
}


def store_argv(firmware: Firmware, target: Path) -> tuple[str, ...]:
    """qemu-img's argument list for a machine's own variables; as qcow2, so that snapshots can hold them too."""
    template = str(UEFI[firmware].template)
    return ("qemu-img", "convert", "-f", "raw", "-O", "qcow2", template, str(target))


def tpm_state_argument(folder: Path) -> str:
    """The argument of swtpm that names the machine's folder; its process is told by it."""
    return f"dir={folder},mode=0600"


def tpm_argv(folder: Path, line: int) -> tuple[str, ...]:
    """swtpm's argument list: a TPM 2.0 that keeps its memory in `folder` and listens to the open socket `line` alone.

    It ends when qemu, at the line's other end, does.
    """
    return (
        *(SWTPM, "socket", "--tpm2"),
        *("--tpmstate", tpm_state_argument(folder)),
        *("--ctrl", f"type=unixio,clientfd={line}"),
        *("--log", "file=-,level=1"),
        "--terminate",
    )
