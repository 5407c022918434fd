"""The pages of one machine, in the order of their tabs."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Tab:
    """A page of a machine: its URL's name below `machines:`, its words and its icon."""

    name: str
    label: str | Promise
    icon: str

    @property
    def url_name(self) -> str:
        """For the template."""
        return f"machines:{self.name}"


TABS = (
    Tab("detail", _("Overview"), "display"),
    Tab("figures", _("Figures"), "graph-up"),
    Tab("hardware", _("Hardware"), "cpu"),
    Tab("network", _("Network"), "diagram-3"),
    Tab("snapshots", _("Snapshots"), "camera"),
    Tab("copies", _("Disks and copies"), "layers"),
    Tab("backups", _("Backups"), "archive"),
    Tab("sharing", _("Sharing"), "people"),
    Tab("activity", _("Activity"), "clock-history"),
)
