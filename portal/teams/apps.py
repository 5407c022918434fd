"""Django's name for this folder."""

from django.apps import AppConfig


class TeamsConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.teams"
