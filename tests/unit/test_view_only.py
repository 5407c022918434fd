"""What passes from somebody who only looks at a screen: the picture is asked for, and nothing else reaches the machine."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.console.view_only import NotUnderstood, OnlyLooking

HELLO = b"RFB 003.008\n\x01\x01"
FORM = b"\x00" * 4 + bytes(range(16))
PLEASE = b"\x03\x01" + struct.pack(">4H", 0, 0, 800, 600)
KEEP_SENDING = b"\x96\x01" + struct.pack(">4H", 0, 0, 800, 600)
FENCE = b"\xf8\x00\x00\x00" + struct.pack(">IB", 1, 3) + b"abc"
DROPPED = {
    "key": b"\x04\x01\x00\x00" + struct.pack(">I", 0xFF0D),
    "pointer": b"\x05\x01" + struct.pack(">2H", 10, 10),
    "text": b"\x06\x00\x00\x00" + struct.pack(">i", 5) + b"hello",
    "text of the longer form": b"\x06\x00\x00\x00" + struct.pack(">i", -8) + b"\x00" * 8,
    "no text": b"\x06\x00\x00\x00\x00\x00\x00\x00",
    "power off": b"\xfa\x00\x01\x02",
    "another size": b"\xfb\x00" + struct.pack(">2H", 800, 600) + b"\x02\x00" + b"\x00" * 32,
    "key by its place": b"\xff\x00" + struct.pack(">H2I", 1, 0xFF0D, 28),
    "sound": b"\xff\x01\x00\x00",
    "form of sound": b"\xff\x01\x00\x02" + b"\x03\x02" + struct.pack(">I", 44100),
}


def encodings(*wanted: int) -> bytes:
    return struct.pack(f">BxH{len(wanted)}i", 2, len(wanted), *wanted)


def test_what_asks_for_the_picture_passes_unchanged() -> None:
    said = HELLO + FORM + encodings(7, -239, 0) + PLEASE + KEEP_SENDING + FENCE
    assert OnlyLooking().passed(said) == said


@pytest.mark.parametrize("message", DROPPED.values(), ids=DROPPED)
def test_what_would_touch_the_machine_is_dropped_and_the_next_one_is_read(message: bytes) -> None:
    assert OnlyLooking().passed(HELLO + message + PLEASE + message + PLEASE) == HELLO + PLEASE + PLEASE


@settings(deadline=None)
@given(st.lists(st.sampled_from([FORM, PLEASE, FENCE, *DROPPED.values()]), max_size=20), st.randoms())
def test_it_makes_no_difference_how_the_bytes_are_cut(messages: list[bytes], dice: random.Random) -> None:
    said = HELLO + b"".join(messages)
    whole = OnlyLooking().passed(said)
    assert whole == HELLO + b"".join(each for each in messages if each not in DROPPED.values())
    looks, got = OnlyLooking(), b""
    while said:
        cut = dice.randint(1, 7)
        got += looks.passed(said[:cut])
        said = said[cut:]
    assert got == whole


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_whatever_is_sent_no_key_and_no_click_comes_out(noise: bytes) -> None:
    looks = OnlyLooking()
    try:
        out = looks.passed(HELLO + noise)[len(HELLO) :]
    except NotUnderstood:
        return
    while out:  # what comes out is whole messages of the kinds that only ask
        length = {0: 20, 3: 10, 150: 10}.get(out[0])
        if out[0] == 2:
            length = 4 + 4 * struct.unpack_from(">H", out, 2)[0]
        elif out[0] == 248:
            length = 9 + out[8]
        assert length is not None, out[0]
        assert len(out) >= length
        out = out[length:]


def test_nobody_is_thrown_out_by_one_who_looks() -> None:
    assert OnlyLooking().passed(b"RFB 003.008\n\x01\x00") == HELLO


def test_what_would_open_other_ways_is_taken_from_the_list_of_encodings() -> None:
    clipboard, keys, sound, more_buttons, power = -1063131698, -258, -259, -316, -309
    asked = encodings(7, clipboard, keys, sound, more_buttons, power, -223)
    assert OnlyLooking().passed(HELLO + asked) == HELLO + encodings(7, -223)


@pytest.mark.parametrize(
    "odd",
    [
        b"GET / HTTP/1.1\r\n",
        b"RFB 003.003\n\x01",
        b"RFB 003.008\n\x02",
        HELLO + b"\x07",
        HELLO + b"\xff\x05\x00\x00",
        HELLO + b"\xff\x01\x00\x09",
        HELLO + b"\xf8\x00\x00\x00\x00\x00\x00\x01\xff",
        HELLO + b"\x02\x00\xff\xff",
    ],
    ids=[
        "no greeting",
        "old version",
        "a password",
        "unknown",
        "unknown of qemu",
        "odd sound",
        "long fence",
        "too many",
    ],
)
def test_what_is_not_understood_ends_it(odd: bytes) -> None:
    looks = OnlyLooking()
    with pytest.raises(NotUnderstood):
        looks.passed(odd)
    with pytest.raises(NotUnderstood):
        looks.passed(PLEASE)


def test_a_text_of_two_gigabytes_is_not_kept() -> None:
    looks = OnlyLooking()
    assert looks.passed(HELLO + b"\x06\x00\x00\x00" + struct.pack(">i", 2**31 - 1)) == HELLO
    for _ in range(64):
        assert looks.passed(b"\x00" * 65536) == b""
    assert len(looks._waiting) == 0
