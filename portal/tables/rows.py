"""What each table lets do. Read-only is the rule: a change there would go past the services, and no host would hear of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin
from django.db import models
from django.http import HttpRequest

from portal.accounts.models import Invitation, Registration, User
from portal.activity.models import Operation
from portal.audit.actions import Action, ObjectKind
from portal.audit.models import Entry, Head
from portal.audit.services import record
from portal.backups.models import Backup, BackupPlan
from portal.classes.models import Class, Member
from portal.exports.models import Export
from portal.flavours.models import Flavour
from portal.fleet.models import Host
from portal.hooks.models import Delivery, Hook
from portal.images.models import Download, Image, Upload
from portal.machines.models import Base, Disk, Machine, Nic, Snapshot, Template
from portal.networks.models import Network, PublishedPort, Uplink
from portal.notices.models import Choice, Letter, Notice
from portal.quotas.models import Grant, NetworkToAskFor, Quota, Raise
from portal.requests.models import Event, Request, Rules
from portal.rights.models import Offer, Share
from portal.tables.site import Tables
from portal.teams.models import Membership, Team

_COLUMNS = 7


if TYPE_CHECKING:
    Rows = ModelAdmin[Any]
else:
    Rows = ModelAdmin  # it takes no [] when it runs


class Readable(Rows):
    """To look at: every field but `hidden`."""

    hidden: tuple[str, ...] = ()
    actions = None
    list_per_page = 50
    show_full_result_count = False

    def get_list_display(self, _request: HttpRequest) -> Any:
        """The first fields that say something in a line."""
        fields = [each for each in self.opts.concrete_fields if each.name not in self.hidden]
        short = [each.name for each in fields if not isinstance(each, models.JSONField | models.TextField)]
        return short[:_COLUMNS]

    def get_list_select_related(self, _request: HttpRequest) -> bool:
        """A row's line names what it belongs to."""
        return True

    def get_exclude(self, _request: HttpRequest, _obj: Any = None) -> tuple[str, ...]:
        """Secrets are on no page."""
        return self.hidden

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The site lets administrators in alone."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        """As above."""
        return isinstance(request.user, User) and request.user.is_administrator

    def has_add_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """No."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """No."""
        return False


class Renamable(Readable):
    """What is only said of a thing may be changed; the rest is to look at."""

    said: tuple[str, ...] = ()

    def has_change_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        """Of `said` alone."""
        return self.has_view_permission(request)

    def get_readonly_fields(self, _request: HttpRequest, _obj: Any = None) -> list[str]:
        """All but `said`."""
        names = [each.name for each in self.opts.fields + self.opts.many_to_many]
        return [name for name in names if name not in self.said and name not in self.hidden]

    def log_change(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        """The site's own activity has it too."""
        _note(request, obj, "changed", changed=message)
        return super().log_change(request, obj, message)


class Images(Renamable):
    """What people say of an image."""

    said = ("name", "system", "version")


class Templates(Renamable):
    """What people say of a template."""

    said = ("name", "description")


class Teams(Renamable):
    """What people say of a team."""

    said = ("description",)


def _hiding(*names: str) -> type[Readable]:
    return type("Readable", (Readable,), {"hidden": names})


TABLES: dict[type[models.Model], type[Readable]] = {
    User: _hiding("password"),
    Team: Teams,
    Membership: Readable,
    Host: Readable,
    Machine: _hiding("seed", "under_the_hood"),
    Disk: Readable,
    Nic: Readable,
    Snapshot: _hiding("spec"),
    Template: Templates,
    Base: Readable,
    Operation: _hiding("message"),  # a guest's password is in some, hashed
    Image: Images,
    Upload: Readable,
    Download: Readable,
    Network: Readable,
    Uplink: Readable,
    PublishedPort: Readable,
    Backup: _hiding("spec"),
    BackupPlan: Readable,
    Export: Readable,
    Entry: Readable,
    Head: Readable,
    Notice: Readable,
    Choice: Readable,
    Letter: Readable,
    Hook: _hiding("secret"),
    Delivery: Readable,
    Flavour: Readable,
    Quota: Readable,
    Grant: Readable,
    Raise: Readable,
    NetworkToAskFor: Readable,
    Request: _hiding("wish", "granted"),  # seeds with keys are in some
    Event: Readable,
    Rules: Readable,
    Invitation: _hiding("token_hash"),
    Registration: Readable,
    Share: Readable,
    Offer: Readable,
    Class: Readable,
    Member: Readable,
}
site = Tables(name="admin")
for _model, _rows in TABLES.items():
    site.register(_model, _rows)


def _note(request: HttpRequest, obj: models.Model, what: str, **details: object) -> None:
    user = request.user if isinstance(request.user, User) else None
    about = (ObjectKind.ROW, obj.pk, str(obj))
    record(
        Action.ADMIN_CHANGED,
        by=user,
        about=about,
        details={"what": what, "table": obj._meta.label, **details},
    )
