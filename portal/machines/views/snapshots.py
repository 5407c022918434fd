"""The page of a machine's snapshots. No rules here: parse, call a service, answer."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from portal.accounts.models import User
from portal.accounts.signed_in import user_of
from portal.machines import selectors, snapshots
from portal.machines.models import Machine, Snapshot
from portal.machines.snapshot_forms import SnapshotForm
from portal.machines.views.acting import act, machine_page
from portal.quotas.account import account_of
from portal.quotas.amounts import Field
from portal.quotas.bars import bars_of
from portal.refusal import Refused
from workers.contract.messages import Observed
from workers.contract.spec import DiskKind


@require_http_methods(["GET", "HEAD", "POST"])
def snapshot_list(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """The tree of a machine's snapshots, and taking one."""
    user = user_of(request)
    machine = selectors.machine_for(user, machine_id)
    now = _("Snapshot of %(when)s") % {"when": date_format(timezone.localtime(), "j M Y H:i:s")}
    form = SnapshotForm(request.POST or None, initial={"name": now, "memory": True})
    if request.method == "POST" and form.is_valid():
        try:
            snapshots.snapshot_take(
                machine=machine, by=user, memory=form.cleaned_data["memory"], **form.about()
            )
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("machines:snapshots", machine_id=machine_id)
    runs = machine.observed in (Observed.RUNNING, Observed.PAUSED)
    context = {
        "form": form,
        "bars": bars_of(account_of(machine), fields=(Field.SNAPSHOTS,)),
        "tree": snapshots.tree_of(machine),
        "runs": runs,
        "has_fixed_disk": machine.disks.filter(kind=DiskKind.FIXED).exists(),
        "is_hibernated": machine.observed == Observed.SAVED,
        "before_name": _("Before going back, %(when)s")
        % {"when": date_format(timezone.localtime(), "j M Y H:i:s")},
    }
    status = 422 if form.errors else 200
    return machine_page(request, machine, "snapshots", "machines/snapshots.html", context, status=status)


@require_POST
def snapshot_revert(request: HttpRequest, machine_id: UUID, snapshot_id: UUID) -> HttpResponse:
    """Go back to it, maybe after a snapshot of now."""

    def revert(*, machine: Machine, by: User) -> None:
        first = request.POST.get("first_name", "") if request.POST.get("first") else ""
        snapshots.snapshot_revert(
            machine=machine, snapshot=_of(machine, snapshot_id), by=by, first=first, first_memory=True
        )

    return act(request, machine_id, revert, page="snapshots")


@require_POST
def snapshot_delete(request: HttpRequest, machine_id: UUID, snapshot_id: UUID) -> HttpResponse:
    """Forget it."""

    def delete(*, machine: Machine, by: User) -> None:
        snapshots.snapshot_delete(machine=machine, snapshot=_of(machine, snapshot_id), by=by)

    return act(request, machine_id, delete, page="snapshots")


@require_POST
def snapshot_rename(request: HttpRequest, machine_id: UUID, snapshot_id: UUID) -> HttpResponse:
    """Call it something else."""
    form = SnapshotForm(request.POST)

    def rename(*, machine: Machine, by: User) -> None:
        snapshot = _of(machine, snapshot_id)
        if not form.is_valid():
            raise Refused(" ".join(str(each) for errors in form.errors.values() for each in errors))
        snapshots.snapshot_rename(machine=machine, snapshot=snapshot, by=by, **form.about())

    return act(request, machine_id, rename, page="snapshots")


def _of(machine: Machine, snapshot_id: UUID) -> Snapshot:
    """One of this machine's snapshots; another's is not there."""
    found = machine.snapshots.filter(pk=snapshot_id).first()
    if found is None:
        raise Http404
    return found
