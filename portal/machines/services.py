"""What people do with machines. Each call is one transaction: the change, its Operation, and the message for the host."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import CANCELLABLE, OPEN_STATES, Kind, Operation
from portal.fleet.models import Host
from portal.fleet.placement import Candidate, Needs, NoRoom, features_of, place
from portal.fleet.selectors import candidates, hosts_alive
from portal.images.models import Image, ImageKind, ImageState
from portal.machines import firewall
from portal.machines.asking import change, is_starting, record, refuse_while_copied, running, wanted
from portal.machines.cards import plug_in
from portal.machines.drives import Drive, has_second_drive
from portal.machines.homes import refuse_taken_name
from portal.machines.models import Disk, Machine, Nic
from portal.machines.taking_back import take_back
from portal.networks.models import Network
from portal.refusal import Refused
from portal.teams.models import Team
from workers.contract.messages import Observed
from workers.contract.networks import NetworkKind
from workers.contract.spec import (
    GIB,
    MIB,
    BootFrom,
    DiskBus,
    DiskKind,
    Firmware,
    GuestKind,
    NicModel,
    Power,
    SeedSpec,
    StopMode,
)

_JOINERS = "\u200c\u200d"
"""Zero width (non-)joiner: part of how Persian and emoji are written."""

_LOOKS_EMPTY = _JOINERS + " \u115f\u1160\u2800\u3164\uffa0"
"""Letters by their category that show nothing."""


@dataclass(frozen=True)
class MachineWish:
    """What a person asks for. Memory in MiB, disk in bytes; `second_image` goes into the second drive.

    `pool` is where the disk shall lie; empty: beside the machine.
    """

    name: str
    image: Image | None
    cpus: int
    memory_mib: int
    disk_bytes: int
    disk_kind: DiskKind
    network: Network
    disk_bus: DiskBus = DiskBus.VIRTIO
    nic_model: NicModel = NicModel.VIRTIO
    seed: SeedSpec | None = None
    guest: GuestKind = GuestKind.LINUX
    firmware: Firmware = Firmware.BIOS
    tpm: bool = False
    second_image: Image | None = None
    image_disk: Image | None = None
    """The image that the disk begins as; None: an empty disk."""
    pool: str = ""


def machine_create(
    *, owner: User, requested_by: User, wish: MachineWish, team: Team | None = None
) -> Operation:
    """Define a machine, choose its host, and have it made and started; the `team`'s where one is named. Raises Refused."""
    name = clean_name(wish.name)
    fixed_mib = wish.disk_bytes // MIB if wish.disk_kind is DiskKind.FIXED else 0
    try:
        with transaction.atomic():
            refuse_taken_name(name, owner=owner, team=team)
            chosen = _choose_host(
                Needs(
                    wish.cpus,
                    wish.memory_mib,
                    fixed_mib + 64,
                    features_of(wish.firmware, tpm=wish.tpm),
                    wish.pool,
                    _bridged(wish.network),
                ),
                wish.network,
            )
            host = Host.objects.get(pk=chosen.host_id)
            _refuse_small_disk(wish)
            machine = Machine.objects.create(
                owner=owner,
                team=team,
                host=host,
                name=name,
                cpus=wish.cpus,
                memory_mib=wish.memory_mib,
                disc=wish.image,
                second_disc=wish.second_image,
                guest=wish.guest,
                firmware=wish.firmware,
                tpm=wish.tpm,
                boot_from=BootFrom.DISC if wish.image else BootFrom.DISK,
                run=1,
                power=Power.RUNNING,
                seed=wish.seed.model_dump(mode="json") if wish.seed else None,
                firewall=firewall.stored(firewall.for_new_machine(wish.guest)),
            )
            Disk.objects.create(
                machine=machine,
                position=0,
                size_bytes=wish.disk_bytes,
                kind=wish.disk_kind,
                bus=wish.disk_bus,
                image=wish.image_disk,
                pool=wish.pool,
            )
            nic = Nic(network=wish.network, position=0, model=wish.nic_model)
            plug_in(nic, machine)
            return record(machine, Kind.CREATE, requested_by)
    except IntegrityError as exc:  # somebody was quicker with the name, the address or the disc's deletion
        raise Refused(_("Something changed at the same moment. Nothing was made: please try again.")) from exc


def _refuse_small_disk(wish: MachineWish) -> None:
    """A disk that begins as an image has room for it. Raises Refused."""
    image = wish.image_disk
    if image is None:
        return
    if image.kind != ImageKind.DISK or image.state != ImageState.READY:
        raise Refused(_("That disk image cannot be used."), "image_disk")
    if wish.disk_bytes < image.virtual_bytes:
        least = -(-image.virtual_bytes // GIB)
        words = _("“%(name)s” needs a disk of at least %(least)d GB.")
        raise Refused(words % {"name": image.name, "least": least}, "disk_gib")


def machine_start(*, machine: Machine, by: User | None) -> Operation:
    """Start a machine that is off. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine)
        if row.observed == Observed.RUNNING:
            raise Refused(_("The machine is running already."))
        if is_starting(row):  # a second start would be a new run, and restart what the first one has started
            raise Refused(_("The machine is being started already."))
        refuse_while_copied(row)
        return change(row, Kind.START, by, power=Power.RUNNING, run=row.run + 1)


def machine_shut_down(*, machine: Machine, by: User | None) -> Operation:
    """Ask the machine's system to shut down. Raises Refused."""
    with transaction.atomic():
        row = running(machine)
        return change(row, Kind.SHUT_DOWN, by, power=Power.OFF, stop_mode=StopMode.ASK)


def machine_restart(*, machine: Machine, by: User) -> Operation:
    """Ask the machine's system to shut down, then start it anew. Raises Refused."""
    with transaction.atomic():
        row = running(machine)
        return change(row, Kind.RESTART, by, power=Power.RUNNING, stop_mode=StopMode.ASK, run=row.run + 1)


def machine_force_off(*, machine: Machine, by: User | None) -> Operation:
    """Cut the machine off, as if its plug were pulled; ends whatever goes on. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine, whatever_goes_on=True)
        if row.observed == Observed.OFF and row.power == Power.OFF:
            raise Refused(_("The machine is off already."))
        return change(row, Kind.FORCE_OFF, by, power=Power.OFF, stop_mode=StopMode.FORCE)


def machine_finish_installation(*, machine: Machine, by: User) -> Operation:
    """Take the disc out and boot from the disk from now on. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine)
        if row.disc_id is None and row.boot_from == BootFrom.DISK:
            raise Refused(
                _("That is done already: the drive is empty, and the machine starts from its disk.")
            )
        return change(row, Kind.FINISH_INSTALLATION, by, disc=None, boot_from=BootFrom.DISK)


def machine_insert_disc(
    *, machine: Machine, disc: Image | None, by: User, drive: Drive = Drive.FIRST
) -> Operation:
    """Put a disc into a drive, or take it out (None). Raises Refused."""
    with transaction.atomic():
        row = wanted(machine)
        if getattr(row, f"{drive}_id") == (disc.pk if disc else None):
            raise Refused(_("That is in the drive already.") if disc else _("The drive is empty already."))
        if drive is Drive.SECOND:
            if row.observed != Observed.OFF and not has_second_drive(row):
                words = _("The running machine has no second drive. Nothing was changed: shut it down first.")
                raise Refused(words)
            return change(row, Kind.INSERT_DISC, by, second_disc=disc)
        boot_from = BootFrom.DISC if disc else BootFrom.DISK
        return change(row, Kind.INSERT_DISC, by, disc=disc, boot_from=boot_from)


def operation_cancel(*, machine: Machine, by: User) -> Operation:
    """End what is under way early; nothing of it is left. Raises Refused where it has ended, or cannot be ended."""
    with transaction.atomic():
        row = wanted(machine, whatever_goes_on=True)
        going_on = row.operations.filter(state__in=OPEN_STATES, kind__in=CANCELLABLE)
        newest = going_on.order_by("-generation").first()
        if newest is None:
            raise Refused(_("There is nothing under way that could be cancelled."))
        if newest.kind == Kind.CHANGE:
            take_back(newest, locks=by.is_administrator)
            row.refresh_from_db()
        power = _power_before(newest) if newest.kind == Kind.SAVE else row.power
        return change(row, Kind.CANCEL, by, about=newest.pk, power=power)


def _power_before(operation: Operation) -> Power:
    """Whether the machine was to run or to stand still when this was asked."""
    earlier = Operation.objects.filter(machine=operation.machine_id, generation__lt=operation.generation)
    before = earlier.order_by("-generation").values_list("message__body__spec__power", flat=True).first()
    return Power.PAUSED if before == Power.PAUSED.value else Power.RUNNING


def machine_delete(*, machine: Machine, name: str, by: User | None) -> Operation:
    """Remove a machine with all that is on its disks. `name` is typed by the person. Raises Refused."""
    with transaction.atomic():
        row = Machine.objects.select_for_update(of=("self",)).select_related("host").get(pk=machine.pk)
        if unicodedata.normalize("NFC", name.strip()) != row.name:
            raise Refused(_("The name does not match. Nothing was deleted."), "name")
        return change(row, Kind.DELETE, by, power=Power.GONE, stop_mode=StopMode.FORCE)


def clean_name(raw: str) -> str:
    """A machine's name: 1 to 63 visible characters. Raises Refused."""
    name = " ".join(unicodedata.normalize("NFC", raw).split())
    if all(character in _LOOKS_EMPTY for character in name):
        raise Refused(_("The machine needs a name."), "name")
    if len(name) > 63:
        raise Refused(_("A name has at most 63 characters."), "name")
    if any(
        unicodedata.category(character).startswith("C") for character in name if character not in _JOINERS
    ):
        raise Refused(_("A name has visible characters only."), "name")
    return name


def _bridged(network: Network) -> frozenset[UUID]:
    return frozenset({network.pk}) if network.kind == NetworkKind.BRIDGED else frozenset()


def _choose_host(needs: Needs, network: Network) -> Candidate:
    """The host for it. The fleet stays locked to the end of the transaction, so that no room is promised twice."""
    list(hosts_alive().select_for_update(no_key=True).order_by("pk").values_list("pk"))
    match place(candidates(networks=needs.networks), needs):
        case Candidate() as chosen:
            return chosen
        case NoRoom(short_of="cpus", most=most):
            raise Refused(_("No host has that many CPUs: the most is %(most)d.") % {"most": most}, "cpus")
        case NoRoom(short_of="memory", most=most):
            words = _("No host has that much memory free: the most is %(most).1f GB now.")
            raise Refused(words % {"most": most / 1024}, "memory_gib")
        case NoRoom(short_of="networks"):
            words = _(
                "No host that can be reached is connected to the network “%(name)s”. "
                "Choose another network, or ask an administrator to connect a host."
            )
            raise Refused(words % {"name": network.name}, "network")
        case NoRoom(short_of="features"):
            words = _("No host that can be reached has the firmware or TPM that this machine needs.")
            raise Refused(words, "firmware")
        case NoRoom(most=most) if needs.pool:
            words = _("No host has that much room free in the pool “%(pool)s”: the most is %(most)d GB now.")
            raise Refused(words % {"pool": needs.pool, "most": max(most, 0) // 1024}, "pool")
        case NoRoom(most=most):
            words = _("No host has that much disk space free: the most is %(most)d GB now.")
            raise Refused(words % {"most": most // 1024}, "disk_gib")
        case _:
            raise Refused(_("No host is reachable now, so nothing was made. Try again in a minute."))
