"""Exports: asked for, downloaded, removed; and the way on which a host sends them. No rules here."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.models import User
from portal.accounts.signed_in import user_of
from portal.activity.models import Operation
from portal.exports import selectors, services
from portal.exports.models import Export, Format
from portal.images import parts
from portal.images.streaming import file_response
from portal.machines.models import Machine
from portal.machines.selectors import machine_for
from portal.machines.views.acting import act
from portal.refusal import Refused
from workers.contract.tokens import Purpose, TokenError, subject_of

_TOKEN_SECONDS = 300


@require_POST
def machine_export(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Have it written as a file."""
    kind = request.POST.get("format", "")

    def begin(*, machine: Machine, by: User) -> Operation:
        if kind not in Format.values:
            raise Refused(_("Choose a format. Nothing was begun."))
        return services.export_begin(machine=machine, kind=kind, by=by)

    return act(request, machine_id, begin, page="copies")


@require_safe
def export_download(request: HttpRequest, machine_id: UUID, export_id: UUID) -> HttpResponseBase:
    """The file, or a range of it."""
    user = user_of(request)
    export = selectors.export_of(machine_for(user, machine_id), export_id)
    try:
        response = file_response(request, export.path, size=export.size_bytes, etag=f'"{export.sha256}"')
    except FileNotFoundError as exc:
        raise Http404 from exc
    if request.method == "GET" and request.headers.get("Range", "bytes=0-").startswith("bytes=0-"):
        services.export_downloaded(export=export, by=user)
    disposition = content_disposition_header(as_attachment=True, filename=export.file_name)
    response["Content-Disposition"] = disposition or "attachment"
    return response


@require_POST
def export_remove(request: HttpRequest, machine_id: UUID, export_id: UUID) -> HttpResponse:
    """Remove it before its time."""

    def remove(*, machine: Machine, by: User) -> None:
        services.export_remove(export=selectors.export_of(machine, export_id), by=by)

    return act(request, machine_id, remove, page="copies")


@csrf_exempt
@require_http_methods(["HEAD", "PATCH"])
def export_receive(request: HttpRequest, export_id: UUID) -> HttpResponse:
    """How much has arrived, and the next piece, for a host that shows by a token that it holds the fleet's key."""
    if not _is_a_hosts(request, export_id):
        refusal = HttpResponse(status=HTTPStatus.UNAUTHORIZED)
        refusal["WWW-Authenticate"] = "Bearer"
        return refusal
    try:
        if request.method == "HEAD":
            have = Export.objects.get(pk=export_id, is_ready=False).received_bytes
        else:
            have = services.piece_take(
                export_id=export_id,
                offset=_number(request, "Upload-Offset"),
                length=_number(request, "Upload-Length"),
                sha256=request.headers.get("Piece-Sha256", ""),
                body=request,
            )
    except Export.DoesNotExist:
        return HttpResponse("nobody waits for this export", status=HTTPStatus.NOT_FOUND)
    except services.WrongOffset as exc:
        return _answer(HTTPStatus.CONFLICT, exc.offset)
    except services.NoRoom:
        return HttpResponse("the site's disk is too full", status=HTTPStatus.INSUFFICIENT_STORAGE)
    except (services.Broken, parts.TooMuch, ValueError) as exc:
        return HttpResponse(f"not a piece: {type(exc).__name__}", status=HTTPStatus.BAD_REQUEST)
    except parts.Busy:
        return HttpResponse(status=HTTPStatus.SERVICE_UNAVAILABLE)
    return _answer(HTTPStatus.OK if request.method == "HEAD" else HTTPStatus.NO_CONTENT, have)


def _answer(status: HTTPStatus, have: int) -> HttpResponse:
    response = HttpResponse(status=status)
    response["Upload-Offset"] = str(have)
    response["Room-Bytes"] = str(services.room_bytes())
    return response


def _is_a_hosts(request: HttpRequest, export_id: UUID) -> bool:
    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    try:
        subject = subject_of(
            token.strip(), key=settings.FLEET_KEY, purpose=Purpose.EXPORT, seconds=_TOKEN_SECONDS
        )
    except TokenError:
        return False
    return scheme.lower() == "bearer" and subject == str(export_id)


def _number(request: HttpRequest, header: str) -> int:
    """A size out of a header. Raises ValueError."""
    raw = request.headers.get(header, "")
    if not (raw.isascii() and raw.isdecimal() and len(raw) <= 15):
        raise ValueError(header)
    return int(raw)
