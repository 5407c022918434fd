"""Classes; everything that changes something is a POST."""

from django.urls import path

from portal.classes import views

app_name = "classes"
urlpatterns = [
    path("", views.class_list, name="list"),
    path("new/", views.class_new, name="new"),
    path("<uuid:class_id>/", views.class_detail, name="detail"),
    path("<uuid:class_id>/act/", views.act_together, name="act"),
    path("<uuid:class_id>/delete-machines/", views.delete_machines, name="delete-machines"),
    path("<uuid:class_id>/remove/", views.class_remove, name="remove"),
]
