"""The name servers that systemd-resolved has for an interface alone: read, kept as JSON, and laid on another interface.

Speaks D-Bus (jeepney), as org.freedesktop.resolve1(5) has it. Servers of the whole host (/etc/resolv.conf, resolved.conf)
belong to no interface, and need not move.
"""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import Any

from jeepney import DBusAddress, DBusErrorResponse, MessageFlag, new_method_call
from jeepney.io.blocking import DBusConnection, open_dbus_connection
from jeepney.wrappers import unwrap_msg

from workers.host.links import LinkError, index_of

NameServers = dict[str, Any]
"""The properties of a link of systemd-resolved, with addresses as words."""

_ANSWER_SECONDS = 3.0
_HEARD_OF_SECONDS = 5.0  # what the kernel tells of a new interface reaches systemd-resolved a moment later
_MANAGER = DBusAddress(
    "/org/freedesktop/resolve1", "org.freedesktop.resolve1", "org.freedesktop.resolve1.Manager"
)
_LINK = "org.freedesktop.resolve1.Link"
_SETTERS = {
    "DNSEx": ("SetLinkDNSEx", "a(iayqs)"),
    "Domains": ("SetLinkDomains", "a(sb)"),
    "DefaultRoute": ("SetLinkDefaultRoute", "b"),
    "LLMNR": ("SetLinkLLMNR", "s"),
    "MulticastDNS": ("SetLinkMulticastDNS", "s"),
    "DNSOverTLS": ("SetLinkDNSOverTLS", "s"),
    "DNSSEC": ("SetLinkDNSSEC", "s"),
    "DNSSECNegativeTrustAnchors": ("SetLinkDNSSECNegativeTrustAnchors", "as"),
}
_NOT_THERE = ("org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner")
_NO_SUCH_LINK, _MANAGED = "org.freedesktop.resolve1.NoSuchLink", "org.freedesktop.resolve1.LinkBusy"


def read_name_servers(name: str) -> NameServers | None:
    """What systemd-resolved has for the interface; None where that is nothing, or it does not run. Raises LinkError."""
    try:
        with _bus() as bus:
            found = _read(bus, index_of(name))
    except _Absent:
        return None
    except (DBusErrorResponse, OSError, ValueError) as exc:
        raise LinkError(f"systemd-resolved did not say what name servers {name} has: {_words(exc)}") from exc
    return found if found["DNSEx"] or found["Domains"] else None


def lay_name_servers(name: str, wanted: NameServers | None) -> None:
    """systemd-resolved has these for the interface. Does nothing twice. Raises LinkError.

    Nothing is done where systemd-resolved does not run, or systemd-networkd sees to the interface: that lets nobody else.
    """
    if wanted is None:
        return
    try:
        with _bus() as bus:
            index = index_of(name)
            present = _read(bus, index)
            for key, (method, signature) in _SETTERS.items():
                if key in wanted and wanted[key] != present[key]:
                    _ask(bus, _MANAGER, method, f"i{signature}", (index, _packed(key, wanted[key])))
    except _Absent:
        return
    except (DBusErrorResponse, OSError, ValueError) as exc:
        if not (isinstance(exc, DBusErrorResponse) and exc.name == _MANAGED):
            raise LinkError(f"the name servers of {name}: {_words(exc)}") from exc


class _Absent(Exception):
    """There is no bus, or no systemd-resolved on it."""


def _bus() -> DBusConnection:
    try:
        return open_dbus_connection(bus="SYSTEM", auth_timeout=_ANSWER_SECONDS)
    except (FileNotFoundError, ConnectionRefusedError) as exc:
        raise _Absent from exc


def _read(bus: DBusConnection, index: int | None) -> NameServers:
    """Raises DBusErrorResponse where the interface is still unknown after a while."""
    deadline = time.monotonic() + _HEARD_OF_SECONDS
    while True:
        try:
            [path] = _ask(bus, _MANAGER, "GetLink", "i", (index or 0,))
            break
        except DBusErrorResponse as exc:
            if exc.name != _NO_SUCH_LINK or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    link = DBusAddress(path, _MANAGER.bus_name, "org.freedesktop.DBus.Properties")
    [properties] = _ask(bus, link, "GetAll", "s", (_LINK,))
    return {key: _plain(key, properties[key][1]) for key in _SETTERS if key in properties}


def _ask(bus: DBusConnection, whom: DBusAddress, method: str, signature: str, body: tuple[Any, ...]) -> Any:
    message = new_method_call(whom, method, signature, body)
    message.header.flags |= MessageFlag.no_auto_start
    try:
        return unwrap_msg(bus.send_and_get_reply(message, timeout=_ANSWER_SECONDS))
    except DBusErrorResponse as exc:
        if exc.name in _NOT_THERE:
            raise _Absent from exc
        raise


def _plain(key: str, value: Any) -> Any:
    """As JSON has it, so that what was kept can be compared."""
    if key == "DNSEx":
        return [[family, str(ip_address(address)), port, said] for family, address, port, said in value]
    return (
        [list(each) if isinstance(each, tuple) else each for each in value]
        if isinstance(value, list)
        else value
    )


def _packed(key: str, value: Any) -> Any:
    if key == "DNSEx":
        return [(family, ip_address(address).packed, port, said) for family, address, port, said in value]
    return [tuple(each) for each in value] if key == "Domains" else value


def _words(exc: Exception) -> str:
    if isinstance(exc, DBusErrorResponse):
        return " ".join([exc.name, *map(str, exc.data)])
    return str(exc) or "no answer"
