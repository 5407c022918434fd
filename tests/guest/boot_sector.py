"""The smallest guest: a boot sector that says on its screen and its serial port that it is up, and then rests."""

from __future__ import annotations

from pathlib import Path

WORDS = "small system is up"
_SIZE = 1024 * 1024
_CODE = bytes.fromhex(
    "31c0 8ed8 8ed0 bc007c"  # ax, ds, ss = 0; sp = 0x7c00
    "be227c fc"  # si = the words behind the code; forwards
    "ac 84c0 740d"  # next: al = the next character; after the last one to rest
    "baf803 ee"  # to the first serial port
    "b40e bb0700 cd10"  # and to the screen (int 10h, teletype output)
    "ebee"  # to next
    "f4 ebfd"  # rest: halt, and halt again after each interrupt
)


def boot_sector_disk(target: Path) -> Path:
    """A raw disk whose first sector is that."""
    sector = (_CODE + WORDS.encode() + b"\r\n\0").ljust(510, b"\0") + b"\x55\xaa"
    target.write_bytes(sector.ljust(_SIZE, b"\0"))
    return target
