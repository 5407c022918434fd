"""dnsmasq for a network: one process a bridge, which outlives the worker and is found again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.spec import NetworkSpec
from workers.host.commands import spawn
from workers.host.files import tail, write_text
from workers.host.links import index_of
from workers.plan.names import bridge_name
from workers.plan.network import (
    DnsmasqFiles,
    PluggedNic,
    dnsmasq_configuration,
    dnsmasq_hosts,
    dnsmasq_names,
)

DNSMASQ = "dnsmasq"


class DhcpError(OffshootError):
    """dnsmasq did not start; the detail has its own words."""

    code = ErrorCode.DHCP_FAILED


def ensure_dnsmasq(
    network: NetworkSpec, nics: Sequence[PluggedNic], *, folder: Path, user: str, group: str, upstream: str
) -> None:
    """dnsmasq runs with these leases. A running one is told to read them anew; where none runs one is started."""
    files = _files(folder)
    configuration_path = folder / "dnsmasq.conf"
    write_text(files.hosts, dnsmasq_hosts(nics), mode=0o644)
    write_text(files.names, dnsmasq_names(network, nics), mode=0o644)
    configuration = _configuration(network, folder, user=user, group=group, upstream=upstream)
    changed = _text(configuration_path) != configuration
    pid = running_dnsmasq(folder)
    outlived = _outlived(folder, nics)
    if pid is not None and not changed and not outlived:
        os.kill(pid, signal.SIGHUP)
        return
    stop_dnsmasq(folder)
    if outlived:
        _forget_leases(files.leases, outlived)
    write_text(configuration_path, configuration, mode=0o644)
    log = folder / "dnsmasq.log"
    process = spawn(
        (DNSMASQ, f"--conf-file={configuration_path}", "--keep-in-foreground", "--log-facility=/dev/null"),
        stdout=log,
        stderr=log,
    )
    deadline = time.monotonic() + 10
    while not files.pid.exists() or files.pid.read_text().strip() != str(process.pid):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise DhcpError(tail(log, most_bytes=2000) or "dnsmasq did not start")
        time.sleep(0.005)


def serves(
    network: NetworkSpec, nics: Sequence[PluggedNic], *, folder: Path, user: str, group: str, upstream: str
) -> bool:
    """dnsmasq runs as ensure_dnsmasq leaves it. Cheap."""
    files = _files(folder)
    configuration = _configuration(network, folder, user=user, group=group, upstream=upstream)
    return (
        running_dnsmasq(folder) is not None
        and _text(folder / "dnsmasq.conf") == configuration
        and _text(files.hosts) == dnsmasq_hosts(nics)
        and _text(files.names) == dnsmasq_names(network, nics)
    )


def _files(folder: Path) -> DnsmasqFiles:
    return DnsmasqFiles(
        hosts=folder / "dnsmasq.hosts",
        names=folder / "dnsmasq.names",
        leases=folder / "dnsmasq.leases",
        pid=folder / "dnsmasq.pid",
    )


def _configuration(network: NetworkSpec, folder: Path, *, user: str, group: str, upstream: str) -> str:
    """With the bridge's number in it: dnsmasq is bound to a bridge that is made anew, and deaf, until it is started anew."""
    text = dnsmasq_configuration(network, _files(folder), user=user, group=group, upstream=upstream)
    return f"# for interface {index_of(bridge_name(network.id))}\n{text}"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _outlived(folder: Path, nics: Sequence[PluggedNic]) -> set[str]:
    """Addresses whose leases would keep dnsmasq from giving them to the cards that have them now: their cards are gone."""
    owners = {str(nic.address): nic.mac for nic in nics}
    leases = leased_addresses(folder).items()
    four = {address for mac, address in leases if owners.get(address, mac) != mac}
    return four | (_leased6(folder) - {str(nic.address6) for nic in nics})


def _leased6(folder: Path) -> set[str]:
    """A lease of DHCPv6 names no MAC, but every card has its address to itself for as long as it is in the network."""
    lines = _text(folder / "dnsmasq.leases").splitlines()
    return {parts[2] for line in lines if len(parts := line.split()) >= 3 and ":" in parts[2]}


def _forget_leases(leases: Path, addresses: set[str]) -> None:
    lines = leases.read_text().splitlines(keepends=True)
    kept = [line for line in lines if len(line.split()) < 3 or line.split()[2] not in addresses]
    write_text(leases, "".join(kept), mode=0o644)


def stop_dnsmasq(folder: Path) -> None:
    """No dnsmasq of this network runs any more."""
    pid = running_dnsmasq(folder)
    if pid is None:
        return
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while running_dnsmasq(folder) is not None:
            if time.monotonic() > deadline:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                break
            time.sleep(0.005)
    except ProcessLookupError:
        pass  # it ended by itself meanwhile
    finally:
        os.close(handle)


def running_dnsmasq(folder: Path) -> int | None:
    """The process id of this network's dnsmasq: the one whose command line names this network's configuration."""
    try:
        pid = int((folder / "dnsmasq.pid").read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    named = f"--conf-file={folder / 'dnsmasq.conf'}".encode() in arguments
    return pid if named and state != "Z" else None


def leased_addresses(folder: Path) -> dict[str, str]:
    """MAC to IPv4 address of the leases that dnsmasq has given out (dnsmasq(8): expiry, MAC, address, name, client id)."""
    try:
        lines = (folder / "dnsmasq.leases").read_text().splitlines()
    except FileNotFoundError:
        return {}
    fields = (line.split() for line in lines)
    return {parts[1]: parts[2] for parts in fields if len(parts) >= 3 and ":" not in parts[2]}
