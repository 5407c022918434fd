"""The probe's guest and how it is run: a boot sector that enters long mode, counts, and says through a port that it did.

Pure. Sources: Intel SDM volume 3 (10.8.5 "Initializing IA-32e Mode"), qemu docs on isa-debug-exit
(the exit status is (value << 1) | 1).
"""

from __future__ import annotations

import json
from pathlib import Path

from workers.plan.qemu import MACHINE_TYPE, QEMU, SANDBOX, Accelerator, disc_blockdev

ITERATIONS = 10_000_000
EXIT_VALUE = 0x2A
EXIT_STATUS = (EXIT_VALUE << 1) | 1
SECONDS = 2.0
"""KVM that works ends in milliseconds; what takes longer than this is cut off."""

IMAGE_BYTES = 1024 * 1024
"""The disk that the sector stands on: a firmware reads no disk of less than one cylinder."""

_LOAD_ADDRESS = 0x7C00  # where the BIOS puts a boot sector
_PORT = 0xF4


def boot_sector() -> bytes:
    """512 bytes: real mode, page tables, long mode, a loop of ten million iterations, exit."""
    code = bytearray()
    code += b"\xfa"  # cli: no interrupt table will be there
    code += b"\xfc"  # cld: string stores go upwards
    code += b"\x31\xc0"  # xor ax, ax
    code += b"\x8e\xd8\x8e\xc0\x8e\xd0"  # mov ds, ax; mov es, ax; mov ss, ax
    # Four zeroed pages at 0x1000: PML4, PDPT, PD (identity-maps the first 2 MiB by one large page).
    code += b"\xbf\x00\x10"  # mov di, 0x1000
    code += b"\xb9\x00\x18"  # mov cx, 0x1800 words = 12 KiB
    code += b"\xf3\xab"  # rep stosw
    code += b"\xc7\x06\x00\x10\x03\x20"  # mov word [0x1000], 0x2003: PML4[0] -> 0x2000, present, writable
    code += b"\xc7\x06\x00\x20\x03\x30"  # mov word [0x2000], 0x3003: PDPT[0] -> 0x3000
    code += (
        b"\xc7\x06\x00\x30\x83\x00"  # mov word [0x3000], 0x0083: PD[0] -> 0, present, writable, 2 MiB page
    )
    code += b"\x66\xb8\x20\x00\x00\x00"  # mov eax, 0x20
    code += b"\x0f\x22\xe0"  # mov cr4, eax: PAE on
    code += b"\x66\xb8\x00\x10\x00\x00"  # mov eax, 0x1000
    code += b"\x0f\x22\xd8"  # mov cr3, eax: the page tables
    code += b"\x66\xb9\x80\x00\x00\xc0"  # mov ecx, 0xC0000080: IA32_EFER
    code += b"\x0f\x32"  # rdmsr
    code += b"\x66\x0d\x00\x01\x00\x00"  # or eax, 0x100: LME
    code += b"\x0f\x30"  # wrmsr
    code += b"\x0f\x01\x16"  # lgdt [pointer]
    pointer_operand = len(code)
    code += b"\x00\x00"
    code += b"\x0f\x20\xc0"  # mov eax, cr0
    code += (
        b"\x66\x0d\x01\x00\x00\x80"  # or eax, 0x80000001: protection and paging, which activates long mode
    )
    code += b"\x0f\x22\xc0"  # mov cr0, eax
    code += b"\xea"  # jmp far 0x08:long_mode
    jump_operand = len(code)
    code += b"\x00\x00\x08\x00"
    long_mode = len(code)
    code += b"\xb9" + ITERATIONS.to_bytes(4, "little")  # mov ecx, iterations
    code += (
        b"\x48\xff\xc9"  # again: dec rcx (a 64-bit instruction: outside long mode this would be another one)
    )
    code += b"\x75\xfb"  # jnz again
    code += b"\xb0" + bytes([EXIT_VALUE])  # mov al, value
    code += b"\xe6" + bytes([_PORT])  # out port, al
    code += b"\xf4\xeb\xfd"  # hlt; jmp to it: no such device, wait to be cut off
    code += b"\x00" * (-len(code) % 8)
    table = len(code)
    code += bytes(8)  # descriptor 0: null
    code += bytes.fromhex("ffff0000009aaf00")  # descriptor 0x08: 64-bit code, ring 0
    pointer = len(code)
    code += (15).to_bytes(2, "little") + (_LOAD_ADDRESS + table).to_bytes(4, "little")  # limit, base
    code[pointer_operand : pointer_operand + 2] = (_LOAD_ADDRESS + pointer).to_bytes(2, "little")
    code[jump_operand : jump_operand + 2] = (_LOAD_ADDRESS + long_mode).to_bytes(2, "little")
    return bytes(code).ljust(510, b"\x00") + b"\x55\xaa"


def probe_argv(accelerator: Accelerator, image: Path) -> tuple[str, ...]:
    """qemu's argument list for the probe. Never `-cpu host`: where KVM is hollow qemu aborts on it."""
    disk = {**disc_blockdev(image), "node-name": "disk"}
    return (
        QEMU,
        *("-no-user-config", "-nodefaults", "-display", "none"),
        *("-sandbox", SANDBOX),
        *("-machine", MACHINE_TYPE, "-accel", accelerator, "-cpu", "qemu64", "-m", "size=16M"),
        *("-boot", "strict=on"),
        *("-device", json.dumps({"driver": "isa-debug-exit", "iobase": _PORT, "iosize": 1})),
        *("-blockdev", json.dumps(disk)),
        *("-device", json.dumps({"driver": "virtio-blk-pci", "drive": "disk", "bootindex": 1})),
    )
