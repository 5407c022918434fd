"""The check of a disc image: real images by xorriso, and hostile bytes."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launch.bootable_disc import make_bootable_disc
from portal.images.iso9660 import HEADER_BYTES, SECTOR_BYTES, NotAnIso, VolumeFacts, check, check_header


@pytest.fixture(scope="module")
def boot_disc(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("disc")
    (folder / "kernel").write_bytes(b"k" * 5000)
    make_bootable_disc(
        folder / "a.iso", kernel=folder / "kernel", initrd=folder / "kernel", arguments="", label="REAL_ONE"
    )
    return (folder / "a.iso").read_bytes()


@pytest.fixture(scope="module")
def data_disc(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("data")
    (folder / "tree").mkdir()
    (folder / "tree" / "readme").write_text("hello")
    command = ("xorriso", "-as", "mkisofs", "-quiet", "-J", "-V", "JUST DATA", "-o")
    subprocess.run([*command, str(folder / "a.iso"), str(folder / "tree")], check=True, capture_output=True)
    return (folder / "a.iso").read_bytes()


def of(raw: bytes) -> VolumeFacts:
    return check(io.BytesIO(raw), size=len(raw))


def refusal(raw: bytes) -> str:
    with pytest.raises(NotAnIso) as caught:
        of(raw)
    return caught.value.message


def changed(raw: bytes, at: int, new: bytes) -> bytes:
    return raw[:at] + new + raw[at + len(new) :]


def test_a_disc_that_boots_is_known_as_such(boot_disc: bytes) -> None:
    assert of(boot_disc) == VolumeFacts(label="REAL_ONE", size_bytes=len(boot_disc), bootable=True)


def test_a_disc_of_data_is_a_disc_too(data_disc: bytes) -> None:
    assert of(data_disc) == VolumeFacts(label="JUST DATA", size_bytes=len(data_disc), bootable=False)


def test_a_file_larger_than_its_volume_is_fine_and_so_is_one_without_its_padding(boot_disc: bytes) -> None:
    assert of(boot_disc + b"hybrid" * 1000).bootable
    assert of(boot_disc[: -150 * SECTOR_BYTES]).bootable


def test_a_boot_record_without_a_catalog_does_not_boot(boot_disc: bytes) -> None:
    assert not of(changed(boot_disc, 17 * SECTOR_BYTES + 71, b"\xff\xff\xff\xff")).bootable


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b"QFI\xfb\x00\x00\x00\x03" + bytes(200_000), "a qcow2 disk image"),
        (b"PK\x03\x04" + bytes(90), "a zip archive"),
        (b"\x1f\x8b\x08" + bytes(90), "a gzip archive"),
        (b"\n<!DOCTYPE html><title>404</title>", "a web page"),
        (bytes(510) + b"\x55\xaa" + bytes(100_000), "a disk image"),
        (bytes(0x8001) + b"BEA01" + bytes(100_000), "a UDF disc"),
        (b"hello", "something else"),
    ],
)
def test_it_says_what_it_found_instead(raw: bytes, words: str) -> None:
    assert words in refusal(raw)


def test_a_download_that_was_cut_off_is_named_with_both_sizes(boot_disc: bytes) -> None:
    blocks = (700 * 1024 * 1024 // SECTOR_BYTES).to_bytes(4, "little")
    words = refusal(changed(boot_disc, 16 * SECTOR_BYTES + 80, blocks))
    assert "cut off" in words
    assert "700.0\xa0MB" in words
    with pytest.raises(NotAnIso, match="cut off"):  # said by the first piece, long before the last
        check_header(io.BytesIO(boot_disc[:HEADER_BYTES]), size=len(boot_disc) - 200 * SECTOR_BYTES)


@pytest.mark.parametrize(
    ("at", "new", "words"),
    [
        (16 * SECTOR_BYTES + 128, b"\x00\x02", "512 bytes"),
        (16 * SECTOR_BYTES + 156, b"\x00", "table of contents"),
        (16 * SECTOR_BYTES + 158, b"\xff\xff\xff\x7f", "table of contents"),
        (18 * SECTOR_BYTES, b"\x05nothing", "header is damaged"),
    ],
)
def test_a_damaged_header_is_refused(boot_disc: bytes, at: int, new: bytes, words: str) -> None:
    assert words in refusal(changed(boot_disc, at, new))


def test_a_root_directory_that_is_not_there_is_refused(boot_disc: bytes) -> None:
    block = int.from_bytes(boot_disc[16 * SECTOR_BYTES + 158 :][:4], "little")
    assert "table of contents" in refusal(changed(boot_disc, block * SECTOR_BYTES, bytes(SECTOR_BYTES)))


class Counted(io.BytesIO):
    """Counts what is read."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        raw = super().read(size)
        self.taken += len(raw)
        return raw


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_header_makes_it_fail_or_read_on_and_on(boot_disc: bytes, data: st.DataObject) -> None:
    places = st.integers(16 * SECTOR_BYTES, 19 * SECTOR_BYTES)
    raw = boot_disc
    for at, new in data.draw(st.lists(st.tuples(places, st.binary(min_size=1, max_size=8)), max_size=6)):
        raw = changed(raw, at, new)
    file = Counted(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        facts = check(file, size=data.draw(st.integers(0, 2**40)))
    except NotAnIso:
        pass  # in words, which the tests above look at
    else:
        assert len(facts.label) <= 32
        assert facts.label.isprintable()
    assert file.taken <= 2 * HEADER_BYTES


def test_a_chain_of_headers_without_an_end_is_left_after_its_limit(boot_disc: bytes) -> None:
    primary = boot_disc[16 * SECTOR_BYTES : 17 * SECTOR_BYTES]
    file = Counted(bytes(16 * SECTOR_BYTES) + primary * 5000)
    with pytest.raises(NotAnIso):
        check(file, size=5016 * SECTOR_BYTES)
    assert file.taken <= HEADER_BYTES


def test_the_demo_disc_boots_debians_installer(tmp_path: Path) -> None:
    from launch.demo_disc import demo_disc

    demo_disc(tmp_path / "demo.iso")
    with (tmp_path / "demo.iso").open("rb") as file:
        facts = check(file, size=(tmp_path / "demo.iso").stat().st_size)
    assert facts.label == "DEBIAN12_DEMO"
    assert facts.bootable
