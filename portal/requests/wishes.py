"""What was asked for, kept as checked data, and made again as a wish when it is decided: the world may have changed meanwhile."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from pydantic import Field, ValidationError

from portal.accounts.models import User
from portal.images.models import Image
from portal.images.selectors import discs_ready, disks_ready
from portal.machines.models import Template
from portal.machines.services import MachineWish
from portal.machines.template_selectors import templates_for
from portal.networks.models import Network
from portal.quotas.amounts import Amounts, Limits, said
from portal.quotas.amounts import Field as Counted
from portal.refusal import Refused
from portal.requests.models import Request, Wanted
from portal.requests.more import Clone, LargerDisk, MoreDisk, MoreSize, OneMoreCard, Restored
from portal.requests.wish import Wish, sized
from workers.contract.spec import DiskBus, DiskKind, Firmware, GuestKind, NicModel, SeedSpec


class _Machine(Wish):
    """What both kinds of new machines say."""

    name: str
    cpus: int
    memory_mib: int
    disk_bytes: int
    network: UUID | None

    @property
    def title(self) -> str:
        """What a list calls it."""
        return _("Machine “%(name)s”") % {"name": self.name}

    @property
    def takes(self) -> Amounts:
        """All of it."""
        return Amounts(1, 1, self.cpus, self.memory_mib, self.disk_bytes)

    @property
    def words(self) -> str:
        """Its size."""
        return sized(self.cpus, self.memory_mib, self.disk_bytes)

    @property
    def size(self) -> tuple[int, int] | None:
        """As it is to be."""
        return self.cpus, self.memory_mib

    @property
    def networks(self) -> list[UUID]:
        """Its card's."""
        return [self.network] if self.network else []


class NewMachine(_Machine):
    """The whole of the New-machine form; a password only as the seed's hash."""

    disk_kind: DiskKind
    disk_bus: DiskBus
    nic_model: NicModel
    guest: GuestKind
    firmware: Firmware
    tpm: bool
    pool: str
    image: UUID | None
    second_image: UUID | None
    image_disk: UUID | None
    seed: SeedSpec | None = None

    @classmethod
    def of(cls, wish: MachineWish) -> NewMachine:
        """A checked wish, to be kept."""
        return cls(
            name=wish.name, cpus=wish.cpus, memory_mib=wish.memory_mib, disk_bytes=wish.disk_bytes,
            network=wish.network.pk, disk_kind=wish.disk_kind, disk_bus=wish.disk_bus, nic_model=wish.nic_model,
            guest=wish.guest, firmware=wish.firmware, tpm=wish.tpm, pool=wish.pool,
            image=wish.image.pk if wish.image else None,
            second_image=wish.second_image.pk if wish.second_image else None,
            image_disk=wish.image_disk.pk if wish.image_disk else None, seed=wish.seed,
        )  # fmt: skip

    @property
    def less_of(self) -> dict[str, int]:
        """Its size and its disk's."""
        return {"cpus": self.cpus, "memory_mib": self.memory_mib, "disk_bytes": self.disk_bytes}

    def again(self) -> MachineWish:
        """The wish with the rows of now. Raises Refused where one of them is gone."""
        network = Network.objects.filter(pk__in=[self.network]).first()
        if network is None:
            raise Refused(_("The network of then is not there any more."))
        return MachineWish(
            name=self.name, cpus=self.cpus, memory_mib=self.memory_mib, disk_bytes=self.disk_bytes, network=network,
            disk_kind=self.disk_kind, disk_bus=self.disk_bus, nic_model=self.nic_model, guest=self.guest,
            firmware=self.firmware, tpm=self.tpm, pool=self.pool, seed=self.seed,
            image=_image(self.image, is_disk=False), second_image=_image(self.second_image, is_disk=False),
            image_disk=_image(self.image_disk, is_disk=True),
        )  # fmt: skip


class FromTemplate(_Machine):
    """A machine from a template; its disks are the template's."""

    template: UUID
    template_name: str

    @property
    def title(self) -> str:
        """What a list calls it."""
        return _("Machine “%(name)s” from “%(template)s”") % {
            "name": self.name,
            "template": self.template_name,
        }

    @property
    def less_of(self) -> dict[str, int]:
        """Its size; its disks are what they are."""
        return {"cpus": self.cpus, "memory_mib": self.memory_mib}

    def again(self, user: User) -> tuple[Template, Network | None]:
        """The rows of now. Raises Refused where one of them is gone, or the person may not use it any more."""
        template = templates_for(user).filter(pk=self.template).first()
        network = Network.objects.filter(pk=self.network).first() if self.network else None
        if template is None or (self.network and network is None):
            raise Refused(_("The template or the network of then is not there any more."))
        return template, network


class LargerQuota(Wish):
    """The limits that are wanted; what is None stays as it is."""

    machines: int | None = Field(None, ge=0)
    running: int | None = Field(None, ge=0)
    cpus: int | None = Field(None, ge=0)
    memory_mib: int | None = Field(None, ge=0)
    disk_bytes: int | None = Field(None, ge=0)
    snapshots: int | None = Field(None, ge=0)
    published_ports: int | None = Field(None, ge=0)

    @property
    def wanted(self) -> dict[Counted, int]:
        """Only what is to change."""
        return {field: n for field in Counted if (n := getattr(self, field)) is not None}

    @property
    def title(self) -> str:
        """What a list calls it."""
        return str(Wanted.QUOTA.label)

    @property
    def words(self) -> str:
        """The limits in words."""
        return ", ".join(said(field, amount) for field, amount in self.wanted.items())

    @property
    def limits(self) -> Limits:
        """As limits."""
        return Limits(**self.wanted)


KINDS: dict[str, type[Wish]] = {
    Wanted.MACHINE: NewMachine, Wanted.FROM_TEMPLATE: FromTemplate, Wanted.CLONE: Clone, Wanted.RESTORE: Restored,
    Wanted.SIZE: MoreSize, Wanted.DISK: MoreDisk, Wanted.LARGER_DISK: LargerDisk, Wanted.CARD: OneMoreCard,
    Wanted.QUOTA: LargerQuota,
}  # fmt: skip


def kept_in(row: Request, *, granted: bool = False) -> Wish:
    """What was asked for, or what was `granted` of it. Raises Refused where this version cannot read it."""
    data: Any = row.granted if granted and row.granted else row.wish
    try:
        return KINDS[row.wanted].model_validate_json(json.dumps(data))
    except ValidationError as exc:
        raise Refused(
            _("This version cannot read what was asked for. Decline it, and let it be asked again.")
        ) from exc


def can_end(row: Request, kept: Wish) -> bool:
    """Whether it can be had for a time only: what is larger for a time is a person's quota, never a team's."""
    return kept.can_end and not (row.team_id is not None and isinstance(kept, LargerQuota))


def wanted_in(wish: Wish) -> Wanted:
    """The kind of the wish."""
    return next(Wanted(wanted) for wanted, kind in KINDS.items() if type(wish) is kind)


def without_secrets(data: dict[str, Any]) -> dict[str, Any]:
    """What is kept of it when it is over: no password's hash, no keys."""
    return data | {"seed": None} if data.get("seed") else data


def _image(pk: UUID | None, *, is_disk: bool) -> Image | None:
    if pk is None:
        return None
    image = (disks_ready() if is_disk else discs_ready()).filter(pk=pk).first()
    if image is None:
        raise Refused(_("A disc or disk image of then is not in the library any more."))
    return image
