"""Our own nftables tables, replaced in one transaction; foreign rules are never touched."""

from __future__ import annotations

from collections.abc import Sequence

from workers.contract.errors import ErrorCode, OffshootError
from workers.host.commands import run
from workers.plan.network import TABLE, WiredNetwork, ruleset


class FirewallError(OffshootError):
    """The rules were refused; those before are still in force."""

    code = ErrorCode.FIREWALL_FAILED


def replace_rules(networks: Sequence[WiredNetwork]) -> None:
    """Put the rules of these networks in the place of those before. Raises FirewallError."""
    try:
        run(("nft", "-f", "-"), stdin=ruleset(networks), seconds=20)
    except OffshootError as exc:
        raise FirewallError(exc.detail) from exc


def rules_of_tap(tap: str) -> str:
    """What the kernel has in force for one card, for an expert's eyes; empty where there is none."""
    finished = run(("nft", "list", "chain", "bridge", TABLE, f"from_{tap}"), seconds=20, check=False)
    return finished.stdout if finished.status == 0 else ""
