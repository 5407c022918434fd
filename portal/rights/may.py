"""What a template may ask of the table: `{% if may.shut_down %}` around the button that leads to `machines:shut-down`."""

from __future__ import annotations

from dataclasses import dataclass

from portal.rights.levels import Level
from portal.rights.table import RIGHTS, SOCKETS, Needs


@dataclass(frozen=True)
class May:
    """Of one machine, for one person: what they may do at the machine's addresses and at its screen."""

    level: Level

    def __getitem__(self, name: str) -> bool:
        """The address of that name; for one that shows a page and takes a form, the form. Raises KeyError."""
        if name == "use_console":
            return self._reaches(SOCKETS["console"].changes)
        if name == "view_console":
            return self._reaches(SOCKETS["console"].reads)
        right = RIGHTS[f"machines:{name.replace('_', '-')}"]
        return self._reaches(right.reads if right.changes is None else right.changes)

    def _reaches(self, needed: Needs | None) -> bool:
        return isinstance(needed, Level) and self.level >= needed
