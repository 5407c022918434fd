"""Publishing ports: at which port of its host a port of a machine is reached."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.audit.actions import Action
from portal.audit.services import of_machine, record
from portal.fleet.models import Host
from portal.machines.asking import change, changeable
from portal.machines.models import Machine
from portal.machines.selectors import machine_level
from portal.networks.models import PublishedPort
from portal.refusal import Refused
from workers.contract.networks import NetworkKind, Protocol

MOST_PORTS = 64


def port_publish(
    *, machine: Machine, nic_id: UUID, protocol: Protocol, guest_port: int, host_port: int | None, by: User
) -> Operation:
    """Reach a port of the machine at one of its host's; None: the lowest that is free. Raises Refused."""
    try:
        with transaction.atomic():
            row = changeable(machine)
            nic = row.nics.select_related("network").filter(pk=nic_id, is_leaving=False).first()
            if nic is None:
                raise Refused(_("The machine has no such network card any more."), "nic")
            if nic.network.kind != NetworkKind.NAT:
                words = _("Ports are published in networks behind the host only, and “%(name)s” is none.")
                raise Refused(words % {"name": nic.network.name}, "nic")
            _refuse_twice(list(nic.published_ports.all()), row.host, protocol, guest_port)
            Host.objects.select_for_update(no_key=True).get(
                pk=row.host_id
            )  # so that no port is given away twice
            port = (
                _checked(row.host, protocol, host_port, by) if host_port else _lowest_free(row.host, protocol)
            )
            PublishedPort.objects.create(
                nic=nic, host=row.host, protocol=protocol, host_port=port, guest_port=guest_port
            )
            told = {"host": row.host.name, "host_port": port, "guest_port": guest_port, "protocol": protocol}
            record(Action.PORT_PUBLISHED, by=by, about=of_machine(row), details=told)
            return change(row, Kind.CHANGE, by)
    except IntegrityError as exc:  # somebody was quicker all the same
        words = _("Somebody took that port at the same moment. Nothing was changed: please try again.")
        raise Refused(words, "host_port") from exc


def port_withdraw(*, machine: Machine, port_id: UUID, by: User) -> Operation:
    """It is not reached there any more; the port becomes free. Raises Refused."""
    with transaction.atomic():
        row = changeable(machine)
        port = PublishedPort.objects.filter(pk=port_id, nic__machine=row).first()
        if port is None or not port.delete()[0]:
            raise Refused(_("That port is not published any more."))
        told = {"host_port": port.host_port, "guest_port": port.guest_port, "protocol": port.protocol}
        record(Action.PORT_WITHDRAWN, by=by, about=of_machine(row), details=told)
        return change(row, Kind.CHANGE, by)


def _refuse_twice(
    published: Sequence[PublishedPort], host: Host, protocol: Protocol, guest_port: int
) -> None:
    if len(published) >= MOST_PORTS:
        raise Refused(_("At most %(most)d ports of a network card are published.") % {"most": MOST_PORTS})
    for port in published:
        if (port.protocol, port.guest_port) == (protocol, guest_port):
            words = _("That port is reached at %(host)s:%(port)d already. Nothing was changed.")
            raise Refused(words % {"host": host.name, "port": port.host_port}, "guest_port")


def _checked(host: Host, protocol: Protocol, wanted: int, by: User) -> int:
    """The port that a person typed. Raises Refused where it is not to be had, naming who has it to those who may see it."""
    ports: range = settings.PUBLISHED_PORTS
    if wanted not in ports:
        words = _("Ports from %(first)d to %(last)d can be used; leave it empty for the first free one.")
        raise Refused(words % {"first": ports.start, "last": ports.stop - 1}, "host_port")
    taken = (
        host.published_ports.select_related("nic__machine")
        .filter(protocol=protocol, host_port=wanted)
        .first()
    )
    if taken is None:
        return wanted
    its = taken.nic.machine
    if machine_level(by, its.pk) is not None:
        words = _("Port %(port)d of the host leads to the machine “%(name)s” already. Choose another one.")
    else:
        words = _("Port %(port)d of the host is somebody else's already. Choose another one.")
    raise Refused(words % {"port": wanted, "name": its.name}, "host_port")


def _lowest_free(host: Host, protocol: Protocol) -> int:
    ports: range = settings.PUBLISHED_PORTS
    taken = set(host.published_ports.filter(protocol=protocol).values_list("host_port", flat=True))
    for port in ports:
        if port not in taken:
            return port
    words = _("All ports of the host from %(first)d to %(last)d are in use. Nothing was changed.")
    raise Refused(words % {"first": ports.start, "last": ports.stop - 1}, "host_port")
