"""The hosts' pages, for administrators."""

from django.urls import path

from portal.fleet import views

app_name = "fleet"
urlpatterns = [
    path("", views.host_list, name="list"),
    path("<str:name>/", views.host_detail, name="detail"),
]
