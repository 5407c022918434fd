"""Our own nftables tables, replaced in one transaction; foreign rules are never touched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from workers.contract.errors import ErrorCode, OffshootError
from workers.host.commands import run
from workers.plan.network import TABLE, WiredNetwork, ruleset


class FirewallError(OffshootError):
    """The rules were refused; those before are still in force."""

    code = ErrorCode.FIREWALL_FAILED


_SET: dict[Path, tuple[str, str]] = {}
"""What this process has set last, and what the kernel listed then."""


def _listing() -> str:
    """Our tables as the kernel has them, without those of others."""
    listed = run(("nft", "-s", "list", "ruleset"), seconds=20, check=False).stdout
    blocks = re.findall(r"^table .*?^}$", listed, re.MULTILINE | re.DOTALL)
    return "\n".join(each for each in blocks if each.split()[2] == TABLE)


def apply(folder: Path, networks: Sequence[WiredNetwork]) -> None:
    """Put the rules of these networks in the place of those before; `folder` is the networks' in the host's state.

    Call it under the networks' lock. Raises FirewallError.
    """
    try:
        script = ruleset(networks)
        run(("nft", "-f", "-"), stdin=script, seconds=20)
        _SET[folder] = (script, _listing())
    except OffshootError as exc:
        raise FirewallError(exc.detail) from exc


apply_whole = apply
"""The same, whatever the kernel holds of ours now."""


def is_in_force(folder: Path, networks: Sequence[WiredNetwork]) -> bool:
    """The kernel has the rules that were set last, and they are those of these networks. One program runs."""
    if not networks and folder not in _SET:
        return not _listing()
    return _SET.get(folder) == (ruleset(networks), _listing())


def rules_of_tap(tap: str) -> str:
    """What the kernel has in force for one card, for an expert's eyes; empty where there is none."""
    finished = run(("nft", "list", "chain", "bridge", TABLE, f"from_{tap}"), seconds=20, check=False)
    return finished.stdout if finished.status == 0 else ""
