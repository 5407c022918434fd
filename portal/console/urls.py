"""The ticket for a console; the console itself is a WebSocket (portal/asgi.py)."""

from django.urls import path

from portal.console import views

app_name = "console"
urlpatterns = [path("<uuid:machine_id>/ticket/", views.ticket, name="ticket")]
