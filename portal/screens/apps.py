"""Django's name for this folder."""

from django.apps import AppConfig


class ScreensConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.screens"
