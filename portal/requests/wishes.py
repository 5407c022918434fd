"""What was asked for, kept as checked data, and made again as a wish when it is decided: the world may have changed meanwhile."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
from workers.contract.spec import GIB, DiskBus, DiskKind, Firmware, GuestKind, NicModel, SeedSpec


class Less(BaseModel):
    """What an approver gives in its place; None: as it was asked for."""

    model_config = ConfigDict(frozen=True)

    cpus: int | None = Field(None, ge=1)
    memory_mib: int | None = Field(None, ge=64)
    disk_bytes: int | None = Field(None, ge=GIB)


class _Machine(BaseModel):
    """What both kinds of new machines say."""

    model_config = ConfigDict(frozen=True)

    name: str
    cpus: int
    memory_mib: int
    disk_bytes: int
    network: UUID | None

    @property
    def takes(self) -> Amounts:
        """What it counts for."""
        return Amounts(
            machines=1, running=1, cpus=self.cpus, memory_mib=self.memory_mib, disk_bytes=self.disk_bytes
        )

    @property
    def words(self) -> str:
        """Its size in words."""
        sizes = (
            (Counted.CPUS, self.cpus),
            (Counted.MEMORY_MIB, self.memory_mib),
            (Counted.DISK_BYTES, self.disk_bytes),
        )
        return ", ".join(said(field, amount) for field, amount in sizes)


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

    def again(self, user: User) -> tuple[Template, Network | None]:
        """The rows of now. Raises Refused where one of them is gone, or the person may not use it any more."""
        template = templates_for(user).filter(pk=self.template).first()
        network = Network.objects.filter(pk=self.network).first() if self.network else None
        if template is None or (self.network and network is None):
            raise Refused(_("The template or the network of then is not there any more."))
        return template, network


class LargerQuota(BaseModel):
    """The limits that are wanted; what is None stays as it is."""

    model_config = ConfigDict(frozen=True)

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
    def takes(self) -> Amounts:
        """It takes nothing by itself."""
        return Amounts()

    @property
    def words(self) -> str:
        """The limits in words."""
        return ", ".join(said(field, amount) for field, amount in self.wanted.items())

    def beside(self, limits: Limits) -> Limits:
        """The limits of now with those that are wanted: where there is none, or a higher one, it stays."""
        changed = {}
        for field in Counted:
            now, wanted = limits.of(field), getattr(self, field)
            changed[field] = now if now is None or wanted is None else max(now, wanted)
        return Limits(**changed)


Kept = NewMachine | FromTemplate | LargerQuota
_OF: dict[str, type[NewMachine] | type[FromTemplate] | type[LargerQuota]] = {
    Wanted.MACHINE: NewMachine, Wanted.FROM_TEMPLATE: FromTemplate, Wanted.QUOTA: LargerQuota,
}  # fmt: skip


def kept_in(row: Request, *, granted: bool = False) -> Kept:
    """What was asked for, or what was `granted` of it. Raises Refused where this version cannot read it."""
    data: Any = row.granted if granted and row.granted else row.wish
    try:
        return _OF[row.wanted].model_validate_json(json.dumps(data))
    except ValidationError as exc:
        raise Refused(
            _("This version cannot read what was asked for. Decline it, and let it be asked again.")
        ) from exc


def title_of(row: Request, kept: Kept) -> str:
    """What a list calls it."""
    if isinstance(kept, LargerQuota):
        return str(row.get_wanted_display())
    if isinstance(kept, FromTemplate):
        return _("Machine “%(name)s” from “%(template)s”") % {
            "name": kept.name,
            "template": kept.template_name,
        }
    return _("Machine “%(name)s”") % {"name": kept.name}


def lessened(kept: Kept, less: Less) -> Kept:
    """With less of what is said; never more than was asked for. Raises Refused."""
    changes = {name: value for name, value in less.model_dump().items() if value is not None}
    if isinstance(kept, LargerQuota):
        raise Refused(_("Say the limits themselves for a quota."))
    if any(value > getattr(kept, name) for name, value in changes.items()):
        raise Refused(_("That is more than was asked for. Nothing was decided."))
    if isinstance(kept, FromTemplate) and changes.get("disk_bytes", kept.disk_bytes) != kept.disk_bytes:
        raise Refused(_("The disks of a template cannot be made smaller. Nothing was decided."))
    return kept.model_copy(update=changes)


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
