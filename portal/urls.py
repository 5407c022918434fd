"""Every address of the portal that is not a WebSocket."""

from django.urls import include, path
from django.views.generic import RedirectView

from portal.health import health
from portal.tables.rows import site

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="machines:list"), name="home"),
    path("health/", health, name="health"),
    path("", include("portal.accounts.urls")),
    path("machines/", include("portal.machines.urls")),
    path("templates/", include("portal.machines.template_urls")),
    path("discs/", include("portal.images.urls")),
    path("networks/", include("portal.networks.urls")),
    path("hosts/", include("portal.fleet.urls")),
    path("backups/", include("portal.backups.urls")),
    path("exports/", include("portal.exports.urls")),
    path("console/", include("portal.console.urls")),
    path("activity/", include("portal.audit.urls")),
    path("notices/", include("portal.notices.urls")),
    path("hooks/", include("portal.hooks.urls")),
    path("", include("portal.impersonation.urls")),
    path("admin/", site.urls),
]
handler403 = "portal.accounts.views.forbidden"
handler404 = "portal.accounts.views.not_found"
handler500 = "portal.accounts.views.server_error"
