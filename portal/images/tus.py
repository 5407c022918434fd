"""The tus protocol 1.0.0 for resumable uploads (tus.io/protocols/resumable-upload): core, creation, termination, expiration."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Concatenate, ParamSpec
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.urls import reverse
from django.utils.http import http_date
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from portal.accounts.signed_in import user_of
from portal.images import parts, selectors, services
from portal.images.models import Upload
from portal.refusal import Refused

VERSION = "1.0.0"
CONTENT_TYPE = "application/offset+octet-stream"
_LONGEST_METADATA = 4096

P = ParamSpec("P")


def _speaks_tus(
    view: Callable[Concatenate[HttpRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Every answer names the protocol's version; who speaks another one learns so in JSON."""

    @wraps(view)
    def checked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if request.method != "OPTIONS" and request.headers.get("Tus-Resumable") != VERSION:
            response = _refusal(
                HTTPStatus.PRECONDITION_FAILED, _("This version of the upload is not known here.")
            )
            response["Tus-Version"] = VERSION
        else:
            response = view(request, *args, **kwargs)
        response["Tus-Resumable"] = VERSION
        response["Cache-Control"] = "no-store"
        return response

    return checked


@require_http_methods(["OPTIONS", "POST"])
@_speaks_tus
def uploads(request: HttpRequest) -> HttpResponse:
    """What the server can do; and the creation of an upload."""
    if request.method == "OPTIONS":
        response = HttpResponse(status=HTTPStatus.NO_CONTENT)
        response["Tus-Version"] = VERSION
        response["Tus-Extension"] = "creation,termination,expiration"
        response["Tus-Max-Size"] = str(settings.UPLOAD_LARGEST_BYTES)
        return response
    length = _number(request, "Upload-Length")
    if length is None:
        return _refusal(HTTPStatus.BAD_REQUEST, _("The browser did not say how large the file is."))
    try:
        filename = _metadata(request.headers.get("Upload-Metadata", "")).get("filename", "")
        upload = services.upload_begin(owner=user_of(request), filename=filename, length=length)
    except ValueError:
        return _refusal(HTTPStatus.BAD_REQUEST, _("The browser did not say what the file is called."))
    except Refused as refusal:
        return _refusal(HTTPStatus.UNPROCESSABLE_ENTITY, refusal.message)
    response = HttpResponse(status=HTTPStatus.CREATED)
    response["Location"] = reverse("images:upload", args=[upload.pk])
    return _expires(response, upload)


@require_http_methods(["HEAD", "PATCH", "DELETE"])
@_speaks_tus
def upload(request: HttpRequest, upload_id: UUID) -> HttpResponse:
    """How much of an upload has arrived; its next bytes; its end. For everybody but its owner it is not there."""
    if request.method == "HEAD":
        return _head(request, upload_id)
    try:
        if request.method == "PATCH":
            return _patch(request, upload_id)
        services.upload_cancel(owner=user_of(request), upload_id=upload_id)
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    except Upload.DoesNotExist:
        return _refusal(HTTPStatus.NOT_FOUND, _("This upload is not there any more. Choose the file again."))


def _head(request: HttpRequest, upload_id: UUID) -> HttpResponse:
    state = selectors.upload_state(user_of(request), upload_id)
    if state is None:
        return HttpResponse(status=HTTPStatus.NOT_FOUND)
    response = HttpResponse(status=HTTPStatus.OK)
    response["Upload-Offset"] = str(state.offset)
    response["Upload-Length"] = str(state.length)
    return _expires(response, state.upload)


def _patch(request: HttpRequest, upload_id: UUID) -> HttpResponse:
    """Raises Upload.DoesNotExist."""
    if request.content_type != CONTENT_TYPE:
        return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _("The upload has a form that is not known here."))
    offset = _number(request, "Upload-Offset")
    if offset is None:
        return _refusal(HTTPStatus.BAD_REQUEST, _("The browser did not say where the bytes belong."))
    user = user_of(request)
    try:
        # Under ASGI the body was received whole before this runs, into a temporary file: that is why it comes in pieces.
        arrived = services.upload_append(owner=user, upload_id=upload_id, offset=offset, body=request)
    except services.OffsetConflict as conflict:
        response = _refusal(HTTPStatus.CONFLICT, _("The bytes do not join on to what has arrived."))
        response["Upload-Offset"] = str(conflict.offset)
        return response
    except parts.Busy:
        return _refusal(HTTPStatus.LOCKED, _("Bytes of this upload are just being written."))
    except parts.TooMuch:
        return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _("More bytes came than were announced."))
    except UnreadablePostError:
        return _refusal(HTTPStatus.BAD_REQUEST, _("The connection broke. What had arrived before is kept."))
    except services.NoRoom as refusal:
        return _refusal(HTTPStatus.INSUFFICIENT_STORAGE, refusal.message)
    except Refused as refusal:
        return _refusal(HTTPStatus.UNPROCESSABLE_ENTITY, refusal.message)
    response = HttpResponse(status=HTTPStatus.NO_CONTENT)
    response["Upload-Offset"] = str(arrived.offset)
    return response


def _metadata(header: str) -> dict[str, str]:
    """The pairs of an Upload-Metadata header. Raises ValueError."""
    if len(header) > _LONGEST_METADATA:
        raise ValueError("too long")
    pairs = {}
    for pair in filter(None, header.split(",")):
        key, _space, value = pair.strip().partition(" ")
        try:
            pairs[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as exc:
            raise ValueError(key) from exc
    return pairs


def _number(request: HttpRequest, header: str) -> int | None:
    """A count of bytes from a header; None where there is none, or something else."""
    text = request.headers.get(header, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _expires(response: HttpResponse, upload: Upload | None) -> HttpResponse:
    if upload is not None:
        response["Upload-Expires"] = http_date((upload.touched_at + services.UPLOAD_KEPT).timestamp())
    return response


def _refusal(status: HTTPStatus, message: str) -> HttpResponse:
    return JsonResponse({"message": message}, status=status)
