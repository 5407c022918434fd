"""The catalogue of well-known systems (catalogue.toml), and which file of a maker's list of sums is meant."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urljoin

from django.conf import settings
from django.utils.translation import gettext as _
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from portal.refusal import Refused

_FILE = Path(__file__).with_name("catalogue.toml")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_GNU_LINE = re.compile(r"\\?([0-9a-fA-F]{64}|[0-9a-fA-F]{128}) [ *]?(\S.*)")
_BSD_LINE = re.compile(r"SHA(?:256|512) \((.+)\) = ([0-9a-fA-F]{64}|[0-9a-fA-F]{128})")
_HEX_DIGITS = {"sha256": 64, "sha512": 128}

Folder = Annotated[str, StringConstraints(pattern=r"^https://[a-z0-9.-]+/[A-Za-z0-9._/+-]*/$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]


class Entry(BaseModel):
    """One system. `folder` is the makers' address, `file` says which name in `sums` is meant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,39}$")]
    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    system: Annotated[str, StringConstraints(min_length=1, max_length=60)]
    version: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    kind: Literal["disc", "disk"]
    is_cloud: bool = False
    folder: Folder
    file: str
    sums: Name
    algorithm: Literal["sha256", "sha512"]
    signature: Name | None = None
    most_gib: int = Field(ge=1, le=64)

    @field_validator("file")
    @classmethod
    def _is_an_expression(cls, value: str) -> str:
        re.compile(value)
        return value

    @property
    def sums_address(self) -> str:
        """Where the list of sums is fetched: at the makers, or at the mirror."""
        return mirrored(urljoin(self.folder, self.sums))

    def address_of(self, name: str) -> str:
        """Where the file of this name is fetched."""
        return mirrored(urljoin(self.folder, quote(name)))


class _Catalogue(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    entry: tuple[Entry, ...]


@cache
def entries() -> dict[str, Entry]:
    """By their keys, in the file's order. The file is ours: one that does not fit is an error of this code."""
    with _FILE.open("rb") as file:
        found = _Catalogue.model_validate(tomllib.load(file)).entry
    by_key = {each.key: each for each in found}
    if len(by_key) != len(found):
        raise ValueError("two entries of the catalogue have one key")
    return by_key


def mirrored(address: str) -> str:
    """The same address at the mirror of the settings: its host and first part in the place of the makers' host."""
    if not settings.MIRROR:
        return address
    path = address.removeprefix("https://").partition("/")[2]
    return f"{settings.MIRROR}/{path}"


def newest(entry: Entry, sums: str) -> tuple[str, str]:
    """Name and sum of the newest file of a list of sums that the entry means. Raises Refused."""
    found = {}
    for line in sums.splitlines():
        gnu, bsd = _GNU_LINE.fullmatch(line.strip()), _BSD_LINE.fullmatch(line.strip())
        digest, name = (gnu[1], gnu[2]) if gnu else (bsd[2], bsd[1]) if bsd else ("", "")
        name = name.removeprefix("./").rpartition("/")[2]
        fits = _NAME.fullmatch(name) and re.fullmatch(entry.file, name)
        if fits and len(digest) == _HEX_DIGITS[entry.algorithm]:
            found[name] = digest.lower()
    if not found:
        words = _("The makers' list of checksums names no such file. The catalogue may be out of date.")
        raise Refused(words)
    name = max(found, key=_as_version)
    return name, found[name]


def _as_version(name: str) -> list[tuple[int, int | str]]:
    """Numbers count as numbers: 12.10 comes after 12.9."""
    return [(1, int(part)) if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
