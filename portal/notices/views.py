"""The page of notices, the choices, and the bell by itself. No rules here: parse, call, answer."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.signed_in import user_of
from portal.notices import selectors, services
from portal.notices.kinds import Way
from portal.notices.models import Notice

_ROWS_A_PAGE = 50


@require_safe
def notice_list(request: HttpRequest) -> HttpResponse:
    """A person's own notices."""
    page = Paginator(selectors.notices_of(user_of(request)), _ROWS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "notices": [(each, selectors.icon_of(each.kind)) for each in page.object_list],
        "page_obj": page,
        "total": page.paginator.count,
    }
    return render(request, "notices/list.html", context)


@require_safe
def notice_bell(request: HttpRequest) -> HttpResponse:
    """The bell and how many requests wait, for a page that was told of a new notice."""
    return render(request, "notices/bell.html")


@require_POST
def notice_open(request: HttpRequest, notice_id: int) -> HttpResponse:
    """Mark it as read and go where it leads."""
    user = user_of(request)
    notice = Notice.objects.filter(pk=notice_id, person=user).first()
    if notice is None:
        raise Http404
    services.notices_read(person=user, notice_id=notice.pk)
    return redirect(
        notice.link if notice.link.startswith("/") and not notice.link.startswith("//") else "notices:list"
    )


@require_POST
def notices_read(request: HttpRequest) -> HttpResponse:
    """Mark all as read."""
    services.notices_read(person=user_of(request))
    return redirect("notices:list")


@require_http_methods(["GET", "HEAD", "POST"])
def notice_choices(request: HttpRequest) -> HttpResponse:
    """Where each kind goes."""
    user = user_of(request)
    if request.method == "POST":
        said = {each.kind.key: request.POST.get(each.kind.key, "") for each in selectors.choices_of(user)}
        ways = {kind: Way(way) for kind, way in said.items() if way in list(Way)}
        services.choices_set(person=user, ways=ways)
        messages.success(request, _("Your choices are kept."))
        return redirect("notices:choices")
    return render(
        request,
        "notices/choices.html",
        {"choices": selectors.choices_of(user), "has_address": bool(user.email)},
    )
