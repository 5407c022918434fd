"""Running manage.py as the site's own account, in the environment that the site has."""

from __future__ import annotations

import pwd
import subprocess

from launch.installation import PORTAL_ACCOUNT, Installation


def manage(place: Installation, *arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run it to its end. Where `capture`, stdout and stderr are in the answer, else on the terminal."""
    account = pwd.getpwnam(PORTAL_ACCOUNT)
    return subprocess.run(
        (place.python, "manage.py", *arguments),
        cwd=place.code,
        env=place.portal_environment(),
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        check=False,
        capture_output=capture,
        text=True,
    )
