"""Debian's packages, fetched and unpacked without being installed."""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "guest"


def fetch_package(package: str, folder: Path) -> Path:
    """The tree of one of Debian's packages, unpacked below `folder`, into what was unpacked there before."""
    folder.chmod(0o755)  # apt downloads as its own account
    run("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package, cwd=folder)
    [archive] = folder.glob(f"{package}_*.deb")
    run("dpkg", "-x", str(archive), "tree", cwd=folder)
    return folder / "tree"


def unpacked(*packages: str) -> Path:
    """The tree of these packages together: fetched once, and kept in .cache."""
    kept = CACHE / "packages" / packages[0]
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with tempfile.TemporaryDirectory(prefix="draft-", dir=kept.parent) as name:
                for package in packages:
                    tree = fetch_package(package, Path(name))
                tree.rename(kept)
    return kept


def run(*argv: str, cwd: Path) -> str:
    """What a program says. Raises CalledProcessError, TimeoutExpired."""
    return subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True, timeout=300).stdout
