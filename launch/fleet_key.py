"""`python -m launch.fleet_key SECRETS TARGET`: root's copy of the fleet's key, for containers and systemd."""

from __future__ import annotations

import sys
from pathlib import Path

from launch.ground import hand_over_fleet_key


def main() -> None:
    """Ends with status 1 and one line where the portal has not made its secrets yet."""
    source, target = (Path(argument) for argument in sys.argv[1:3])
    try:
        hand_over_fleet_key(source, target)
    except (OSError, ValueError, KeyError) as exc:
        sys.exit(f"offshoot: the fleet's key cannot be copied from {source}: {exc}")


if __name__ == "__main__":
    main()
