"""What a browser may send to a screen that it only looks at. Pure: bytes in, bytes out.

The client's side of the protocol (RFC 6143, and the extensions of github.com/rfbproto/rfbproto that noVNC speaks) is read
message by message. Whatever only asks for the picture goes on; keys, clicks, text, and everything that would change the
machine or its screen is dropped. The length of a message that is not known is not known either, so it ends the console.
"""

from __future__ import annotations

import struct
from enum import Enum, auto

_VERSIONS = (b"RFB 003.008\n", b"RFB 003.007\n")
_NO_PASSWORD = b"\x01"
_SHARED = b"\x01"
_MOST_ENCODINGS = 256

PASSED_ENCODINGS = frozenset(
    (
        *(0, 1, 2, 5, 6, 7, 16, 21, 50, -260),  # how the picture is packed: raw to H.264, Tight with PNG
        *range(-256, -246),  # how hard it is pressed
        *range(-32, -22),  # how good it looks
        *(-223, -224, -239, -307, -308, 0x574D5664),  # its size, its end, the pointer's form, its name
        *(-312, -313),  # fence and continuous updates
    )
)
"""Left out: what lets a client send more than it may, or hear of the clipboard, the keys' lights and the sound."""


class NotUnderstood(Exception):
    """The client said something whose end cannot be known."""


class _Expects(Enum):
    VERSION = auto()
    SECURITY = auto()
    INIT = auto()
    MESSAGE = auto()


class OnlyLooking:
    """The filter of one console. After NotUnderstood it passes nothing on any more."""

    def __init__(self) -> None:
        self._expects = _Expects.VERSION
        self._waiting = bytearray()
        self._to_skip = 0
        self._is_broken = False

    def passed(self, data: bytes) -> bytes:
        """What of these bytes, and of those that waited for them, goes on. Raises NotUnderstood."""
        if self._is_broken:
            raise NotUnderstood
        self._waiting += data
        passed = bytearray()
        try:
            while self._step(passed):
                pass
        except NotUnderstood:
            self._is_broken = True
            self._waiting.clear()
            raise
        return bytes(passed)

    def _step(self, passed: bytearray) -> bool:
        """Deal with one message; False where not all of it is there."""
        if self._to_skip:
            skipped = min(self._to_skip, len(self._waiting))
            del self._waiting[:skipped]
            self._to_skip -= skipped
            if self._to_skip:
                return False
        match self._expects:
            case _Expects.VERSION:
                return self._greeting(passed, 12, _VERSIONS, _Expects.SECURITY)
            case _Expects.SECURITY:
                return self._greeting(passed, 1, (_NO_PASSWORD,), _Expects.INIT)
            case _Expects.INIT:
                if not self._waiting:
                    return False
                del self._waiting[:1]
                passed += _SHARED  # whoever asks for the screen alone would throw the others out
                self._expects = _Expects.MESSAGE
                return True
            case _Expects.MESSAGE:
                return self._message(passed)

    def _greeting(self, passed: bytearray, length: int, allowed: tuple[bytes, ...], then: _Expects) -> bool:
        if len(self._waiting) < length:
            return False
        said = bytes(self._waiting[:length])
        if said not in allowed:
            raise NotUnderstood
        del self._waiting[:length]
        passed += said
        self._expects = then
        return True

    def _message(self, passed: bytearray) -> bool:
        waiting = self._waiting
        if not waiting:
            return False
        kind = waiting[0]
        if kind in _PASSED:
            return self._take(_PASSED[kind], passed)
        if kind in _DROPPED:
            return self._take(_DROPPED[kind], None)
        match kind:
            case 2:
                return self._encodings(passed)
            case 6:
                return self._text()
            case 248:  # fence: four bytes, flags, at most 64 bytes of the client's own
                if len(waiting) < 9:
                    return False
                if waiting[8] > 64:
                    raise NotUnderstood
                return self._take(9 + waiting[8], passed)
            case 251:  # another size of the screen
                return len(waiting) >= 8 and self._skip(8 + 16 * waiting[6])
            case 255:
                return self._of_qemu()
            case _:
                raise NotUnderstood

    def _take(self, length: int, passed: bytearray | None) -> bool:
        if len(self._waiting) < length:
            return False
        if passed is not None:
            passed += self._waiting[:length]
        del self._waiting[:length]
        return True

    def _skip(self, length: int) -> bool:
        """Without keeping what may be long."""
        self._to_skip = length
        return True

    def _encodings(self, passed: bytearray) -> bool:
        if len(self._waiting) < 4:
            return False
        (count,) = struct.unpack_from(">H", self._waiting, 2)
        if count > _MOST_ENCODINGS:
            raise NotUnderstood
        if len(self._waiting) < 4 + 4 * count:
            return False
        wanted = struct.unpack_from(f">{count}i", self._waiting, 4)
        kept = [each for each in wanted if each in PASSED_ENCODINGS]
        passed += struct.pack(f">BxH{len(kept)}i", 2, len(kept), *kept)
        del self._waiting[: 4 + 4 * count]
        return True

    def _text(self) -> bool:
        """A clipboard; a negative length says that it is one of the longer form."""
        if len(self._waiting) < 8:
            return False
        (length,) = struct.unpack_from(">i", self._waiting, 4)
        return self._skip(8 + abs(length))

    def _of_qemu(self) -> bool:
        if len(self._waiting) < 4:
            return False
        what, audio = struct.unpack_from(">BH", self._waiting, 1)
        if what == 0:  # a key by its place on the keyboard
            return self._skip(12)
        if what == 1 and audio in (0, 1, 2):  # sound: on, off, its format
            return self._skip(10 if audio == 2 else 4)
        raise NotUnderstood


_PASSED = {0: 20, 3: 10, 150: 10}
"""Form of a pixel, please send the picture, keep sending it: kind and length."""

_DROPPED = {4: 8, 5: 6, 250: 4}
"""A key, the pointer, power off or reset (xvp)."""
