"""The first settings of a cloud image: what a person types, checked, as the contract's SeedSpec."""

from __future__ import annotations

import re
import unicodedata

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from django.utils.text import slugify
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.machines.models import Machine
from portal.machines.passwords import hashed
from portal.networks.names import host_name_for
from portal.refusal import Refused
from workers.contract.spec import SeedSpec

AGENT_PACKAGE = "qemu-guest-agent"

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_SYSTEM_ACCOUNTS = frozenset(
    (
        "root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy",
        "www-data", "backup", "list", "irc", "nobody", "sshd", "messagebus",
    )
)  # fmt: skip
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:@-]{0,99}")
_MOST_KEYS, _MOST_KEY_CHARACTERS, _MOST_PACKAGES = 20, 16_384, 50


def seed_from(*, machine_name: str, user: str, ssh_keys: str, password: str, packages: str) -> SeedSpec:
    """What was typed, checked. Raises Refused at its field."""
    keys = ssh_keys_in(ssh_keys)
    if not keys and not password:
        raise Refused(
            _("Without a key and without a password nobody could sign in: give at least one of them."),
            "ssh_keys",
        )
    return SeedSpec(
        user=_user(user),
        ssh_keys=keys,
        password_hash=hashed(password) if password else "",
        host_name=host_name_for(machine_name),
        packages=_packages(packages),
    )


def ssh_keys_in(text: str) -> tuple[str, ...]:
    """The public keys in a text, one a line. Raises Refused."""
    if "PRIVATE KEY" in text or "PuTTY-User-Key-File" in text:
        raise Refused(
            _(
                "That is your private key: show it to nobody, and let it be replaced if others could have seen it. "
                "What belongs here is the public one, from the file that ends in .pub. It was not kept."
            ),
            "ssh_keys",
        )
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        key = " ".join(line.split())
        if key and not key.startswith("#"):
            _check_key(key, number)
            keys.append(key)
    if len(keys) > _MOST_KEYS:
        raise Refused(_("At most %(most)d keys can be given.") % {"most": _MOST_KEYS}, "ssh_keys")
    return tuple(dict.fromkeys(keys))


def last_used(owner: User) -> dict[str, str]:
    """The account and keys of the person's newest cloud machine, to begin with. One query."""
    machine = (
        Machine.objects.filter(owner=owner, seed__isnull=False).order_by("-created_at").only("seed").first()
    )
    if machine is not None:
        return {"user": machine.seed["user"], "ssh_keys": "\n".join(machine.seed["ssh_keys"])}
    own = slugify(owner.get_username())
    return {"user": own if _USER.fullmatch(own) and own not in _SYSTEM_ACCOUNTS else "user", "ssh_keys": ""}


def _user(raw: str) -> str:
    user = raw.strip()
    if not _USER.fullmatch(user):
        raise Refused(
            _(
                "An account's name begins with a small letter; after it come small letters, digits, - and _, 32 at most."
            ),
            "user",
        )
    if user in _SYSTEM_ACCOUNTS:
        raise Refused(
            _(
                "The system has an account of this name already. Choose one of your own: it may do everything by sudo."
            ),
            "user",
        )
    return user


def _check_key(key: str, number: int) -> None:
    words = _(
        "Line %(number)d is no SSH public key. One looks like “ssh-ed25519 AAAA… name”, all on one line."
    ) % {"number": number}
    if len(key) > _MOST_KEY_CHARACTERS or any(unicodedata.category(each).startswith("C") for each in key):
        raise Refused(words, "ssh_keys")
    try:
        load_ssh_public_key(key.encode())
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise Refused(words, "ssh_keys") from exc


def _packages(raw: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(raw.replace(",", " ").split()))
    for name in names:
        if not _PACKAGE.fullmatch(name):
            words = _("“%(name)s” is no name of a package. Give names with spaces between them.")
            raise Refused(words % {"name": name[:40]}, "packages")
    if len(names) > _MOST_PACKAGES:
        raise Refused(_("At most %(most)d packages can be given.") % {"most": _MOST_PACKAGES}, "packages")
    return names
