"""Django's name for this folder."""

from django.apps import AppConfig


class RequestsConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.requests"
