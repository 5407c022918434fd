"""The pages of the activity; a machine's own is among the machine's pages."""

from django.urls import path

from portal.audit import views

app_name = "audit"
urlpatterns = [
    path("", views.site_activity, name="site"),
    path("mine/", views.own_activity, name="mine"),
    path("people/<int:user_id>/", views.person_activity, name="person"),
    path("check/", views.activity_check, name="check"),
]
