"""The demonstration disc: Debian's own text installer, from a Debian package, as a disc that boots."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from launch.bootable_disc import DiscError, make_bootable_disc

_INSTALLER = Path("/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64")
"""Where the package debian-installer-12-netboot-amd64 puts kernel and initial RAM disk."""

_ARGUMENTS = "vga=normal fb=false"
"""The text menu on the VGA screen: no mode is set by the loader, and the installer looks for no framebuffer itself."""

LABEL = "DEBIAN12_DEMO"


def demo_disc(target: Path) -> None:
    """Write the disc to `target`. Raises DiscError where the package is missing or xorriso fails."""
    if not _INSTALLER.is_dir():
        raise DiscError("the package debian-installer-12-netboot-amd64 is not installed")
    target.parent.mkdir(parents=True, exist_ok=True)
    make_bootable_disc(
        target,
        kernel=_INSTALLER / "linux",
        initrd=_INSTALLER / "initrd.gz",
        arguments=_ARGUMENTS,
        label=LABEL,
    )


def main() -> int:
    """`python -m launch.demo_disc --output PATH`. 1 with one line where the disc cannot be made."""
    parser = argparse.ArgumentParser(prog="demo_disc", description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    target: Path = parser.parse_args().output
    try:
        demo_disc(target)
    except (DiscError, OSError) as exc:
        print(f"offshoot: the demo disc was not made: {exc}", file=sys.stderr)
        return 1
    print(f"Debian's installer is on {target}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
