"""Django's name for this folder."""

from django.apps import AppConfig


class MachinesConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.machines"
