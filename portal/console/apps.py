"""Django's name for this folder."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.console"
