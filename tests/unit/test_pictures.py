"""Large pictures of screens made small."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workers.contract.screens import MOST_PNG_BYTES, PNG_SIGNATURE, is_png
from workers.plan.pictures import WIDEST, small_png


def ppm(width: int, height: int, pixels: bytes) -> bytes:
    return b"P6\n%d %d\n255\n" % (width, height) + pixels


@given(width=st.integers(1, 700), height=st.integers(1, 300), colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_a_picture_of_any_size_becomes_a_small_one_of_the_same_colour(
    width: int, height: int, colour: tuple[int, int, int]
) -> None:
    png = small_png(ppm(width, height, bytes(colour) * (width * height)))
    assert png is not None
    assert is_png(png)
    small = Image.open(io.BytesIO(png))
    assert max(small.size) <= WIDEST
    assert small.getcolors() == [(small.width * small.height, colour)]


def test_places_stay_where_they_were() -> None:
    left, right = bytes((255, 0, 0)), bytes((0, 0, 255))
    png = small_png(ppm(960, 480, (left * 480 + right * 480) * 480))
    assert png is not None
    small = Image.open(io.BytesIO(png))
    assert small.size == (240, 120)
    assert (small.getpixel((10, 60)), small.getpixel((230, 60))) == ((255, 0, 0), (0, 0, 255))


def test_even_noise_is_small_enough_to_be_sent() -> None:
    png = small_png(ppm(1024, 1024, random.Random(7).randbytes(3 * 1024 * 1024)))
    assert png is not None
    assert len(png) <= MOST_PNG_BYTES


@pytest.mark.parametrize(
    "data", [b"", b"P6\n", b"P6\n0 5\n255\n", b"P6\n9 9\n255\nshort", b"P5\n1 1\n255\nxxx"]
)
def test_what_is_no_picture_becomes_none(data: bytes) -> None:
    assert small_png(data) is None


def test_a_png_is_known_by_its_beginning() -> None:
    good = small_png(ppm(2, 2, b"x" * 12))
    assert good is not None
    assert is_png(good)
    assert not is_png(b"GIF89a" + good)
    assert not is_png(good[:16])
    assert not is_png(PNG_SIGNATURE + b"\0" * 100)
    assert not is_png(good + b"\0" * MOST_PNG_BYTES)
