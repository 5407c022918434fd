"""The admin's site: entered by the site's own door, and there for administrators alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, URLResolver
from django.utils.translation import gettext_lazy as _

from portal.accounts.models import User

_ELSEWHERE = ("login", "logout", "password_change", "password_change_done")
"""The site has pages of its own for these."""


class Tables(AdminSite):
    """Whoever is no administrator finds nothing here."""

    site_header = site_title = _("Tables of the site")
    index_title = _("Tables")
    site_url = "/machines/"

    def has_permission(self, request: HttpRequest) -> bool:
        """As on every other page for administrators."""
        return isinstance(request.user, User) and request.user.is_administrator

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        """A 404 for others; who is not signed in was sent to the door already."""
        inner = super().admin_view(view, cacheable)

        def guarded(request: HttpRequest, *args: Any, **words: Any) -> HttpResponseBase:
            if not self.has_permission(request):
                raise Http404
            answer: HttpResponseBase = inner(request, *args, **words)
            return answer

        return guarded

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Without a second door."""
        urls = [each for each in super().get_urls() if getattr(each, "name", None) not in _ELSEWHERE]
        for each in urls:
            if isinstance(each, URLPattern):
                each.callback.login_url = None  # type: ignore[attr-defined]  # Django's admin names its own door there
        return urls
