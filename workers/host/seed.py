"""The disc that a cloud image reads at its first start, made with pycdlib."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pycdlib

from workers.contract.errors import ErrorCode, OffshootError
from workers.killpoints import reached
from workers.plan.seed import VOLUME


class SeedError(OffshootError):
    """The seed could not be written; nothing of it is left."""

    code = ErrorCode.DISK_FAILED


def make_seed(path: Path, *, user_data: str, meta_data: str, uid: int, gid: int) -> None:
    """Write the seed to `path`, readable by qemu's account alone; it appears whole or not at all. Raises SeedError."""
    draft = path.with_suffix(".part")
    try:
        draft.unlink(missing_ok=True)
        draft.touch(0o600)
        draft.write_bytes(_disc({"user-data": user_data, "meta-data": meta_data}))
        os.chown(draft, uid, gid)
        reached("seed drafted")
        draft.rename(path)
    except OSError as exc:
        draft.unlink(missing_ok=True)
        raise SeedError(str(exc)) from exc


def _disc(files: dict[str, str]) -> bytes:
    """An ISO 9660 disc with Rock Ridge and Joliet names: a system reads at least one of the two."""
    disc = pycdlib.PyCdlib()
    disc.new(interchange_level=3, rock_ridge="1.09", joliet=3, vol_ident=VOLUME)
    try:
        for name, text in files.items():
            raw = text.encode()
            short = name.replace("-", "").upper()
            disc.add_fp(BytesIO(raw), len(raw), iso_path=f"/{short}.;1", rr_name=name, joliet_path=f"/{name}")
        whole = BytesIO()
        disc.write_fp(whole)
        return whole.getvalue()
    finally:
        disc.close()
