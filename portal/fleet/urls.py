"""The hosts' pages, for administrators."""

from django.urls import path, re_path

from portal.figures.views import host_figures_data
from portal.fleet import views

app_name = "fleet"
urlpatterns = [
    path("", views.host_list, name="list"),
    # Of the characters of the contract's HostName, so that no other ever reaches the database.
    re_path(r"^(?P<name>[a-z0-9.-]{1,63})/\Z", views.host_detail, name="detail"),
    re_path(r"^(?P<name>[a-z0-9.-]{1,63})/figures/\Z", host_figures_data, name="figures-data"),
    re_path(r"^(?P<name>[a-z0-9.-]{1,63})/bridges/make/\Z", views.host_bridge_make, name="bridge-make"),
    re_path(r"^(?P<name>[a-z0-9.-]{1,63})/bridges/remove/\Z", views.host_bridge_remove, name="bridge-remove"),
]
