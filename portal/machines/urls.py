"""The pages of machines and what can be done with one; everything that changes something is a POST."""

from django.urls import path

from portal.machines import views

app_name = "machines"
urlpatterns = [
    path("", views.machine_list, name="list"),
    path("new/", views.machine_new, name="new"),
    path("<uuid:machine_id>/", views.machine_detail, name="detail"),
    path("<uuid:machine_id>/start/", views.machine_start, name="start"),
    path("<uuid:machine_id>/shut-down/", views.machine_shut_down, name="shut-down"),
    path("<uuid:machine_id>/restart/", views.machine_restart, name="restart"),
    path("<uuid:machine_id>/force-off/", views.machine_force_off, name="force-off"),
    path(
        "<uuid:machine_id>/finish-installation/",
        views.machine_finish_installation,
        name="finish-installation",
    ),
    path("<uuid:machine_id>/insert-disc/", views.machine_insert_disc, name="insert-disc"),
    path("<uuid:machine_id>/delete/", views.machine_delete, name="delete"),
]
