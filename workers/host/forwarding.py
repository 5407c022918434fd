"""The host as a router: forwarding goes on with the first network that needs it, and off again with the last.

What we switched is noted before it is switched (`forwarding-was-off`, `forwarding6-was-off`), so that what the host had
switched on itself stays on. A host that forwards IPv6 stops listening to routers (kernel: ip-sysctl.rst, accept_ra): the
host's cards that listened are told to go on (2), else it would lose its own way out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from workers.contract.networks import NetworkKind, NetworkSpec
from workers.host.files import read_json, write_json
from workers.killpoints import reached
from workers.plan.names import is_ours

_FOUR = Path("/proc/sys/net/ipv4/ip_forward")
_SIX = Path("/proc/sys/net/ipv6/conf/all/forwarding")
_CARDS = Path("/proc/sys/net/ipv6/conf")


def match(folder: Path, networks: Iterable[NetworkSpec]) -> bool:
    """Forwarding is on where one of these networks needs it, else as the host had it; whether that changed anything.

    `folder` keeps the notes.
    """
    leaving = [network for network in networks if network.kind is NetworkKind.NAT]
    four = _match_four(folder / "forwarding-was-off", wanted=bool(leaving))
    six = _match_six(folder / "forwarding6-was-off", wanted=any(each.subnet6 for each in leaving))
    return four or six


def _match_four(marker: Path, *, wanted: bool) -> bool:
    if wanted and not _on(_FOUR):
        marker.touch()
        _FOUR.write_text("1")
        return True
    if not wanted and marker.exists():
        _FOUR.write_text("0")
        marker.unlink()
        return True
    return False


def _match_six(marker: Path, *, wanted: bool) -> bool:
    if wanted and _SIX.exists():
        is_off = not _on(_SIX)
        if is_off or marker.exists():
            _go_on_listening(marker)
        if is_off:
            reached("routers still heard")
            _SIX.write_text("1")
        return is_off
    if not wanted and marker.exists():
        _SIX.write_text("0")
        for card in read_json(marker) or ():
            if _accept_ra(card) == "2":
                (_CARDS / card / "accept_ra").write_text("1")
        marker.unlink()
        return True
    return False


def _go_on_listening(marker: Path) -> None:
    """Also a card that comes later, or whose router has not spoken yet, as after the host's start."""
    told = {
        path.name for path in _CARDS.iterdir() if _is_the_hosts(path.name) and _accept_ra(path.name) == "1"
    }
    known = set(read_json(marker) or ())
    if not marker.exists() or told - known:
        write_json(marker, sorted(told | known))
    for card in told:
        (_CARDS / card / "accept_ra").write_text("2")


def _is_the_hosts(name: str) -> bool:
    return name not in ("all", "default", "lo") and not is_ours(name)


def _on(switch: Path) -> bool:
    return switch.read_text().strip() != "0"


def _accept_ra(card: str) -> str:
    """The kernel's own setting; empty for a card that is gone."""
    try:
        return (_CARDS / card / "accept_ra").read_text().strip()
    except OSError:
        return ""
