"""What can be done, as keys that are kept for ever and the words for them."""

from __future__ import annotations

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.activity.models import Kind

OPERATION = "operation."
"""Before the kind of an operation: its words are those of portal/activity."""


class Action(models.TextChoices):
    """Everything that is no operation of a host. A key is never given another meaning: old lines have it."""

    SIGN_IN = "sign_in", _("Signed in")
    SIGN_IN_FAILED = "sign_in_failed", _("Tried to sign in")
    SIGN_OUT = "sign_out", _("Signed out")
    PASSWORD_CHANGED = "password_changed", _("Changed the password")
    CONSOLE_OPENED = "console_opened", _("Opened the console")
    CONSOLE_CLOSED = "console_closed", _("Closed the console")
    MACHINE_ENDED = "machine_ended", _("Ended by itself")
    MACHINE_HALTED = "machine_halted", _("Was stopped by a fault")
    SNAPSHOT_RENAMED = "snapshot_renamed", _("Renamed a snapshot")
    IMAGE_ADDED = "image_added", _("Added to the library")
    IMAGE_CHANGED = "image_changed", _("Changed in the library")
    IMAGE_DELETED = "image_deleted", _("Deleted from the library")
    UPLOAD_REFUSED = "upload_refused", _("Uploaded a file that is no disc")
    DOWNLOAD_BEGUN = "download_begun", _("Began a download into the library")
    DOWNLOAD_CHANGED = "download_changed", _("Paused, went on with or cancelled a download")
    DOWNLOAD_ENDED = "download_ended", _("Download into the library ended")
    TEMPLATE_DELETED = "template_deleted", _("Deleted a template")
    NETWORK_MADE = "network_made", _("Made a network")
    NETWORK_CHANGED = "network_changed", _("Changed a network")
    NETWORK_DELETED = "network_deleted", _("Deleted a network")
    UPLINK_SET = "uplink_set", _("Connected a host to a network")
    UPLINK_REMOVED = "uplink_removed", _("Disconnected a host from a network")
    PORT_PUBLISHED = "port_published", _("Published a port")
    PORT_WITHDRAWN = "port_withdrawn", _("Withdrew a published port")
    ADDRESS_LOCKED = "address_locked", _("Locked a network card to an address")
    ADDRESS_UNLOCKED = "address_unlocked", _("Took the lock to an address from a network card")
    FIREWALL_CHANGED = "firewall_changed", _("Changed the firewall")
    BACKUP_PLAN = "backup_plan", _("Changed the backup plan")
    EXPORT_DOWNLOADED = "export_downloaded", _("Downloaded an export")
    EXPORT_REMOVED = "export_removed", _("Removed an export")
    IMPERSONATION_BEGUN = "impersonation_begun", _("Began to act as somebody else")
    IMPERSONATION_ENDED = "impersonation_ended", _("Stopped acting as somebody else")
    SHARED = "shared", _("Shared a machine")
    SHARE_WITHDRAWN = "share_withdrawn", _("Shared a machine no more")
    OFFERED = "offered", _("Offered a machine to somebody")
    OFFER_WITHDRAWN = "offer_withdrawn", _("Offered a machine no more")
    OFFER_DECLINED = "offer_declined", _("Declined a machine")
    HANDED_OVER = "handed_over", _("A machine belongs to somebody else")
    TEAM_MADE = "team_made", _("Made a team")
    TEAM_CHANGED = "team_changed", _("Changed a team")
    TEAM_DELETED = "team_deleted", _("Deleted a team")
    TEAM_JOINED = "team_joined", _("Added somebody to a team")
    TEAM_ROLE = "team_role", _("Gave somebody another role in a team")
    TEAM_LEFT = "team_left", _("Removed somebody from a team")
    REQUEST_ASKED = "request_asked", _("Asked for something")
    REQUEST_ASKED_BACK = "request_asked_back", _("Asked back about a request")
    REQUEST_ANSWERED = "request_answered", _("Answered about a request")
    REQUEST_APPROVED = "request_approved", _("Approved a request")
    REQUEST_APPROVED_LESS = "request_approved_less", _("Approved less than was asked for")
    REQUEST_DECLINED = "request_declined", _("Declined a request")
    REQUEST_WITHDRAWN = "request_withdrawn", _("Withdrew a request")
    REQUEST_EXPIRED = "request_expired", _("A request expired")
    QUOTA_SET = "quota_set", _("Set a quota")
    QUOTA_REMOVED = "quota_removed", _("Removed a quota")
    SIZES_CHANGED = "sizes_changed", _("Changed the sizes that are offered")
    RULES_CHANGED = "rules_changed", _("Changed the rules of asking")
    INVITED = "invited", _("Invited somebody")
    INVITATION_WITHDRAWN = "invitation_withdrawn", _("Withdrew an invitation")
    INVITATION_USED = "invitation_used", _("Came in by an invitation")
    REGISTRATION_SET = "registration_set", _("Opened or closed registration")
    REGISTERED = "registered", _("Asked for an account")
    ACCOUNT_APPROVED = "account_approved", _("Let somebody in")
    ACCOUNT_DECLINED = "account_declined", _("Declined an account")
    ROLES_SET = "roles_set", _("Gave somebody other roles")
    SWITCHED_OFF = "switched_off", _("Switched an account off")
    SWITCHED_ON = "switched_on", _("Switched an account on")
    SIGNED_OUT = "signed_out", _("Signed somebody out everywhere")
    SECOND_FACTOR = "second_factor", _("Changed a second factor")
    PASSWORD_LINK = "password_link", _("Made a link for a new password")
    CLASS_MADE = "class_made", _("Made a class of machines")
    CLASS_ACTED = "class_acted", _("Asked something of all machines of a class")
    CLASS_REMOVED = "class_removed", _("Removed a class without machines")
    HOOK_CHANGED = "hook_changed", _("Changed a web hook")
    LEASE_SET = "lease_set", _("Set the end date")
    LEASE_EXTENDED = "lease_extended", _("Extended the time")
    LEASE_REMOVED = "lease_removed", _("Removed the end date")
    LEASE_REMINDED = "lease_reminded", _("Its people were reminded of its end")
    LEASE_OVER = "lease_over", _("Its time was over")
    LEASE_DELETED = "lease_deleted", _("Was deleted after its time")
    LEASE_RULES = "lease_rules", _("Changed the rules of end dates")
    SCHEDULE_SET = "schedule_set", _("Set the schedule")
    SCHEDULE_MISSED = "schedule_missed", _("The schedule could not be kept")
    MACHINE_IDLE = "machine_idle", _("Was found idle")
    ADMIN_CHANGED = "admin_changed", _("Changed a row in the site's tables")
    LOG_EXPORTED = "log_exported", _("Exported the activity")
    LOG_CHECKED = "log_checked", _("Checked the activity")
    LOG_BROKEN = "log_broken", _("Lines of the activity were found changed or removed")
    LOG_BEGUN_ANEW = "log_begun_anew", _("Let an older database count")


class Result(models.TextChoices):
    """What came of it."""

    ASKED = "asked", _("Asked")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")
    REFUSED = "refused", _("Refused")
    OVERTAKEN = "overtaken", _("Overtaken")


class ObjectKind(models.TextChoices):
    """What was acted on."""

    MACHINE = "machine", _("Machine")
    PERSON = "person", _("Person")
    IMAGE = "image", _("Disc or image")
    TEMPLATE = "template", _("Template")
    NETWORK = "network", _("Network")
    HOST = "host", _("Host")
    TEAM = "team", _("Team")
    REQUEST = "request", _("Request")
    HOOK = "hook", _("Web hook")
    SITE = "site", _("Site")
    ROW = "row", _("Row")


def words_for_action(key: str) -> str | Promise:
    """The words for an action; the key itself where this version does not know it (another one wrote the line)."""
    if key.startswith(OPERATION):
        kind = key.removeprefix(OPERATION)
        return Kind(kind).label if kind in Kind.values else kind
    return Action(key).label if key in Action.values else key


def choices() -> list[tuple[str, str | Promise]]:
    """All actions with their words, for a filter."""
    return [*((f"{OPERATION}{kind.value}", kind.label) for kind in Kind), *Action.choices]
