"""Every address of the portal that is not a WebSocket."""

from django.urls import include, path
from django.views.generic import RedirectView

from portal.health import health
from portal.leases.views import lease_rules
from portal.overview.views import overview
from portal.requests.rules_views import rules
from portal.tables.rows import site

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="machines:list"), name="home"),
    path("health/", health, name="health"),
    path("", include("portal.accounts.urls")),
    path("overview/", overview, name="overview"),
    path("people/", include("portal.accounts.people_urls")),
    path("machines/", include("portal.machines.urls")),
    path("teams/", include("portal.teams.urls")),
    path("classes/", include("portal.classes.urls")),
    path("templates/", include("portal.machines.template_urls")),
    path("discs/", include("portal.images.urls")),
    path("networks/", include("portal.networks.urls")),
    path("hosts/", include("portal.fleet.urls")),
    path("backups/", include("portal.backups.urls")),
    path("exports/", include("portal.exports.urls")),
    path("console/", include("portal.console.urls")),
    path("requests/", include("portal.requests.urls")),
    path("settings/quotas/", include("portal.quotas.urls")),
    path("settings/sizes/", include("portal.flavours.urls")),
    path("settings/rules/", rules, name="rules"),
    path("settings/leases/", lease_rules, name="lease-rules"),
    path("activity/", include("portal.audit.urls")),
    path("notices/", include("portal.notices.urls")),
    path("hooks/", include("portal.hooks.urls")),
    path("", include("portal.impersonation.urls")),
    path("admin/", site.urls),
]
handler403 = "portal.accounts.views.errors.forbidden"
handler404 = "portal.accounts.views.errors.not_found"
handler500 = "portal.accounts.views.errors.server_error"
