"""The way on which hosts send exports. A person's addresses of them lie below the machine."""

from django.urls import path

from portal.exports import views

app_name = "exports"
urlpatterns = [path("<uuid:export_id>/file/", views.export_receive, name="receive")]
