"""Django's name for this folder."""

from django.apps import AppConfig


class FleetConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.fleet"
