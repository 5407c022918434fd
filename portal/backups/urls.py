"""Backups by themselves; everything that changes something is a POST. A machine's own page of them lies below the machine."""

from django.urls import path

from portal.backups import views

app_name = "backups"
urlpatterns = [
    path("", views.backups_of_deleted, name="list"),
    path("<uuid:backup_id>/verify/", views.backup_verify, name="verify"),
    path("<uuid:backup_id>/restore/", views.backup_restore, name="restore"),
    path("<uuid:backup_id>/delete/", views.backup_delete, name="delete"),
]
