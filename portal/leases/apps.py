"""Django's name for this folder."""

from django.apps import AppConfig


class LeasesConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.leases"
