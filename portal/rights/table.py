"""The table of rights: who may come to which address, WebSocket and topic. The gate, the consumers, the pages' buttons
and the test that walks all of it read this file, and nothing else decides. Pure data.

An address that is not here is refused. `reads` is for GET, HEAD and OPTIONS, `changes` for everything else; None: the
address is not for that. A `Level` is needed of the thing that the address names (`of`), a `Who` of the person. Whoever
may not see the thing finds nothing there (404); who sees it, and has too little, is told whom to ask (403).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from portal.rights.levels import Level


class Who(Enum):
    """Who may come where no thing is named."""

    ANYBODY = "anybody"
    HOST = "a host that shows a token for this very file; the view reads it"
    SIGNED_IN = "signed in"
    DOER = "signed in, and no auditor: they change nothing"
    TEACHER = "administrator, or an owner of a team"
    APPROVER = "approves what others ask for, or administrator; an auditor may read it"
    AUDITOR = "reads all, or administrator"
    ADMINISTRATOR = "administrator"


class Of(Enum):
    """What an address names; portal/rights/verdict.py has how each is found, and what a person's level of it is."""

    MACHINE = "machine_id"
    BACKUP = "backup_id"
    TEMPLATE = "template_id"
    """OPERATE: make machines from it. OWN: delete it."""
    IMAGE = "image_id"
    """OPERATE: put it into a drive. OWN: edit and delete it, for who added it."""
    UPLOAD = "upload_id"
    TEAM = "team_id"
    """SEE: who is in it and its machines. VIEW_CONSOLE: a viewer, MANAGE: a member, OWN: an owner of it."""
    OFFER = "offer_id"
    """OWN, for the person to whom a machine is offered."""
    PERSON = "user_id"
    """SEE: what they did. OWN: for themselves, and for administrators."""
    NOTICE = "notice_id"
    """OWN, for whom it is."""
    REQUEST = "request_id"
    """SEE: what is asked, and how it goes. OWN: withdraw it, answer, for who asked."""
    CLASS = "class_id"
    """SEE: who has which machine. OWN: what is done with all of them, for who made it, or an owner of its team."""


Needs = Who | Level


@dataclass(frozen=True)
class Right:
    """A row. `json`: a script asks, so it is told in JSON, and never led to the door."""

    reads: Needs | None = None
    changes: Needs | None = None
    of: Of | None = None
    json: bool = False

    @property
    def looking(self) -> Level:
        """The level that reading needs, where a thing is named."""
        if not isinstance(self.reads, Level):
            raise TypeError("no level is needed for reading here")
        return self.reads


SEE, VIEW_CONSOLE, USE_CONSOLE, OPERATE, MANAGE, OWN = Level


def _machine(reads: Level | None = None, changes: Level | None = None) -> Right:
    return Right(reads, changes, Of.MACHINE)


RIGHTS: dict[str, Right] = {
    # The site and a person's own account
    "home": Right(Who.SIGNED_IN),
    "health": Right(Who.ANYBODY),
    "account_login": Right(Who.ANYBODY, Who.ANYBODY),
    "account_logout": Right(changes=Who.ANYBODY),
    "account_signup": Right(Who.ANYBODY, Who.ANYBODY),
    "account_waiting": Right(Who.ANYBODY),
    "account_inactive": Right(Who.ANYBODY),
    "account_reset_password": Right(Who.ANYBODY, Who.ANYBODY),
    "account_reset_password_done": Right(Who.ANYBODY, Who.ANYBODY),
    "account_reset_password_from_key": Right(Who.ANYBODY, Who.ANYBODY),
    "account_confirm_email": Right(Who.ANYBODY, Who.ANYBODY),
    "invitation": Right(Who.ANYBODY, Who.ANYBODY),
    "mfa_authenticate": Right(Who.ANYBODY, Who.ANYBODY),
    "mfa_login_webauthn": Right(Who.ANYBODY, Who.ANYBODY),
    "account_index": Right(Who.SIGNED_IN),
    "account_change_password": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "account_email": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "account_reauthenticate": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "mfa_reauthenticate": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "mfa_reauthenticate_webauthn": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "mfa_index": Right(Who.SIGNED_IN),
    "mfa_activate_totp": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "mfa_deactivate_totp": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "mfa_view_recovery_codes": Right(Who.SIGNED_IN),
    "mfa_generate_recovery_codes": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "mfa_add_webauthn": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "mfa_edit_webauthn": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "mfa_remove_webauthn": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "usersessions_list": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "account_session_end": Right(changes=Who.SIGNED_IN),
    # People
    "people:list": Right(Who.AUDITOR),
    "people:detail": Right(Who.AUDITOR),
    "people:invite": Right(Who.ADMINISTRATOR, Who.ADMINISTRATOR),
    "people:withdraw": Right(changes=Who.ADMINISTRATOR),
    "people:registration": Right(changes=Who.ADMINISTRATOR),
    "people:approve": Right(changes=Who.ADMINISTRATOR),
    "people:decline": Right(changes=Who.ADMINISTRATOR),
    "people:roles": Right(changes=Who.ADMINISTRATOR),
    "people:switch-off": Right(changes=Who.ADMINISTRATOR),
    "people:switch-on": Right(changes=Who.ADMINISTRATOR),
    "people:sign-out": Right(changes=Who.ADMINISTRATOR),
    "people:second-factor": Right(changes=Who.ADMINISTRATOR),
    "people:password-link": Right(changes=Who.ADMINISTRATOR),
    # Machines: looking
    "machines:list": Right(Who.SIGNED_IN),
    "machines:new": Right(Who.DOER, Who.DOER),
    "machines:detail": _machine(SEE),
    "machines:figures": _machine(SEE),
    "machines:figures-data": _machine(SEE),
    "machines:hardware": _machine(SEE),
    "machines:network": _machine(SEE),
    "machines:copies": _machine(SEE),
    "machines:backups": _machine(SEE),
    "machines:sharing": _machine(SEE),
    "machines:screen": _machine(VIEW_CONSOLE),
    "console:ticket": Right(changes=VIEW_CONSOLE, of=Of.MACHINE, json=True),
    # Machines: operating
    "machines:start": _machine(changes=OPERATE),
    "machines:shut-down": _machine(changes=OPERATE),
    "machines:restart": _machine(changes=OPERATE),
    "machines:force-off": _machine(changes=OPERATE),
    "machines:pause": _machine(changes=OPERATE),
    "machines:resume": _machine(changes=OPERATE),
    "machines:reset": _machine(changes=OPERATE),
    "machines:hibernate": _machine(changes=OPERATE),
    "machines:wake": _machine(changes=OPERATE),
    "machines:start-anew": _machine(changes=OPERATE),
    "machines:cancel": _machine(changes=OPERATE),
    "machines:insert-disc": _machine(changes=OPERATE),
    "machines:finish-installation": _machine(changes=OPERATE),
    "machines:snapshots": _machine(SEE, OPERATE),
    # Machines: managing; what throws work away or gives away what is on the disks is managing too
    "machines:snapshot-revert": _machine(changes=MANAGE),
    "machines:snapshot-delete": _machine(changes=MANAGE),
    "machines:snapshot-rename": _machine(changes=MANAGE),
    "machines:autostart": _machine(changes=MANAGE),
    "machines:lease-set": _machine(changes=MANAGE),
    "machines:lease-extend": _machine(changes=MANAGE),
    "machines:lease-remove": _machine(changes=MANAGE),
    "machines:schedule-set": _machine(changes=MANAGE),
    "machines:password": _machine(MANAGE, MANAGE),
    "machines:hardware-size": _machine(changes=MANAGE),
    "machines:hardware-boot": _machine(changes=MANAGE),
    "machines:hardware-limits": _machine(changes=MANAGE),
    "machines:change-firmware": _machine(changes=MANAGE),
    "machines:disk-add": _machine(changes=MANAGE),
    "machines:disk-grow": _machine(changes=MANAGE),
    "machines:disk-remove": _machine(changes=MANAGE),
    "machines:move-disk": _machine(changes=MANAGE),
    "machines:renew": _machine(changes=MANAGE),
    "machines:card-add": _machine(changes=MANAGE),
    "machines:card-remove": _machine(changes=MANAGE),
    "machines:port-publish": _machine(changes=MANAGE),
    "machines:port-withdraw": _machine(changes=MANAGE),
    "machines:firewall-set": _machine(changes=MANAGE),
    "machines:rule-add": _machine(changes=MANAGE),
    "machines:rule-remove": _machine(changes=MANAGE),
    "machines:rule-move": _machine(changes=MANAGE),
    "machines:clone": _machine(changes=MANAGE),
    "machines:back-up": _machine(changes=MANAGE),
    "machines:backup-plan": _machine(changes=MANAGE),
    "machines:export": _machine(changes=MANAGE),
    "machines:export-file": _machine(MANAGE),
    "machines:export-remove": _machine(changes=MANAGE),
    # Machines: what is a network's administrator's; the machine's own people only read of it
    "machines:address-lock": Right(changes=Who.ADMINISTRATOR),
    "machines:address-unlock": Right(changes=Who.ADMINISTRATOR),
    # Machines: owning; a template can be everybody's
    "machines:publish": _machine(changes=OWN),
    "machines:delete": _machine(changes=OWN),
    "machines:share": _machine(changes=OWN),
    "machines:share-withdraw": _machine(changes=OWN),
    "machines:hand-over": _machine(changes=OWN),
    "machines:offer-withdraw": _machine(changes=OWN),
    "machines:move-home": _machine(changes=OWN),
    "machines:offer": Right(OWN, OWN, Of.OFFER),
    # Backups by themselves, templates
    "backups:list": Right(Who.SIGNED_IN),
    "backups:verify": Right(changes=MANAGE, of=Of.BACKUP),
    "backups:restore": Right(MANAGE, MANAGE, Of.BACKUP),
    "backups:delete": Right(changes=MANAGE, of=Of.BACKUP),
    "templates:list": Right(Who.SIGNED_IN),
    "templates:use": Right(OPERATE, OPERATE, Of.TEMPLATE),
    "templates:delete": Right(changes=OWN, of=Of.TEMPLATE),
    # The library
    "images:library": Right(Who.SIGNED_IN),
    "images:uploads": Right(Who.DOER, Who.DOER, json=True),
    "images:upload": Right(OWN, OWN, Of.UPLOAD, json=True),
    "images:edit": Right(OWN, OWN, Of.IMAGE),
    "images:delete": Right(changes=OWN, of=Of.IMAGE),
    "images:download": Right(changes=Who.ADMINISTRATOR),
    "images:download-change": Right(changes=Who.ADMINISTRATOR),
    "images:file": Right(Who.HOST),
    "exports:receive": Right(Who.HOST, Who.HOST),
    # Hosts and networks
    "overview": Right(Who.AUDITOR),
    "fleet:list": Right(Who.AUDITOR),
    "fleet:detail": Right(Who.AUDITOR),
    "fleet:figures-data": Right(Who.AUDITOR),
    "fleet:bridge-make": Right(changes=Who.ADMINISTRATOR),
    "fleet:bridge-remove": Right(changes=Who.ADMINISTRATOR),
    "networks:list": Right(Who.SIGNED_IN),
    "networks:new": Right(Who.ADMINISTRATOR, Who.ADMINISTRATOR),
    "networks:detail": Right(Who.AUDITOR),
    "networks:rename": Right(changes=Who.ADMINISTRATOR),
    "networks:subnet": Right(changes=Who.ADMINISTRATOR),
    "networks:ipv6": Right(changes=Who.ADMINISTRATOR),
    "networks:delete": Right(changes=Who.ADMINISTRATOR),
    "networks:uplink-set": Right(changes=Who.ADMINISTRATOR),
    "networks:uplink-remove": Right(changes=Who.ADMINISTRATOR),
    "networks:uplink-bridge": Right(changes=Who.ADMINISTRATOR),
    # Who did what; notices, web hooks; acting as somebody else; the tables
    "machines:activity": _machine(SEE),
    "audit:site": Right(Who.AUDITOR),
    "audit:check": Right(changes=Who.AUDITOR),
    "audit:mine": Right(Who.SIGNED_IN),
    "audit:person": Right(SEE, of=Of.PERSON),
    "notices:list": Right(Who.SIGNED_IN),
    "notices:bell": Right(Who.SIGNED_IN),
    "notices:read": Right(changes=Who.SIGNED_IN),
    "notices:choices": Right(Who.SIGNED_IN, Who.SIGNED_IN),
    "notices:open": Right(changes=OWN, of=Of.NOTICE),
    "hooks:list": Right(Who.AUDITOR),
    "hooks:new": Right(Who.ADMINISTRATOR, Who.ADMINISTRATOR),
    "hooks:detail": Right(Who.AUDITOR, Who.ADMINISTRATOR),
    "hooks:test": Right(changes=Who.ADMINISTRATOR),
    "hooks:secret": Right(changes=Who.ADMINISTRATOR),
    "hooks:delete": Right(changes=Who.ADMINISTRATOR),
    "impersonation:begin": Right(changes=Who.ADMINISTRATOR),
    "impersonation:end": Right(changes=Who.SIGNED_IN),
    "admin:*": Right(Who.ADMINISTRATOR, Who.ADMINISTRATOR),
    # Asking, quotas, sizes
    "requests:list": Right(Who.SIGNED_IN),
    "requests:quota": Right(Who.DOER, Who.DOER),
    "requests:detail": Right(SEE, of=Of.REQUEST),
    "requests:withdraw": Right(changes=OWN, of=Of.REQUEST),
    "requests:answer": Right(changes=OWN, of=Of.REQUEST),
    "requests:decide": Right(changes=Who.APPROVER),
    "requests:decide-many": Right(changes=Who.APPROVER),
    "rules": Right(Who.AUDITOR, Who.ADMINISTRATOR),
    "lease-rules": Right(Who.AUDITOR, Who.ADMINISTRATOR),
    "quotas:list": Right(Who.AUDITOR),
    "quotas:of-all": Right(Who.AUDITOR, Who.ADMINISTRATOR),
    "quotas:of-person": Right(Who.AUDITOR, Who.ADMINISTRATOR),
    "quotas:of-team": Right(Who.AUDITOR, Who.ADMINISTRATOR),
    "quotas:remove": Right(changes=Who.ADMINISTRATOR),
    "quotas:end-raise": Right(changes=Who.ADMINISTRATOR),
    "flavours:list": Right(Who.AUDITOR),
    "flavours:add": Right(Who.ADMINISTRATOR, Who.ADMINISTRATOR),
    "flavours:change": Right(Who.ADMINISTRATOR, Who.ADMINISTRATOR),
    "flavours:move": Right(changes=Who.ADMINISTRATOR),
    "flavours:remove": Right(changes=Who.ADMINISTRATOR),
    # Teams
    "teams:list": Right(Who.SIGNED_IN),
    "teams:new": Right(Who.ADMINISTRATOR, Who.ADMINISTRATOR),
    "teams:detail": Right(SEE, of=Of.TEAM),
    "teams:leave": Right(changes=VIEW_CONSOLE, of=Of.TEAM),
    "teams:change": Right(changes=OWN, of=Of.TEAM),
    "teams:member-add": Right(changes=OWN, of=Of.TEAM),
    "teams:member-role": Right(changes=OWN, of=Of.TEAM),
    "teams:member-remove": Right(changes=OWN, of=Of.TEAM),
    "teams:delete": Right(changes=OWN, of=Of.TEAM),
    # Classes
    "classes:list": Right(Who.SIGNED_IN),
    "classes:new": Right(Who.TEACHER, Who.TEACHER),
    "classes:detail": Right(SEE, of=Of.CLASS),
    "classes:act": Right(changes=OWN, of=Of.CLASS),
    "classes:delete-machines": Right(changes=OWN, of=Of.CLASS),
    "classes:remove": Right(changes=OWN, of=Of.CLASS),
}
"""Each address by its view's name; `space:*` stands for all of a space that is not ours to list."""

SOCKETS: dict[str, Right] = {
    "live": Right(Who.SIGNED_IN),
    "console": _machine(VIEW_CONSOLE, USE_CONSOLE),
}
"""Each WebSocket by its route's name. A console that may only be read passes no key and no click on."""

TOPICS: dict[str, Right] = {
    "machines": Right(Who.SIGNED_IN),
    "machine": _machine(SEE),
    "screens": _machine(VIEW_CONSOLE),
    "fleet": Right(Who.AUDITOR),
    "library": Right(Who.SIGNED_IN),
    "networks": Right(Who.SIGNED_IN),
    "requests": Right(Who.SIGNED_IN),
    "notices": Right(Who.SIGNED_IN),
    "hooks": Right(Who.AUDITOR),
}
"""What a live page may ask to be told of."""


def right_of(view_name: str) -> Right | None:
    """The row of an address; None where there is none, and nobody may come."""
    found = RIGHTS.get(view_name)
    space, colon, _name = view_name.rpartition(":")
    return found if found is not None or not colon else RIGHTS.get(f"{space}:*")
