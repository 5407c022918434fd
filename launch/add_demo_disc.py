"""`make demo-disc`: build the demonstration disc and put it into the library of this installation."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import tempfile
from pathlib import Path

from launch import ground
from launch.bootable_disc import DiscError
from launch.demo_disc import demo_disc
from launch.installation import PORTAL_ACCOUNT, installation
from launch.readable import readable_code
from launch.site import manage

NAME = "Debian 12 installer (demo)"


def main() -> None:
    """Build, then add by the same command that an administrator uses, as the site's own account."""
    place = installation()
    try:
        ground.check_prepared(place)
        place = readable_code(place)
        account = pwd.getpwnam(PORTAL_ACCOUNT)
        folder = Path(tempfile.mkdtemp(prefix="offshoot-demo-"))
        try:
            disc = folder / "debian-12-installer.iso"
            demo_disc(disc)
            for path in (folder, disc):
                os.chown(path, account.pw_uid, account.pw_gid)
            finished = manage(place, "add_image", str(disc), "--name", NAME, "--if-absent")
        finally:
            shutil.rmtree(folder)
    except (ground.NotReady, DiscError) as exc:
        sys.exit(f"offshoot: {exc}")
    sys.exit(finished.returncode)


if __name__ == "__main__":
    main()
