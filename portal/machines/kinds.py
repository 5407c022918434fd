"""Kinds of systems as presets: which imitated hardware each of them finds, without anybody being asked. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from workers.contract.spec import GIB, DiskBus, Firmware, GuestKind, NicModel

Words = str | Promise


@dataclass(frozen=True)
class Preset:
    """What a machine of this kind gets where nobody says otherwise."""

    kind: GuestKind
    name: Words
    description: Words
    icon: str
    firmware: Firmware
    tpm: bool
    disk_bus: DiskBus
    nic_model: NicModel
    wants_drivers: bool
    """Its second drive holds the driver disc, where the library has one."""


PRESETS = {
    preset.kind: preset
    for preset in (
        Preset(
            GuestKind.LINUX, _("Linux"), _("Every distribution of the last fifteen years"), "tux",
            Firmware.BIOS, False, DiskBus.VIRTIO, NicModel.VIRTIO, wants_drivers=False,
        ),
        # Windows brings drivers for this disk controller and this card; those of virtio come from a disc of their own.
        Preset(
            GuestKind.WINDOWS, _("Windows"), _("Windows 10, 11 and Server, with Secure Boot and TPM"), "windows",
            Firmware.UEFI_SECURE, True, DiskBus.SATA, NicModel.E1000, wants_drivers=True,
        ),
        Preset(
            GuestKind.OTHER, _("Other or old"), _("Older systems, BSDs, anything unusual"), "pc-display",
            Firmware.BIOS, False, DiskBus.SATA, NicModel.E1000, wants_drivers=False,
        ),
    )
}  # fmt: skip

FIRMWARE_WORDS: dict[str, Words] = {
    Firmware.BIOS: _("BIOS"),
    Firmware.UEFI: _("UEFI"),
    Firmware.UEFI_SECURE: _("UEFI with Secure Boot"),
}
BUS_WORDS: dict[str, Words] = {
    DiskBus.VIRTIO: _("virtio (fast; Windows needs the driver disc)"),
    DiskBus.SATA: _("SATA (known to every system)"),
}
CARD_WORDS: dict[str, Words] = {
    NicModel.VIRTIO: _("virtio (fast; Windows needs the driver disc)"),
    NicModel.E1000: _("Intel e1000 (known to every system)"),
}

WINDOWS_CPUS, WINDOWS_MEMORY_MIB, WINDOWS_DISK_BYTES = 2, 4096, 64 * GIB
"""What the installer of Windows 11 asks for at least (Microsoft: Windows 11 specifications)."""


def is_small_for_windows(*, cpus: int, memory_mib: int, disk_bytes: int) -> bool:
    """The installer of Windows 11 would refuse a machine of this size; older ones take less."""
    return cpus < WINDOWS_CPUS or memory_mib < WINDOWS_MEMORY_MIB or disk_bytes < WINDOWS_DISK_BYTES
