"""The smallest guests: a boot sector that says that it is up and then rests, and one that begins anew again and again."""

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


_READ = "b80102 b90200 b600 b280 cd13"  # the second sector (int 13h, read)
_ANEW = bytes.fromhex(
    f"31c0 8ec0 bb007e {_READ} {_READ}"  # to 0:0x7e00
    "b0fe e664"  # pulse the processor's reset line (keyboard controller, command 0xfe)
    "f4 ebfd"
)


def boot_sector_disk(target: Path) -> Path:
    """A raw disk whose first sector says its words on the screen and the serial port, and then rests."""
    target.write_bytes(speaking_sector(WORDS).ljust(_SIZE, b"\0"))
    return target


def speaking_sector(words: str) -> bytes:
    """A first sector that says these words on the screen and the serial port, and then rests."""
    return _sector(_CODE + words.encode() + b"\r\n\0")


def restarting_sector(target: Path) -> Path:
    """A first sector that reads from its disk and then restarts its machine, some times a second."""
    target.write_bytes(_sector(_ANEW))
    return target


def _sector(code: bytes) -> bytes:
    return code.ljust(510, b"\0") + b"\x55\xaa"
