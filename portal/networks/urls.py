"""The pages of networks: everybody sees which there are, administrators manage them."""

from django.urls import path

from portal.networks import views

app_name = "networks"
urlpatterns = [
    path("", views.network_list, name="list"),
    path("new/", views.network_new, name="new"),
    path("<uuid:network_id>/", views.network_detail, name="detail"),
    path("<uuid:network_id>/rename/", views.network_rename, name="rename"),
    path("<uuid:network_id>/subnet/", views.network_subnet, name="subnet"),
    path("<uuid:network_id>/ipv6/", views.network_ipv6, name="ipv6"),
    path("<uuid:network_id>/delete/", views.network_delete, name="delete"),
    path("<uuid:network_id>/uplinks/", views.uplink_set, name="uplink-set"),
    path("<uuid:network_id>/uplinks/<int:host_id>/remove/", views.uplink_remove, name="uplink-remove"),
    path("<uuid:network_id>/uplinks/<int:host_id>/bridge/", views.uplink_bridge, name="uplink-bridge"),
]
