"""How much a person may do with one thing. Pure: each level includes those below it."""

from __future__ import annotations

from enum import IntEnum


class Level(IntEnum):
    """What lies at each level, portal/rights/table.py says address by address."""

    SEE = 1
    """Its pages and figures; what an auditor has of everything."""
    VIEW_CONSOLE = 2
    """Its screen as well, without touching it."""
    USE_CONSOLE = 3
    """Keyboard and mouse."""
    OPERATE = 4
    """Start, end, pause; discs in its drives; taking a snapshot."""
    MANAGE = 5
    """What it is made of, its network and firewall, backups, clones, going back to a snapshot."""
    OWN = 6
    """Deleting it, sharing it, handing it over."""


SHAREABLE = (Level.VIEW_CONSOLE, Level.USE_CONSOLE, Level.OPERATE, Level.MANAGE)
"""What can be shared with others; a thing has one home, so owning is handed over, never shared."""
