"""Which host a new machine goes to."""

from __future__ import annotations

from dataclasses import replace

from portal.fleet.placement import Candidate, Needs, NoRoom, features_of, place
from workers.contract.host import TPM_FEATURE, UEFI_FEATURE
from workers.contract.spec import Firmware

SMALL = Candidate(host_id=1, name="small", threads=2, memory_free_mib=2000, disk_free_mib=500_000)
LARGE = Candidate(host_id=2, name="large", threads=16, memory_free_mib=64_000, disk_free_mib=10_000)


def test_the_host_with_the_most_free_memory_gets_it() -> None:
    assert place([SMALL, LARGE], Needs(cpus=1, memory_mib=1024, disk_mib=64)) == LARGE


def test_but_only_if_it_has_everything_else_too() -> None:
    assert place([SMALL, LARGE], Needs(cpus=1, memory_mib=1024, disk_mib=50_000)) == SMALL


def test_what_is_short_is_named_with_the_most_there_is() -> None:
    fleet = [SMALL, LARGE]
    assert place(fleet, Needs(cpus=32, memory_mib=1, disk_mib=1)) == NoRoom("cpus", 16)
    assert place(fleet, Needs(cpus=1, memory_mib=100_000, disk_mib=1)) == NoRoom("memory", 64_000)
    assert place(fleet, Needs(cpus=1, memory_mib=1, disk_mib=900_000)) == NoRoom("disk", 500_000)


def test_a_disk_for_a_pool_is_measured_by_that_pool() -> None:
    pooled = replace(SMALL, pools={"fast": 2000})
    needs = Needs(cpus=1, memory_mib=1, disk_mib=1000, pool="fast")
    assert place([pooled, LARGE], needs) == pooled
    assert place([pooled, LARGE], replace(needs, disk_mib=3000)) == NoRoom("disk", 2000)
    assert place([LARGE], replace(needs, disk_mib=64)) == NoRoom("disk", -1)


def test_without_a_host_there_is_no_place() -> None:
    assert place([], Needs(cpus=1, memory_mib=1, disk_mib=1)) is None


def test_a_host_without_what_the_machine_needs_is_passed_over() -> None:
    bare = replace(LARGE, missing=frozenset({TPM_FEATURE}))
    needs = Needs(cpus=1, memory_mib=1024, disk_mib=64, features=features_of(Firmware.BIOS, tpm=True))
    assert place([SMALL, bare], needs) == SMALL
    assert place([bare], needs) == NoRoom("features", 0)
    assert features_of(Firmware.UEFI_SECURE, tpm=False) == {UEFI_FEATURE}
    assert features_of(Firmware.BIOS, tpm=False) == frozenset()
