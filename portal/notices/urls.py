"""Notices and the choices about them."""

from django.urls import path

from portal.notices import views

app_name = "notices"
urlpatterns = [
    path("", views.notice_list, name="list"),
    path("bell/", views.notice_bell, name="bell"),
    path("read/", views.notices_read, name="read"),
    path("choices/", views.notice_choices, name="choices"),
    path("<int:notice_id>/", views.notice_open, name="open"),
]
