"""`python -m launch.manage COMMAND …`: manage.py for this installation, as the site's account; `changepassword admin`, say."""

from __future__ import annotations

import sys

from launch.ground import NotReady, check_prepared
from launch.installation import installation
from launch.readable import readable_code
from launch.site import manage


def main() -> None:
    """Ends with the command's own status, or 1 and one line where there is no installation."""
    place = installation()
    try:
        check_prepared(place)
        place = readable_code(place)
    except NotReady as exc:
        sys.exit(f"offshoot: {exc}")
    sys.exit(manage(place, *sys.argv[1:]).returncode)


if __name__ == "__main__":
    main()
