"""The library's page, and the way on which hosts fetch a disc. No rules here: parse, call, answer."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import cast
from uuid import UUID

import structlog
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.models import User
from portal.images import downloads, selectors, services
from portal.images.forms import ImageForm
from portal.images.models import Download, Image, ImageKind
from portal.images.recognise import DISK_ENDINGS
from portal.images.streaming import file_response
from portal.refusal import Refused
from portal.rights.levels import Level
from workers.contract.tokens import Purpose, TokenError, subject_of

_TOKEN_SECONDS = 300
log = structlog.get_logger()


@require_safe
def library(request: HttpRequest) -> HttpResponse:
    """All discs, and the place to add one. Three queries."""
    user = cast(User, request.user)
    rows = list(selectors.images_all())
    mine = {image.pk for image in rows if selectors.level_of_image(user, image) >= Level.OWN}
    context = {
        "discs": [image for image in rows if image.kind == ImageKind.DISC],
        "disks": [image for image in rows if image.kind == ImageKind.DISK],
        "mine": mine,
        "is_administrator": user.is_administrator,
        "catalogue": selectors.catalogue() if user.is_administrator else [],
        "downloads": selectors.downloads_all() if user.is_administrator else [],
        "mirror": settings.MIRROR,
        "endings": ",".join((".iso", *DISK_ENDINGS)),
        "uploads": selectors.uploads_of(user),
        "chunk_bytes": settings.UPLOAD_CHUNK_BYTES,
        "largest_bytes": settings.UPLOAD_LARGEST_BYTES,
    }
    return render(request, "images/library.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def image_edit(request: HttpRequest, image_id: UUID) -> HttpResponse:
    """The name, system and version of an image."""
    image = get_object_or_404(Image, pk=image_id)
    form = ImageForm(request.POST or None, instance=image)
    if request.method == "POST" and form.is_valid():
        services.image_change(form.save(commit=False), by=cast(User, request.user))
        return redirect("images:library")
    status = 422 if form.errors else 200
    return render(request, "images/edit.html", {"form": form, "image_id": image_id}, status=status)


@require_POST
def download_begin(request: HttpRequest) -> HttpResponse:
    """A system of the catalogue into the library."""
    user = cast(User, request.user)
    return _back(request, lambda: downloads.download_begin(key=request.POST.get("key", ""), by=user))


@require_POST
def download_change(request: HttpRequest, download_id: UUID, wish: str) -> HttpResponse:
    """Pause a download, go on with it, or cancel it."""
    user = cast(User, request.user)
    change = {
        "pause": downloads.download_pause,
        "go-on": downloads.download_go_on,
        "cancel": downloads.download_cancel,
    }.get(wish)
    if change is None:
        raise Http404
    download = get_object_or_404(Download, pk=download_id)
    return _back(request, lambda: change(download=download, by=user))


def _back(request: HttpRequest, act: Callable[[], object]) -> HttpResponse:
    try:
        act()
    except Refused as refusal:
        messages.error(request, refusal.message)
    return redirect("images:library")


@require_POST
def image_delete(request: HttpRequest, image_id: UUID) -> HttpResponse:
    """Drop a disc from the library."""
    image = get_object_or_404(Image, pk=image_id)
    try:
        services.image_delete(image=image, by=cast(User, request.user))
    except Refused as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, _("‘%(name)s’ was deleted from the library.") % {"name": image.name})
    return redirect("images:library")


@require_safe
def image_file(request: HttpRequest, image_id: UUID) -> HttpResponseBase:
    """A disc's bytes, for a host that shows by a token that it holds the fleet's key."""
    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    try:
        subject = subject_of(
            token.strip(), key=settings.FLEET_KEY, purpose=Purpose.IMAGE, seconds=_TOKEN_SECONDS
        )
    except TokenError:
        subject = ""
    if scheme.lower() != "bearer" or subject != str(image_id):
        response = HttpResponse(status=HTTPStatus.UNAUTHORIZED)
        response["WWW-Authenticate"] = "Bearer"
        return response
    image = get_object_or_404(Image, pk=image_id)
    try:
        return file_response(request, image.path, size=image.size_bytes, etag=f'"{image.sha256}"')
    except FileNotFoundError as exc:
        log.error("a disc's file is missing", image=str(image_id), path=str(image.path))
        raise Http404 from exc
