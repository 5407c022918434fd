"""Django's name for this folder."""

from django.apps import AppConfig


class LiveConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.live"
