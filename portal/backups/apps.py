"""Django's name for this folder."""

from django.apps import AppConfig


class BackupsConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.backups"
